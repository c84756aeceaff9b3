from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from extraction_work import contents, converse, make_due, planned, set_pause, window_of, windows_of

from benchmarks.loopback_claude import LoopbackClaude, Received, Step
from facts.extraction import batch
from facts.extraction.breaker import standing
from facts.extraction.claims import claim_windows
from facts.extraction.claude import ClaudeExtractor
from facts.models import ExtractionBatch, ExtractionDay, ExtractorState
from memoryhub.access.models import Agent
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject

COLOURS = ("blue", "green", "red")


@pytest.fixture
def claude() -> Iterator[LoopbackClaude]:
    with LoopbackClaude() as server:
        yield server


@pytest.fixture
def extractor(claude: LoopbackClaude, settings: Any) -> ClaudeExtractor:
    settings.EXTRACTOR = "claude"
    settings.EXTRACT_BATCH = True
    settings.EXTRACT_BATCH_GATHER_SECONDS = 0
    settings.EXTRACT_BATCH_POLL_SECONDS = 0
    settings.EXTRACT_MAX_ATTEMPTS = 3
    # What failed is tried again when a test says so, and not after a random moment.
    settings.EXTRACT_BACKOFF_SECONDS = settings.EXTRACT_BACKOFF_MAX_SECONDS = 1e6
    return ClaudeExtractor(api_key=claude.key, base_url=claude.url)


@pytest.fixture
def waiting(agent: Agent, extractor: ClaudeExtractor) -> Agent:
    """Three people, each of whom prefers a colour; their windows wait."""
    for number, colour in enumerate(COLOURS):
        converse(agent, f"I prefer {colour} paper.", session=f"s{number}", user=f"u{number}")
    planned(agent)
    return agent


def a_round(agent: Agent, extractor: ClaudeExtractor) -> int:
    return batch.look_after_batches(extractor, [agent.workspace_id])


def batches_of(agent: Agent) -> list[ExtractionBatch]:
    with in_workspace(agent.workspace_id):
        return list(ExtractionBatch.objects.order_by("id"))


def states(agent: Agent) -> list[str]:
    return [row.state for row in windows_of(agent.workspace_id)]


def test_windows_are_sent_together_applied_and_deleted_at_the_provider(
    waiting: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude
) -> None:
    a_round(waiting, extractor)
    [sent] = batches_of(waiting)
    assert (sent.state, sent.size) == ("submitted", 3)
    assert states(waiting) == ["running"] * 3
    [at_provider] = claude.batches.values()
    assert sorted(custom_id[:32] for custom_id, _ in at_provider.items) == sorted(
        row.id.hex for row in windows_of(waiting.workspace_id)
    )
    a_round(waiting, extractor)
    [applied] = batches_of(waiting)
    assert applied.state == "deleted"
    assert claude.batches == {}
    assert states(waiting) == ["done"] * 3
    assert len(contents(waiting.workspace_id)) == 3


def test_batches_cost_half(waiting: Agent, extractor: ClaudeExtractor) -> None:
    for _ in range(2):
        a_round(waiting, extractor)
    with in_workspace(waiting.workspace_id):
        [day] = ExtractionDay.objects.all()
    assert day.batched
    full = (
        Decimal(day.input_tokens)
        + day.output_tokens * 5
        + day.cache_read_tokens * Decimal("0.1")
        + day.cache_write_tokens * Decimal("1.25")
    ) / 1_000_000
    assert day.cost_usd is not None
    assert abs(day.cost_usd - full / 2) < Decimal("0.00001")


def test_few_windows_wait_a_while_for_more(waiting: Agent, extractor: ClaudeExtractor, settings: Any) -> None:
    settings.EXTRACT_BATCH_GATHER_SECONDS = 60
    a_round(waiting, extractor)
    assert batches_of(waiting) == []
    settings.EXTRACT_BATCH_SIZE = 3
    a_round(waiting, extractor)
    assert len(batches_of(waiting)) == 1


def test_a_batch_that_is_still_worked_on_is_left_alone(
    waiting: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude
) -> None:
    claude.batch_seconds = 3_600
    for _ in range(3):
        a_round(waiting, extractor)
    assert [one.state for one in batches_of(waiting)] == ["submitted"]
    assert claim_windows(waiting.workspace_id, worker="w", most=10) == []
    claude.end_batches()
    a_round(waiting, extractor)
    assert states(waiting) == ["done"] * 3


