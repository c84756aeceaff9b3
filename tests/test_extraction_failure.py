import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from extraction_work import (
    LineExtractor,
    claim,
    contents,
    converse,
    end_leases,
    fails,
    make_due,
    planned,
    read_one,
    window_of,
    windows_of,
    work_until,
)
from hypothesis import given
from hypothesis import strategies as st

from audit.models import Entry
from facts.extraction import breaker
from facts.extraction.breaker import enter, report, standing
from facts.extraction.claims import give_back, pause_before, prolong, take_over
from facts.extraction.extractors import extractor_state
from facts.extraction.interface import BLOCKED, CODES, PROVIDER, SPLIT, ExtractionFailed, Usage, Window
from facts.extraction.pipeline import extract_in_pieces, work_on
from facts.extraction.windows import load_window
from facts.extraction.worker import Worker
from facts.models import Extraction, ExtractionDay, ExtractorState
from memoryhub.access.models import Agent
from memoryhub.core.tenancy import in_workspace

pytestmark = pytest.mark.usefixtures("extracting")
WAITING_CODES = sorted(code for code, retryable in CODES.items() if retryable and code not in SPLIT)
RETRIED = sorted(set(WAITING_CODES) - BLOCKED)


@pytest.fixture
def extracting(settings: Any) -> None:
    settings.EXTRACTOR = "patterns"
    settings.EXTRACT_MAX_ATTEMPTS = 3
    settings.EXTRACT_BREAKER_FAILURES = 100
    settings.EXTRACT_BREAKER_SECONDS = 60


@pytest.mark.parametrize("code", RETRIED)
def test_a_failure_waits_and_is_tried_again(agent: Agent, code: str) -> None:
    converse(agent, "My colour is blue")
    planned(agent)
    extractor = LineExtractor(fails(code))
    assert read_one(agent, extractor) == code
    row = window_of(agent.workspace_id)
    assert (row.state, row.attempts, row.error, row.lease) == ("failed", 1, code, None)
    assert read_one(agent, extractor) == "done"
    row = window_of(agent.workspace_id)
    assert (row.state, row.attempts, row.error) == ("done", 2, "")
    assert contents(agent.workspace_id) == ["The customer's colour is blue"]


def test_after_the_last_attempt_it_is_a_dead_letter_with_its_cause(agent: Agent) -> None:
    converse(agent, "My colour is blue")
    planned(agent)
    extractor = LineExtractor(fails(*["schema_violated"] * 9))
    for _ in range(3):
        read_one(agent, extractor)
    row = window_of(agent.workspace_id)
    assert (row.state, row.attempts, row.error, row.first_index, row.last_index) == ("dead", 3, "schema_violated", 0, 1)
    assert row.finished_at is not None
    make_due(agent.workspace_id)
    assert claim(agent) == []
    with in_workspace(agent.workspace_id):
        entries = list(Entry.objects.filter(action__startswith="extraction.").order_by("id"))
    assert [(entry.action, entry.data["error"]) for entry in entries] == [
        ("extraction.failed", "schema_violated"),
        ("extraction.failed", "schema_violated"),
        ("extraction.dead", "schema_violated"),
    ]
    assert entries[-1].reason == "attempts_exhausted"


def test_what_cannot_be_answered_better_is_dead_at_once(agent: Agent) -> None:
    converse(agent, "My colour is blue")
    planned(agent)
    assert read_one(agent, LineExtractor(fails("bad_request"))) == "bad_request"
    row = window_of(agent.workspace_id)
    assert (row.state, row.attempts, row.error) == ("dead", 1, "bad_request")


