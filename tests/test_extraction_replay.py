import io
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from extraction_work import LineExtractor, contents, converse, fails, make_due, planned, read_one, windows_of

from audit.actors import Actor
from audit.models import Entry
from facts.extraction import replay
from facts.extraction.replay import DeadLetterFilter, dead_letter_causes, dead_letters_replay, replay_progress
from memoryhub.access.models import Agent
from memoryhub.core.tenancy import in_workspace


@pytest.fixture
def letters(agent: Agent, settings: Any) -> Agent:
    """The agent of three dead letters: two were `refused`, one could not be read."""
    settings.EXTRACTOR = "patterns"
    settings.EXTRACT_MAX_ATTEMPTS = 1
    for number, code in enumerate(("refused", "refused", "answer_unreadable")):
        converse(agent, f"My number is {number}", session=f"s{number}", user=f"u{number}")
        planned(agent)
        read_one(agent, LineExtractor(fails(code)))
    return agent


def replayed(agent: Agent, actor: Actor, **which: Any) -> replay.Replayed:
    return dead_letters_replay(workspace_id=agent.workspace_id, which=DeadLetterFilter(**which), actor=actor)


def test_replay_reads_what_was_given_up_on_with_all_attempts(letters: Agent, actor: Actor) -> None:
    done = replayed(letters, actor)
    assert done.windows == 3
    assert {(row.state, row.attempts) for row in windows_of(letters.workspace_id)} == {("due", 0)}
    for _ in range(3):
        read_one(letters, LineExtractor())
    assert len(contents(letters.workspace_id)) == 3
    with in_workspace(letters.workspace_id):
        progress = replay_progress(workspace_id=letters.workspace_id, replay=done.id)
    assert (progress.windows, progress.done, progress.dead, progress.percent) == (3, 3, 0, 100)


def test_what_fails_again_is_a_dead_letter_again(letters: Agent, actor: Actor) -> None:
    done = replayed(letters, actor, error="refused")
    for _ in range(2):
        read_one(letters, LineExtractor(fails("refused")))
    with in_workspace(letters.workspace_id):
        progress = replay_progress(workspace_id=letters.workspace_id, replay=done.id)
        assert (progress.done, progress.dead, progress.waiting) == (0, 2, 0)
        assert dead_letter_causes(workspace_id=letters.workspace_id) == [("refused", 2), ("answer_unreadable", 1)]


def test_replaying_twice_doubles_nothing(letters: Agent, actor: Actor) -> None:
    assert replayed(letters, actor).windows == 3
    assert replayed(letters, actor).windows == 0
    with in_workspace(letters.workspace_id):
        assert Entry.objects.filter(action="extraction.replayed").count() == 1


def test_many_go_in_several_transactions(letters: Agent, actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "AT_ONCE", 2)
    done = replayed(letters, actor)
    assert done.windows == 3
    assert {row.replay for row in windows_of(letters.workspace_id)} == {done.id}
    with in_workspace(letters.workspace_id):
        sizes = (
            Entry.objects.filter(action="extraction.replayed").order_by("id").values_list("data__windows", flat=True)
        )
        assert list(sizes) == [2, 1]


def test_a_window_out_of_attempts_that_is_not_dead_is_left_alone(letters: Agent, actor: Actor) -> None:
    converse(letters, "My number is 9", session="s9", user="u9")
    planned(letters)
    assert replayed(letters, actor, ids=tuple(row.id for row in windows_of(letters.workspace_id))).windows == 3


def dead_letters(*words: str) -> list[str]:
    out = io.StringIO()
    call_command("dead_letters", *words, "--workspace", "acme", stdout=out)
    return out.getvalue().splitlines()


def test_the_command_lists_them(letters: Agent) -> None:
    *lines, total = dead_letters()
    assert total == "3 dead letters"
    assert [line.split()[3] for line in lines] == ["answer_unreadable", "refused", "refused"]
    assert all("number" not in line for line in lines)
    assert dead_letters("list", "--error", "refused")[-1] == "2 dead letters"
    assert dead_letters("list", "--session", "s2")[-1] == "1 dead letter"
    assert dead_letters("list", "--before", "2026-01-01T00:00Z") == ["0 dead letters"]


def test_the_command_replays_and_tells_how_it_goes_on(letters: Agent) -> None:
    first = windows_of(letters.workspace_id)[0]
    assert dead_letters("replay", "--id", str(first.id)) == ["1 wait to be read again"]
    make_due(letters.workspace_id)
    read_one(letters, LineExtractor())
    assert dead_letters("replay", "--all", "--wait", "0.01")[:2] == [
        "2 wait to be read again",
        "done 0, dead again 0, waiting 2",
    ]
    with in_workspace(letters.workspace_id):
        entry = Entry.objects.filter(action="extraction.replayed").latest("id")
    assert (entry.actor_kind, entry.actor_id) == ("command", "dead_letters")


@pytest.mark.parametrize("words", [["replay"], ["replay", "--all", "--error", "refused"]])
def test_the_command_wants_to_be_told_which(letters: Agent, words: list[str]) -> None:
    with pytest.raises(CommandError, match="one of the two"):
        dead_letters(*words)


@pytest.mark.parametrize(
    "words", [["--workspace", "nowhere"], ["--error", "gremlins"], ["--id", "x"], ["--since", "yesterday"]]
)
def test_the_command_refuses_what_it_does_not_know(letters: Agent, words: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("dead_letters", "list", *words)


def test_an_unknown_one_is_none(letters: Agent) -> None:
    assert dead_letters("replay", "--id", str(uuid4())) == ["0 wait to be read again"]
