import threading
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from extraction_work import claim, converse, planned, set_pause, windows_of, withhold
from hypothesis import given
from hypothesis import strategies as st
from memory_samples import say, viewpoint

from facts.extraction.interface import KnownFact, Window, WindowTurn
from facts.extraction.windows import cut, halved, load_window, plan_windows, related, unread_turns
from facts.models import ErasedEvidence, Extraction
from facts.provenance import recalled_before, recalled_before_each
from facts.working_memory import MemoryRequest, working_memory
from memoryhub.access.models import Agent, MemoryMode
from memoryhub.core.ids import uuid7
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Turn, TurnRole
from sessions.services import session_close

pytestmark = pytest.mark.usefixtures("extracting")


@pytest.fixture
def extracting(settings: Any) -> None:
    settings.EXTRACTOR = "patterns"


def due_at(agent: Agent, session: str = "s1") -> Any:
    with in_workspace(agent.workspace_id):
        return Session.objects.get(external_id=session).extract_due_at


def test_a_conversation_is_due_once_it_has_been_silent_for_a_while(agent: Agent, settings: Any) -> None:
    settings.EXTRACT_AFTER_IDLE_SECONDS = 600
    say(agent, "My colour is blue")
    assert timedelta(seconds=590) < due_at(agent) - timezone.now() <= timedelta(seconds=600)
    assert planned(agent) == []


def test_closing_makes_it_due_at_once(agent: Agent, actor: Any) -> None:
    say(agent, "My colour is blue")
    with in_workspace(agent.workspace_id):
        session_close(workspace_id=agent.workspace_id, agent_id=agent.id, session_id="s1", actor=actor)
    assert planned(agent) == [[0]]
    assert due_at(agent) is None


def test_a_conversation_that_goes_on_is_due_every_so_many_turns(agent: Agent, settings: Any) -> None:
    settings.EXTRACT_EVERY_TURNS = 3
    say(agent, "one", "two")
    assert planned(agent) == []
    say(agent, "three")
    assert planned(agent) == [[0, 1, 2]]
    say(agent, "four", "five")
    assert planned(agent) == [[0, 1, 2]]
    say(agent, "six")
    assert planned(agent) == [[0, 1, 2], [3, 4, 5]]


def test_new_turns_make_the_next_window(agent: Agent) -> None:
    converse(agent, "My colour is blue")
    assert planned(agent) == [[0, 1]]
    converse(agent, "My city is Ghent", "My car is red")
    assert planned(agent) == [[0, 1], [2, 3, 4, 5]]


def test_a_turn_that_arrives_late_between_others_gets_a_window_of_its_own(agent: Agent) -> None:
    for index in (0, 2):
        say(agent, f"turn {index}", index=index)
    converse(agent)
    assert planned(agent) == [[0, 2]]
    say(agent, "turn 1", index=1)
    converse(agent)
    assert planned(agent) == [[0, 2], [1]]


def test_long_conversations_are_cut_by_turns_and_by_characters(agent: Agent, settings: Any) -> None:
    settings.EXTRACT_WINDOW_TURNS = 4
    converse(agent, *(f"My thing is {number}" for number in range(5)))
    assert planned(agent) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_withheld_turns_are_in_no_window_until_they_are_let_in(agent: Agent) -> None:
    session = converse(agent, "My colour is blue", "My city is Ghent")
    withhold(session, 2)
    assert planned(agent) == [[0, 1, 3]]
    with in_workspace(agent.workspace_id):
        Turn.objects.update(withheld_at=None)
    converse(agent)
    assert planned(agent) == [[0, 1, 3], [2]]


@pytest.mark.parametrize("mode", [MemoryMode.STATELESS, MemoryMode.EPISODIC])
def test_an_agent_without_facts_has_no_windows(agent: Agent, mode: MemoryMode) -> None:
    converse(agent, "My colour is blue")
    with in_workspace(agent.workspace_id):
        Agent.objects.filter(pk=agent.pk).update(mode=mode)
    assert planned(agent) == []
    with in_workspace(agent.workspace_id):
        Agent.objects.filter(pk=agent.pk).update(mode=MemoryMode.MANAGED)
    assert planned(agent) == [[0, 1]]


@pytest.mark.parametrize("pause", ["restricted_at", "extraction_paused_at", "recording_paused_at"])
def test_nothing_is_planned_nor_claimed_of_somebody_paused_until_the_pause_ends(agent: Agent, pause: str) -> None:
    converse(agent, "My colour is blue")
    set_pause(agent, **{pause: timezone.now()})
    assert planned(agent) == []
    set_pause(agent, **{pause: None})
    assert planned(agent) == [[0, 1]]
    set_pause(agent, **{pause: timezone.now()})
    assert claim(agent) == []
    set_pause(agent, **{pause: None})
    assert len(claim(agent)) == 1


def test_another_workspace_is_not_looked_into(agent: Agent, other_workspace: Any) -> None:
    converse(agent, "My colour is blue")
    assert plan_windows(other_workspace.id) == 0
    assert planned(agent) == [[0, 1]]