def test_a_failed_answer_is_paid_for_and_counted(agent: Agent) -> None:
    converse(agent, "My colour is blue")
    planned(agent)
    extractor = LineExtractor(
        fails("refused", usage=Usage(500, 20), model="claude-haiku-4-5", request_id="req_refused")
    )
    read_one(agent, extractor)
    read_one(agent, extractor)
    row = window_of(agent.workspace_id)
    assert (row.input_tokens, row.output_tokens, float(row.cost_usd)) == (1_500, 120, 0.0021)
    with in_workspace(agent.workspace_id):
        day = ExtractionDay.objects.get()
    assert (day.windows, day.failures, day.input_tokens) == (1, 1, 1_500)


def test_attempts_are_counted_before_the_work(hub_db: str, agent: Agent) -> None:
    """Seen from another connection while the window is being read."""
    converse(agent, "My colour is blue")
    planned(agent)
    seen: list[tuple[str, int]] = []

    def look(window: Window, call: int) -> None:
        def in_another() -> None:
            row = window_of(agent.workspace_id)
            seen.append((row.state, row.attempts))
            connection.close()

        thread = threading.Thread(target=in_another)
        thread.start()
        thread.join()

    read_one(agent, LineExtractor(look))
    assert seen == [("running", 1)]


def test_a_worker_that_died_is_followed_and_the_death_remembered(agent: Agent) -> None:
    converse(agent, "My colour is blue")
    planned(agent)
    [died] = claim(agent, worker="host:extractor-1")
    assert claim(agent) == []
    assert take_over(agent.workspace_id, worker="host:extractor-2") == 0
    assert take_over(agent.workspace_id, worker="host:extractor-1") == 1
    [again] = claim(agent, worker="host:extractor-1")
    assert again.attempt == 2
    assert again.lease != died.lease
    row = window_of(agent.workspace_id)
    assert (row.deaths, row.error) == (1, "worker_died")


def test_a_window_that_kills_its_worker_is_read_alone_and_ends_as_a_dead_letter(agent: Agent) -> None:
    converse(agent, "My colour is blue", session="killer", user="ann")
    converse(agent, "My colour is red", session="bystander", user="bob")
    planned(agent)
    killer, bystander = windows_of(agent.workspace_id)
    assert len(claim(agent)) == 2  # both, and the worker dies
    end_leases(agent.workspace_id)
    assert len(claim(agent)) == 2
    end_leases(agent.workspace_id)
    assert claim(agent) == []  # twice is suspicious
    from facts.extraction.claims import claim_windows, suspects_wait

    assert suspects_wait(agent.workspace_id)
    [one] = claim_windows(agent.workspace_id, worker="w1", most=1, suspects=True)
    assert one.alone
    assert work_on(one, LineExtractor(), breaker.Leave("lines")) in ("done",)
    rest = {killer.id, bystander.id} - {one.extraction_id}
    [other] = claim_windows(agent.workspace_id, worker="w1", most=1, suspects=True)
    assert {other.extraction_id} == rest
    end_leases(agent.workspace_id)
    assert claim_windows(agent.workspace_id, worker="w1", most=1, suspects=True) == []
    dead = next(row for row in windows_of(agent.workspace_id) if row.id in rest)
    assert (dead.state, dead.error, dead.attempts, dead.deaths) == ("dead", "worker_died", 3, 3)


def test_a_fault_of_our_own_is_a_dead_letter_and_not_a_silence(hub_db: str, agent: Agent) -> None:
    converse(agent, "My colour is blue", session="s1", user="ann")
    converse(agent, "My colour is red", session="s2", user="bob")

    def stumble(window: Window, call: int) -> None:
        make_due(agent.workspace_id)
        if "blue" in window.turns[0].text:
            raise KeyError("a bug")

    worker = Worker(LineExtractor(stumble), name="w")
    try:

        def settled() -> bool:
            make_due(agent.workspace_id)
            return {row.state for row in windows_of(agent.workspace_id)} == {"done", "dead"}

        work_until(worker, settled)
    finally:
        worker.close()
    dead = next(row for row in windows_of(agent.workspace_id) if row.state == "dead")
    assert (dead.error, dead.attempts) == ("internal_error", 3)