def fail_items(kinds: dict[str, str]) -> Any:
    """Let the items that hold these words end so, at the first try."""

    def behave(received: Received, time_asked: int) -> Step:
        said = str(received.body)
        return Step(next((kind for word, kind in kinds.items() if word in said and time_asked == 1), "good"))

    return behave


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("server_error", "server_error"),
        ("overloaded", "overloaded"),
        ("schema_violating", "schema_violated"),
        ("not_json", "answer_unreadable"),
        ("refusal", "refused"),
    ],
)
def test_an_item_that_failed_is_tried_again_and_the_others_are_not(
    waiting: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude, kind: str, code: str
) -> None:
    claude.behave = fail_items({"blue": kind})
    for _ in range(2):
        a_round(waiting, extractor)
    blue, *others = windows_of(waiting.workspace_id)
    assert (blue.state, blue.error, blue.attempts) == ("failed", code, 1)
    assert {row.state for row in others} == {"done"}
    make_due(waiting.workspace_id)
    for _ in range(2):
        a_round(waiting, extractor)
    assert states(waiting) == ["done"] * 3
    assert len(contents(waiting.workspace_id)) == 3
    assert [row.attempts for row in windows_of(waiting.workspace_id)] == [2, 1, 1]


def test_an_item_that_fails_each_time_is_a_dead_letter(
    waiting: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude
) -> None:
    claude.behave = lambda received, time_asked: Step("refusal" if "blue" in str(received.body) else "good")
    for _ in range(8):
        a_round(waiting, extractor)
        make_due(waiting.workspace_id)
    blue = windows_of(waiting.workspace_id)[0]
    assert (blue.state, blue.error, blue.attempts) == ("dead", "refused", 3)


def test_a_window_that_is_too_much_for_a_batch_is_read_in_pieces_instead(
    waiting: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude
) -> None:
    claude.behave = fail_items({"blue": "truncated"})
    for _ in range(2):
        a_round(waiting, extractor)
    make_due(waiting.workspace_id)
    a_round(waiting, extractor)
    assert len(batches_of(waiting)) == 1
    [one] = claim_windows(waiting.workspace_id, worker="w", most=10, split_only=True)
    assert one.extraction_id == windows_of(waiting.workspace_id)[0].id


def test_a_cancelled_batch_is_sent_again(waiting: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude) -> None:
    claude.batch_seconds = 3_600
    a_round(waiting, extractor)
    [sent] = batches_of(waiting)
    extractor.client().messages.batches.cancel(sent.provider_id)
    claude.batch_seconds = 0
    a_round(waiting, extractor)
    assert {(row.state, row.error) for row in windows_of(waiting.workspace_id)} == {("failed", "batch_canceled")}
    make_due(waiting.workspace_id)
    for _ in range(2):
        a_round(waiting, extractor)
    assert states(waiting) == ["done"] * 3


def test_a_batch_that_somebody_deleted_is_sent_again(
    waiting: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude
) -> None:
    a_round(waiting, extractor)
    claude.batches.clear()
    a_round(waiting, extractor)
    assert {row.error for row in windows_of(waiting.workspace_id)} == {"batch_item_missing"}
    make_due(waiting.workspace_id)
    for _ in range(2):
        a_round(waiting, extractor)
    assert states(waiting) == ["done"] * 3


class Killed(BaseException):
    """Ends a worker as SIGKILL would: nothing of ours catches it."""


def test_a_worker_killed_between_creating_and_writing_it_down_finds_the_batch_again(
    waiting: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude
) -> None:
    """The provider made the batch and nobody heard of it."""
    claude.at_batches = lambda operation: Step("hang_up" if operation == "create" else "good")
    a_round(waiting, extractor)
    [made] = batches_of(waiting)
    assert (made.state, made.provider_id) == ("creating", "")
    assert len(claude.batches) == 1
    claude.at_batches = lambda operation: Step()
    pass_lease(waiting)
    a_round(waiting, extractor)
    assert [one.state for one in batches_of(waiting)] == ["deleted"]
    assert states(waiting) == ["done"] * 3
    assert [row.attempts for row in windows_of(waiting.workspace_id)] == [1, 1, 1]
    assert claude.batches == {}
    assert len(contents(waiting.workspace_id)) == 3


def pass_lease(agent: Agent, **more: Any) -> None:
    """As if the time of the worker that looked after the batch had passed, and the breaker's pause."""
    with in_workspace(agent.workspace_id):
        ExtractionBatch.objects.update(leased_until=timezone.now() - timedelta(seconds=1), **more)
    ExtractorState.objects.update(open_until=None, failures=0)