def test_two_planners_and_a_writer_put_every_turn_into_one_window(hub_db: str, agent: Agent, settings: Any) -> None:
    settings.EXTRACT_EVERY_TURNS = 1
    stop = threading.Event()

    def plan() -> None:
        from django.db import connection

        while not stop.is_set():
            plan_windows(agent.workspace_id)
        connection.close()

    planners = [threading.Thread(target=plan) for _ in range(2)]
    for planner in planners:
        planner.start()
    for number in range(40):
        say(agent, f"turn {number}")
    stop.set()
    for planner in planners:
        planner.join()
    indexes = [index for window in planned(agent) for index in window]
    assert sorted(indexes) == list(range(40))


def test_context_comes_before_the_window_and_is_not_read_again(agent: Agent, settings: Any) -> None:
    settings.EXTRACT_CONTEXT_TURNS = 2
    converse(agent, "My colour is blue", "My city is Ghent")
    planned(agent)
    converse(agent, "My car is red")
    planned(agent)
    with in_workspace(agent.workspace_id):
        second = load_window(Extraction.objects.select_related("session").latest("id"))
    assert [turn.index for turn in second.turns] == [4, 5]
    assert [turn.index for turn in second.context] == [2, 3]


def test_turns_that_a_fact_was_erased_of_are_not_read(agent: Agent) -> None:
    session = converse(agent, "My colour is blue", "My city is Ghent")
    planned(agent)
    with in_workspace(agent.workspace_id):
        ErasedEvidence.objects.create(
            workspace_id=agent.workspace_id, subject_id=session.subject_id, turn=session.turns.get(index=0)
        )
        window = load_window(Extraction.objects.select_related("session").get())
    assert [turn.index for turn in window.turns] == [1, 2, 3]


def test_pending_turns_are_those_not_read_yet(agent: Agent, settings: Any) -> None:
    session = converse(agent, "My colour is blue", "My city is Ghent")
    converse(agent, "Hello", session="s2", user="bob")
    with in_workspace(agent.workspace_id):
        assert unread_turns(session.subject) == 4
    planned(agent)
    with in_workspace(agent.workspace_id):
        assert unread_turns(session.subject) == 4
    say(agent, "My car is red")
    with in_workspace(agent.workspace_id):
        assert unread_turns(session.subject) == 5
        Extraction.objects.filter(session=session).update(state="done")
        assert unread_turns(session.subject) == 1
        settings.EXTRACTOR = "none"
        assert unread_turns(session.subject) == 0


def test_windows_go_with_their_session(agent: Agent) -> None:
    session = converse(agent, "My colour is blue")
    planned(agent)
    with in_workspace(agent.workspace_id):
        session.delete()
    assert windows_of(agent.workspace_id) == []


@given(
    st.lists(st.integers(0, 3_000), max_size=60),
    st.integers(1, 10),
    st.integers(1, 5_000),
)
def test_cutting_loses_and_doubles_nothing(lengths: list[int], most_turns: int, most_characters: int) -> None:
    windows = list(cut(list(enumerate(lengths)), most_turns=most_turns, most_characters=most_characters))
    assert [index for window in windows for index in window] == list(range(len(lengths)))
    for window in windows:
        assert 1 <= len(window) <= most_turns
        assert len(window) == 1 or sum(lengths[index] for index in window) <= most_characters


def window(*texts: str) -> Window:
    turns = tuple(WindowTurn(at, TurnRole.USER, "", text, timezone.now()) for at, text in enumerate(texts))
    return Window(uuid7(), uuid7(), uuid7(), "s1", turns)


@given(st.lists(st.text(min_size=1, max_size=3_000), min_size=1, max_size=9))
def test_halving_loses_and_doubles_nothing(texts: list[str]) -> None:
    whole = window(*texts)
    halves = halved(whole)
    if halves is None:
        assert len(texts) == 1
        assert len(texts[0]) < 1_000
        return
    first, second = halves
    joined: dict[int, str] = {}
    for turn in (*first.turns, *second.turns):
        joined[turn.index] = joined.get(turn.index, "") + turn.text
    assert [joined[at] for at in range(len(texts))] == texts
    assert first.turns
    assert second.turns


def test_halving_ends_with_pieces_that_cannot_be_made_smaller() -> None:
    rest = [window("word " * 4_000)]
    pieces = 0
    while rest:
        halves = halved(rest.pop())
        pieces += 1
        assert pieces < 200
        rest += halves or ()


def test_related_facts_share_words_with_what_is_said() -> None:
    def known(handle: str, entity: str, content: str) -> KnownFact:
        return KnownFact(handle, uuid7(), "preference", entity, "", content, None, "", timezone.now())

    facts = [known("F1", "car", "Drives a Volvo"), known("F2", "shoe size", "Wears 43"), known("F3", "city", "Ghent")]
    assert [fact.handle for fact in related(facts, "I moved from Ghent, and sold the car", most=2)] == ["F3", "F1"]


def test_what_was_recalled_is_found_for_all_turns_as_for_each(agent: Agent) -> None:
    said = ["My colour is blue, the one of the sea", "Hello", "So my colour is blue, the one of the sea"]
    say(agent, said[0])
    for text in said[1:]:
        working_memory(view=viewpoint(agent), ask=MemoryRequest("alice", "Which colour?", "s2"))
        say(agent, text, session="s2")
    with in_workspace(agent.workspace_id):
        turns = list(Turn.objects.select_related("session").filter(session__external_id="s2").order_by("index"))
        together = recalled_before_each(turns)
        assert together == {turn.id: recalled_before(turn) for turn in turns}
        assert any(said[0] in told for told in together.values())