def test_a_worker_that_is_stopped_gives_back_what_it_was_reading(hub_db: str, agent: Agent) -> None:
    converse(agent, "My colour is blue")
    reading, stop = threading.Event(), threading.Event()

    def hang(window: Window, call: int) -> None:
        reading.set()
        stop.wait(10)

    worker = Worker(LineExtractor(hang), name="w")
    work_until(worker, reading.is_set)
    assert worker.close()
    stop.set()
    row = window_of(agent.workspace_id)
    assert (row.state, row.attempts, row.lease) == ("due", 0, None)


def test_a_lease_can_be_prolonged_only_while_it_holds(agent: Agent) -> None:
    converse(agent, "My colour is blue")
    planned(agent)
    [one] = claim(agent)
    before = window_of(agent.workspace_id).leased_until
    assert prolong(one)
    after = window_of(agent.workspace_id).leased_until
    assert before is not None
    assert after is not None
    assert after > before
    give_back(one)
    assert not prolong(one)


# Pauses


@given(st.integers(2, 40), st.floats(0, 1), st.none() | st.floats(0, 3_600))
def test_pauses_grow_up_to_a_limit_and_never_undercut_the_provider(
    attempt: int, chance: float, retry_after: float | None
) -> None:
    from django.test import override_settings

    with override_settings(EXTRACT_BACKOFF_SECONDS=5.0, EXTRACT_BACKOFF_MAX_SECONDS=900.0):
        pause = pause_before(attempt, retry_after=retry_after, chance=chance)
    least = retry_after or 0.0
    assert least <= pause <= least + min(900.0, 5.0 * 2.0 ** (attempt - 2))


def test_pauses_are_spread_over_the_whole_span() -> None:
    pauses = [pause_before(4) for _ in range(500)]
    longest = 5.0 * 2**2
    assert min(pauses) < longest / 10
    assert max(pauses) > longest * 9 / 10


def test_retry_after_of_the_provider_is_waited_for(agent: Agent) -> None:
    converse(agent, "My colour is blue")
    planned(agent)
    read_one(agent, LineExtractor(fails("rate_limited", retry_after=120.0)))
    assert window_of(agent.workspace_id).next_attempt_at >= timezone.now() + timedelta(seconds=119)


# Splitting


def test_a_window_that_is_too_much_is_read_in_halves_and_nothing_is_lost(agent: Agent) -> None:
    converse(agent, *(f"My thing{number} is {number}" for number in range(8)))
    planned(agent)

    def short_of_breath(window: Window, call: int) -> None:
        if len(window.turns) > 4:
            raise ExtractionFailed("truncated", usage=Usage(100, 8_000), model="claude-haiku-4-5")

    extractor = LineExtractor(short_of_breath)
    assert read_one(agent, extractor) == "done"
    assert len(contents(agent.workspace_id)) == 8
    row = window_of(agent.workspace_id)
    assert (row.attempts, row.output_tokens) == (1, 3 * 8_000 + 4 * 100)
    assert [len(window.turns) for window in extractor.windows] == [16, 8, 4, 4, 8, 4, 4]


def test_a_single_turn_that_is_too_long_is_read_in_pieces(agent: Agent) -> None:
    converse(agent, "My colour is blue. " + "Well. " * 2_000 + "\nMy city is Ghent")
    planned(agent)

    def too_long(window: Window, call: int) -> None:
        if sum(len(turn.text) for turn in window.turns) > 5_000:
            raise ExtractionFailed("prompt_too_long")

    assert read_one(agent, LineExtractor(too_long)) == "done"
    with in_workspace(agent.workspace_id):
        from facts.models import Fact

        assert set(Fact.objects.values_list("attribute", flat=True)) == {"colour", "city"}