def test_a_foreign_batch_is_not_taken_for_ours(
    waiting: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude
) -> None:
    """Another program uses the same key, and made a batch of as many items in the same minute."""
    claude.at_batches = lambda operation: Step("server_error" if operation == "create" else "good")
    a_round(waiting, extractor)
    params = {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}
    claude.at_batches = lambda operation: Step()
    theirs = extractor.client().messages.batches.create(
        requests=[{"custom_id": f"theirs-{number}", "params": params} for number in range(3)]
    )
    pass_lease(waiting)
    a_round(waiting, extractor)
    assert [one.state for one in batches_of(waiting)] == ["creating"]
    pass_lease(waiting, created_at=timezone.now() - batch.LOST_AFTER)
    a_round(waiting, extractor)
    assert [one.state for one in batches_of(waiting)][0] == "lost"
    for _ in range(2):
        a_round(waiting, extractor)
    assert states(waiting) == ["done"] * 3
    assert [row.attempts for row in windows_of(waiting.workspace_id)] == [1, 1, 1]
    assert list(claude.batches) == [theirs.id]


def test_a_worker_killed_while_it_applies_goes_on_where_it_was(
    hub_db: str, waiting: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude
) -> None:
    a_round(waiting, extractor)
    read = extractor.read
    answered = 0

    def killed_after_one(window: Any, message: Any) -> Any:
        nonlocal answered
        answered += 1
        if answered == 2:
            raise Killed
        return read(window, message)

    extractor.read = killed_after_one  # type: ignore[method-assign]
    with pytest.raises(Killed):
        a_round(waiting, extractor)
    assert sorted(states(waiting)) == ["done", "running", "running"]
    extractor.read = read  # type: ignore[method-assign]
    pass_lease(waiting)
    a_round(waiting, extractor)
    assert states(waiting) == ["done"] * 3
    assert [row.attempts for row in windows_of(waiting.workspace_id)] == [1, 1, 1]
    assert len(contents(waiting.workspace_id)) == 3
    assert claude.batches == {}


def test_what_could_not_be_deleted_is_deleted_next_time(
    waiting: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude
) -> None:
    claude.at_batches = lambda operation: Step("overloaded" if operation == "delete" else "good")
    for _ in range(2):
        a_round(waiting, extractor)
    assert [one.state for one in batches_of(waiting)] == ["applied"]
    assert states(waiting) == ["done"] * 3
    claude.at_batches = lambda operation: Step()
    a_round(waiting, extractor)
    assert ([one.state for one in batches_of(waiting)], claude.batches) == (["deleted"], {})


def test_a_refused_batch_gives_its_windows_back(
    waiting: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude
) -> None:
    claude.at_batches = lambda operation: Step("unauthorized" if operation == "create" else "good")
    a_round(waiting, extractor)
    assert standing("claude").blocked == "authentication_failed"
    assert {(row.state, row.attempts) for row in windows_of(waiting.workspace_id)} == {("due", 0)}
    claude.at_batches = lambda operation: Step()
    assert a_round(waiting, extractor) == 0  # the breaker is open
    pass_lease(waiting)
    for _ in range(2):
        a_round(waiting, extractor)
    assert states(waiting) == ["done"] * 3


def test_somebody_erased_or_paused_meanwhile_is_respected(
    waiting: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude
) -> None:
    a_round(waiting, extractor)
    with in_workspace(waiting.workspace_id):
        Subject.objects.get(external_id="u0").delete()
    set_pause(waiting, restricted_at=timezone.now())
    a_round(waiting, extractor)
    assert [one.state for one in batches_of(waiting)] == ["deleted"]
    assert [(row.state, row.attempts) for row in windows_of(waiting.workspace_id)] == [("due", 0), ("due", 0)]
    assert contents(waiting.workspace_id) == []
    set_pause(waiting, restricted_at=None)
    for _ in range(2):
        a_round(waiting, extractor)
    assert len(contents(waiting.workspace_id)) == 2


def test_one_persons_windows_in_a_batch_are_applied_in_their_order(
    agent: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude
) -> None:
    for number, colour in enumerate(("blue", "green", "red")):
        converse(agent, f"My favourite colour is {colour}.", session=f"s{number}", user="ann")
    planned(agent)
    for _ in range(2):
        a_round(agent, extractor)
    assert states(agent) == ["done"] * 3
    assert [content for content in contents(agent.workspace_id) if "red" in content] == contents(agent.workspace_id)


def test_a_window_without_anybody_who_states_something_is_not_sent(
    agent: Agent, extractor: ClaudeExtractor, claude: LoopbackClaude
) -> None:
    from memory_samples import say

    from sessions.models import TurnRole

    say(agent, "How can I help?", role=TurnRole.ASSISTANT)
    converse(agent)
    planned(agent)
    a_round(agent, extractor)
    assert window_of(agent.workspace_id).state == "done"
    assert claude.batches == {}
    assert [one.state for one in batches_of(agent)] == ["deleted"]
