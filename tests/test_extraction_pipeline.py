import json
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from extraction_work import (
    LineExtractor,
    claim,
    contents,
    converse,
    end_leases,
    planned,
    read_one,
    set_pause,
    window_of,
    windows_of,
    withhold,
    work_until,
)
from memory_samples import say

from audit.models import Entry
from facts.extraction.breaker import Leave
from facts.extraction.interface import Extracted, ExtractedFact
from facts.extraction.pipeline import apply, work_on
from facts.extraction.worker import Worker
from facts.models import Evidence, ExtractionDay, FactType, FactVersion
from memoryhub.access.models import Agent, MemoryMode
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject, TurnRole

pytestmark = pytest.mark.usefixtures("extracting")
OPEN = Leave("lines")


@pytest.fixture
def extracting(settings: Any) -> None:
    settings.EXTRACTOR = "patterns"


def test_what_is_said_becomes_facts_with_source_evidence_and_extractor(agent: Agent) -> None:
    session = converse(agent, "My colour is blue")
    planned(agent)
    assert read_one(agent, LineExtractor()) == "done"
    with in_workspace(agent.workspace_id):
        version = FactVersion.objects.select_related("fact").get()
        evidence = Evidence.objects.select_related("turn").get()
    assert (version.content, version.source, version.extracted_by) == (
        "The customer's colour is blue",
        "user",
        "claude-haiku-4-5/lines1",
    )
    assert (version.session_id, version.agent_id, version.fact.subject_id) == (
        session.id,
        agent.id,
        session.subject_id,
    )
    assert (evidence.turn.index, evidence.kind) == (0, "states")


def test_a_done_window_says_what_it_took_and_what_came_of_it(agent: Agent) -> None:
    converse(agent, "My colour is blue", "My city is Ghent")
    planned(agent)
    read_one(agent, LineExtractor())
    row = window_of(agent.workspace_id)
    assert (row.state, row.attempts, row.error, row.lease) == ("done", 1, "", None)
    assert (row.model, row.prompt_version, row.request_id) == ("claude-haiku-4-5", "lines1", "req_1")
    assert (row.input_tokens, row.output_tokens, row.cost_usd) == (1_000, 100, Decimal("0.0015"))
    assert row.counts == {"added": 2, "confirmed": 0, "superseded": 0}
    with in_workspace(agent.workspace_id):
        day = ExtractionDay.objects.get()
    assert (day.windows, day.failures, day.input_tokens, day.cost_usd) == (1, 0, 1_000, Decimal("0.0015"))


def test_the_log_tells_of_it_without_content(agent: Agent) -> None:
    converse(agent, "My colour is blue")
    planned(agent)
    read_one(agent, LineExtractor())
    with in_workspace(agent.workspace_id):
        entry = Entry.objects.get(action="extraction.done")
    assert (entry.actor_kind, entry.actor_id) == ("system", "extraction")
    assert (entry.data["added"], entry.data["input_tokens"], entry.data["attempts"]) == (1, 1_000, 1)
    assert "blue" not in json.dumps(entry.data)


def test_what_is_said_again_confirms_and_what_changed_supersedes(agent: Agent) -> None:
    converse(agent, "My colour is blue", session="s1")
    converse(agent, "My colour is blue", session="s2")
    converse(agent, "My colour is green", session="s3")
    planned(agent)
    extractor = LineExtractor()
    for _ in range(3):
        read_one(agent, extractor)
    assert contents(agent.workspace_id) == ["The customer's colour is green"]
    assert [row.counts for row in windows_of(agent.workspace_id)] == [
        {"added": 1, "confirmed": 0, "superseded": 0},
        {"added": 0, "confirmed": 1, "superseded": 0},
        {"added": 0, "confirmed": 0, "superseded": 1},
    ]


def test_the_extractor_is_told_what_is_known(agent: Agent) -> None:
    converse(agent, "My colour is blue", session="s1")
    converse(agent, "My colour is green", session="s2")
    planned(agent)
    extractor = LineExtractor()
    read_one(agent, extractor)
    read_one(agent, extractor)
    assert [[(known.handle, known.content) for known in window.known] for window in extractor.windows] == [
        [],
        [("F1", "The customer's colour is blue")],
    ]