def test_what_cannot_be_split_any_more_is_a_named_dead_letter(agent: Agent) -> None:
    converse(agent, "My colour is blue")
    planned(agent)
    extractor = LineExtractor(fails(*["truncated"] * 99))
    for _ in range(3):
        read_one(agent, extractor)
    row = window_of(agent.workspace_id)
    assert (row.state, row.error) == ("dead", "truncated")


def test_a_half_that_fails_fails_the_window_with_all_that_was_used(agent: Agent) -> None:
    converse(agent, "My colour is blue", "My city is Ghent")
    planned(agent)
    with in_workspace(agent.workspace_id):
        window = load_window(Extraction.objects.select_related("session").get())
    codes = iter(["truncated", "", "overloaded"])

    def behaviour(window: Window, call: int) -> None:
        if code := next(codes):
            raise ExtractionFailed(code, usage=Usage(10, 10))

    with pytest.raises(ExtractionFailed) as caught:
        extract_in_pieces(LineExtractor(behaviour), window)
    assert (caught.value.code, caught.value.usage) == ("overloaded", Usage(1_020, 120))


# The breaker


def test_it_opens_after_failures_in_a_row_and_lets_one_probe_through(db: None, settings: Any) -> None:
    settings.EXTRACT_BREAKER_FAILURES = 3
    for _ in range(2):
        report(leave("x"), "overloaded")
    report(leave("x"))  # an answer: not in a row
    for _ in range(2):
        report(leave("x"), "overloaded")
    assert standing("x").state == "closed"
    report(leave("x"), "server_error")
    assert (standing("x").state, standing("x").error) == ("open", "server_error")
    assert enter("x") is None
    let_pause_pass("x")
    assert standing("x").state == "half_open"
    probe = leave("x")
    assert probe.probe is not None
    assert enter("x") is None
    report(probe, "timed_out")
    assert standing("x").state == "open"
    let_pause_pass("x")
    report(leave("x"))
    assert standing("x").state == "closed"
    assert leave("x").probe is None


def leave(name: str) -> breaker.Leave:
    granted = enter(name)
    assert granted is not None
    return granted


def let_pause_pass(name: str) -> None:
    # The database's now() is when the test's transaction began.
    ExtractorState.objects.filter(name=name).update(open_until=timezone.now() - timedelta(hours=1))


@pytest.mark.parametrize("code", sorted(set(CODES) - PROVIDER - BLOCKED))
def test_a_bad_answer_says_nothing_about_the_provider(db: None, settings: Any, code: str) -> None:
    settings.EXTRACT_BREAKER_FAILURES = 2
    for _ in range(5):
        report(leave("x"), code)
    assert standing("x").state == "closed"


def test_a_failure_from_before_it_opened_does_not_prolong_the_pause(db: None, settings: Any) -> None:
    settings.EXTRACT_BREAKER_FAILURES = 1
    early, late = leave("x"), leave("x")
    report(early, "overloaded")
    until = ExtractorState.objects.get().open_until
    report(late, "overloaded")
    assert ExtractorState.objects.get().open_until == until
    report(late)
    assert standing("x").state == "open"


def test_an_unused_probe_is_given_to_the_next_and_a_lost_one_too(db: None, settings: Any) -> None:
    settings.EXTRACT_BREAKER_FAILURES = 1
    report(leave("x"), "overloaded")
    let_pause_pass("x")
    breaker.hand_back(leave("x"))
    assert leave("x").probe is not None
    assert enter("x") is None
    ExtractorState.objects.update(probe_until=timezone.now() - timedelta(hours=1))
    assert leave("x").probe is not None


def test_who_succeeds_a_worker_that_died_probing_may_probe(db: None, settings: Any) -> None:
    settings.EXTRACT_BREAKER_FAILURES = 1
    report(leave("x"), "overloaded")
    let_pause_pass("x")
    assert enter("x", worker="host:one") is not None
    breaker.reset("x", worker="host:two")
    assert enter("x", worker="host:two") is None
    breaker.reset("x", worker="host:one")
    assert enter("x", worker="host:one") is not None


def test_of_many_workers_exactly_one_probes(hub_db: str, settings: Any) -> None:
    settings.EXTRACT_BREAKER_FAILURES = 1
    report(leave("x"), "overloaded")
    let_pause_pass("x")
    start = threading.Barrier(8)
    granted: list[breaker.Leave] = []

    def ask() -> None:
        start.wait()
        if one := enter("x"):
            granted.append(one)
        connection.close()

    workers = [threading.Thread(target=ask) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(granted) == 1


def test_while_the_provider_is_down_a_probe_costs_no_attempt(agent: Agent, settings: Any) -> None:
    settings.EXTRACT_BREAKER_FAILURES = 1
    converse(agent, "My colour is blue")
    planned(agent)
    extractor = LineExtractor(fails(*["overloaded"] * 10))
    read_one(agent, extractor)
    for _ in range(8):
        let_pause_pass("lines")
        assert read_one(agent, extractor) == "overloaded"
    row = window_of(agent.workspace_id)
    assert (row.state, row.attempts) == ("due", 1)
    let_pause_pass("lines")
    read_one(agent, extractor)
    let_pause_pass("lines")
    assert read_one(agent, extractor) == "done"
    assert standing("lines").state == "closed"


@pytest.mark.parametrize("code", sorted(BLOCKED))
def test_what_only_a_person_can_mend_lets_work_wait_and_is_named(agent: Agent, settings: Any, code: str) -> None:
    settings.EXTRACTOR = "claude"
    converse(agent, "My colour is blue")
    planned(agent)
    extractor = LineExtractor(fails(code, code))
    extractor.name = "claude"
    for _ in range(2):
        assert read_one(agent, extractor) == code
        row = window_of(agent.workspace_id)
        assert (row.state, row.attempts, row.error) == ("due", 0, code)
        assert enter("claude") is None
        assert extractor_state() == {"ok": False, "name": "claude", "breaker": "open", "blocked": code, "cause": code}
        let_pause_pass("claude")
    assert read_one(agent, extractor) == "done"
    assert extractor_state() == {"ok": True, "name": "claude", "breaker": "closed"}


def test_a_worker_without_a_key_claims_nothing_and_goes_on_when_it_has_one(hub_db: str, agent: Agent) -> None:
    converse(agent, "My colour is blue")
    extractor = LineExtractor()
    extractor.blocked = "not_configured"
    worker = Worker(extractor, name="w")
    for _ in range(3):
        worker.step()
    assert standing("lines").blocked == "not_configured"
    assert window_of(agent.workspace_id).attempts == 0
    worker.close()
    extractor.blocked = ""
    successor = Worker(extractor, name="w")
    try:
        work_until(successor, lambda: window_of(agent.workspace_id).state == "done")
    finally:
        successor.close()
    assert standing("lines") == breaker.Standing("closed", "", "not_configured")


def test_what_was_said_first_is_read_first_though_it_waits_behind_many(agent: Agent, monkeypatch: Any) -> None:
    monkeypatch.setattr("facts.extraction.claims.PEOPLE_AT_ONCE", 2)
    for user in ("ann", "bob", "cid"):
        for session in ("first", "second"):
            converse(agent, "My colour is blue", session=f"{user}-{session}", user=user)
    planned(agent)
    with in_workspace(agent.workspace_id):
        firsts = set(Extraction.objects.filter(session__external_id__endswith="first").values_list("id", flat=True))
        now = timezone.now()
        Extraction.objects.filter(pk__in=firsts).update(next_attempt_at=now - timedelta(minutes=5))
        Extraction.objects.exclude(pk__in=firsts).update(next_attempt_at=now - timedelta(minutes=10))
    assert {one.extraction_id for one in claim(agent)} == firsts
    assert len(firsts) == 3