def test_of_one_person_windows_are_read_in_order_of_several_at_once(agent: Agent) -> None:
    converse(agent, "My colour is blue", session="s1", user="ann")
    converse(agent, "My colour is green", session="s2", user="ann")
    converse(agent, "My colour is red", session="s3", user="bob")
    planned(agent)
    first = claim(agent)
    assert len(first) == 2
    assert claim(agent) == []
    for one in first:
        work_on(one, LineExtractor(), OPEN)
    assert len(claim(agent)) == 1


@pytest.mark.parametrize("role", [TurnRole.ASSISTANT, TurnRole.SYSTEM])
def test_what_an_assistant_or_a_system_says_is_no_evidence(agent: Agent, role: TurnRole) -> None:
    say(agent, "My colour is blue", role=role)
    converse(agent, "Hello")
    planned(agent)
    read_one(agent, LineExtractor())
    assert contents(agent.workspace_id) == []
    assert window_of(agent.workspace_id).counts["discarded"] == 1


def test_a_window_in_which_nobody_states_anything_costs_nothing(agent: Agent) -> None:
    say(agent, "Can I help you?", role=TurnRole.ASSISTANT)
    converse(agent)
    planned(agent)
    extractor = LineExtractor()
    assert read_one(agent, extractor) == "done"
    assert extractor.windows == []
    with in_workspace(agent.workspace_id):
        assert not ExtractionDay.objects.exists()


def test_a_model_cannot_point_outside_the_window(agent: Agent) -> None:
    """Turns of the context, and turns that do not exist, state nothing; a handle of nobody replaces nothing."""
    converse(agent, "My colour is blue")
    planned(agent)
    converse(agent, "My city is Ghent")
    planned(agent)
    read_one(agent, LineExtractor())
    [one] = claim(agent)
    facts = tuple(
        ExtractedFact(FactType.GOAL, "x", f"Statement {index}", index, replaces="F999", coexists=index == 2)
        for index in (0, 2, 77)
    )
    assert apply(one, Extracted(facts, "claude-haiku-4-5", "1")).state == "done"
    assert contents(agent.workspace_id, fact__entity="x") == ["Statement 2"]


def test_turns_withheld_while_the_window_was_read_state_nothing(agent: Agent) -> None:
    session = converse(agent, "My colour is blue", "My city is Ghent")
    planned(agent)
    extractor = LineExtractor(lambda window, call: withhold(session, 0))
    assert read_one(agent, extractor) == "done"
    assert contents(agent.workspace_id) == ["The customer's city is Ghent"]


@pytest.mark.parametrize("pause", ["restricted_at", "extraction_paused_at", "recording_paused_at"])
def test_a_pause_while_the_window_was_read_lets_it_wait(agent: Agent, pause: str) -> None:
    converse(agent, "My colour is blue")
    planned(agent)
    extractor = LineExtractor(lambda window, call: set_pause(agent, **{pause: timezone.now()}))
    assert read_one(agent, extractor) == "waits"
    row = window_of(agent.workspace_id)
    assert (row.state, row.attempts, contents(agent.workspace_id)) == ("due", 0, [])
    set_pause(agent, **{pause: None})
    assert read_one(agent, LineExtractor()) == "done"


def test_a_mode_that_changes_while_the_window_was_read_lets_it_wait(agent: Agent) -> None:
    converse(agent, "My colour is blue")
    planned(agent)

    def to_episodic(window: object, call: int) -> None:
        with in_workspace(agent.workspace_id):
            Agent.objects.filter(pk=agent.pk).update(mode=MemoryMode.EPISODIC)

    assert read_one(agent, LineExtractor(to_episodic)) == "waits"
    assert contents(agent.workspace_id) == []


def test_a_person_erased_while_the_window_was_read_stays_erased(agent: Agent) -> None:
    converse(agent, "My colour is blue")
    planned(agent)

    def erase(window: object, call: int) -> None:
        with in_workspace(agent.workspace_id):
            Subject.objects.all().delete()

    assert read_one(agent, LineExtractor(erase)) == "lost"
    assert contents(agent.workspace_id) == []


def test_a_worker_that_lost_its_lease_writes_nothing(agent: Agent) -> None:
    converse(agent, "My colour is blue")
    planned(agent)
    [slow] = claim(agent, worker="slow")
    end_leases(agent.workspace_id)
    [quick] = claim(agent, worker="quick")
    assert work_on(quick, LineExtractor(), OPEN) == "done"
    assert apply(slow, Extracted((), "claude-haiku-4-5", "1")).state == "lost"
    assert work_on(slow, LineExtractor(), OPEN) == "lost"
    assert contents(agent.workspace_id) == ["The customer's colour is blue"]
    with in_workspace(agent.workspace_id):
        assert Entry.objects.filter(action="extraction.done").count() == 1
        assert Evidence.objects.count() == 1


def test_what_was_said_before_does_not_replace_what_was_said_later(agent: Agent) -> None:
    """A dead letter is replayed after a later conversation was read."""
    converse(agent, "My colour is blue", session="s1")
    planned(agent)
    early = window_of(agent.workspace_id)
    with in_workspace(agent.workspace_id):
        type(early).objects.update(state="dead")
    converse(agent, "My colour is green", session="s2")
    planned(agent)
    read_one(agent, LineExtractor())
    with in_workspace(agent.workspace_id):
        type(early).objects.filter(pk=early.pk).update(state="due", attempts=0)
    read_one(agent, LineExtractor())
    assert contents(agent.workspace_id) == ["The customer's colour is green"]
    assert contents(agent.workspace_id, status="superseded") == ["The customer's colour is blue"]


def test_what_was_confirmed_since_is_not_replaced_by_what_was_said_between(agent: Agent) -> None:
    """blue, green (read last), blue again."""
    for number, colour in enumerate(("blue", "green", "blue")):
        converse(agent, f"My colour is {colour}", session=f"s{number}")
    planned(agent)
    between = windows_of(agent.workspace_id)[1]
    with in_workspace(agent.workspace_id):
        type(between).objects.filter(pk=between.pk).update(state="dead")
    for _ in range(2):
        read_one(agent, LineExtractor())
    with in_workspace(agent.workspace_id):
        type(between).objects.filter(pk=between.pk).update(state="due", attempts=0)
    read_one(agent, LineExtractor())
    assert contents(agent.workspace_id) == ["The customer's colour is blue"]
    assert contents(agent.workspace_id, status="superseded") == ["The customer's colour is green"]


def test_a_worker_reads_several_windows_at_once(hub_db: str, agent: Agent) -> None:
    import threading

    for number in range(6):
        converse(agent, f"My number is {number}", session=f"s{number}", user=f"u{number}")
    together = threading.Barrier(3, timeout=10)
    worker = Worker(LineExtractor(lambda window, call: together.wait() and None), name="w", concurrency=3)
    try:
        work_until(worker, lambda: len(contents(agent.workspace_id)) == 6)
    finally:
        worker.close()
    assert {row.state for row in windows_of(agent.workspace_id)} == {"done"}


def test_workspaces_take_turns(hub_db: str, agent: Agent, other_workspace: Any, actor: Any) -> None:
    from memoryhub.access.services import agent_get_or_create

    other = agent_get_or_create(workspace_id=other_workspace.id, name="assistant", actor=actor)
    for number in range(4):
        for one in (agent, other):
            converse(one, f"My number is {number}", session=f"s{number}", user=f"u{number}")
    extractor = LineExtractor()
    worker = Worker(extractor, name="w", concurrency=2)
    try:
        work_until(worker, lambda: len(contents(agent.workspace_id)) + len(contents(other_workspace.id)) == 8)
    finally:
        worker.close()
    assert {window.workspace_id for window in extractor.windows[:2]} == {agent.workspace_id, other_workspace.id}
