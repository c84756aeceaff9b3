"""Episodic memory: verbatim, ordered, idempotent."""

import threading

import pytest
from django.db import connection
from django.utils import timezone
from memory_samples import say

from audit.actors import Actor
from audit.models import Entry
from memoryhub.access.models import Agent
from memoryhub.access.services import agent_get_or_create
from memoryhub.core.tenancy import in_workspace
from sessions.content import read_content
from sessions.exceptions import SessionOfAnother, TurnConflict
from sessions.models import Session, Subject, Turn, TurnRole
from sessions.services import TurnInput, session_close, turns_record


def say_actor(agent: Agent) -> Actor:
    return Actor.agent(agent.id)


def stored(agent: Agent) -> list[tuple[int, str]]:
    with in_workspace(agent.workspace_id):
        return list(Turn.objects.order_by("session", "index").values_list("index", "text"))


def test_turns_are_appended_in_order(agent: Agent) -> None:
    say(agent, "one", "two")
    say(agent, "three")
    assert stored(agent) == [(0, "one"), (1, "two"), (2, "three")]


def test_the_same_turn_sent_again_is_known(agent: Agent) -> None:
    first = say(agent, "hello", client_id="t1")
    again = say(agent, "hello", client_id="t1")
    assert (first.recorded, again.recorded, again.duplicates) == (1, 0, 1)
    assert again.turns[0].id == first.turns[0].id
    assert stored(agent) == [(0, "hello")]


@pytest.mark.parametrize("taken", [{"client_id": "t1"}, {"index": 0}])
def test_other_content_under_the_same_id_or_index_is_a_conflict(agent: Agent, taken: dict[str, object]) -> None:
    say(agent, "hello", **taken)
    with pytest.raises(TurnConflict):
        say(agent, "goodbye", **taken)
    assert stored(agent) == [(0, "hello")]


def test_an_index_taken_by_a_turn_with_another_id_is_a_conflict(agent: Agent) -> None:
    say(agent, "hello", client_id="t1", index=0)
    with pytest.raises(TurnConflict, match="taken"):
        say(agent, "hello", client_id="t2", index=0)


def test_a_session_belongs_to_one_person(agent: Agent) -> None:
    say(agent, "hello", user="alice")
    with pytest.raises(SessionOfAnother):
        say(agent, "hello", user="bob")
    with in_workspace(agent.workspace_id):
        assert not Subject.objects.filter(external_id="bob").exists()


def test_a_session_belongs_to_one_agent(agent: Agent) -> None:
    other = agent_get_or_create(workspace_id=agent.workspace_id, name="other", actor=say_actor(agent))
    say(agent, "hello")
    with pytest.raises(SessionOfAnother):
        say(other, "hello")


def test_nothing_is_recorded_while_recording_is_paused(agent: Agent) -> None:
    say(agent, "hello")
    with in_workspace(agent.workspace_id):
        Subject.objects.update(recording_paused_at=timezone.now())
    recorded = say(agent, "more")
    assert (recorded.recorded, recorded.paused) == (0, True)
    assert stored(agent) == [(0, "hello")]
    with in_workspace(agent.workspace_id):
        assert Entry.objects.filter(action="turns.recorded", reason="recording_paused").count() == 1


def test_content_blocks_are_kept_as_sent_and_tool_results_find_their_call(agent: Agent) -> None:
    call = [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "c1", "name": "crm", "input": {"q": 1}},
    ]
    result = [{"type": "tool_result", "tool_use_id": "c1", "content": "HubSpot"}]
    lost = [{"type": "tool_result", "tool_use_id": "nowhere", "content": "?"}]
    with in_workspace(agent.workspace_id):
        recorded = turns_record(
            workspace_id=agent.workspace_id,
            agent_id=agent.id,
            session_id="s1",
            user_id="alice",
            turns=[
                TurnInput(TurnRole.ASSISTANT, read_content(call)),
                TurnInput(TurnRole.TOOL, read_content(result)),
                TurnInput(TurnRole.TOOL, read_content(lost)),
            ],
            actor=say_actor(agent),
        )
        turns = list(Turn.objects.order_by("index"))
    assert [turn.content for turn in turns] == [call, result, lost]
    assert [turn.orphan for turn in turns] == [False, False, True]
    assert turns[1].text == "HubSpot"
    assert recorded.recorded == 3


def test_closing_twice_changes_nothing(agent: Agent) -> None:
    say(agent, "hello")
    close = {"workspace_id": agent.workspace_id, "agent_id": agent.id, "session_id": "s1", "actor": say_actor(agent)}
    with in_workspace(agent.workspace_id):
        first = session_close(**close).closed_at
        assert session_close(**close).closed_at == first
        assert Entry.objects.filter(action="session.closed").count() == 1


def test_two_writers_of_one_new_session_lose_nothing(hub_db: str, agent: Agent) -> None:
    barrier = threading.Barrier(4)
    failures: list[Exception] = []

    def write(number: int) -> None:
        try:
            barrier.wait()
            for count in range(5):
                say(agent, f"{number}-{count}", client_id=f"{number}-{count}")
        except Exception as error:  # noqa: BLE001 - told to the test below
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    turns = stored(agent)
    assert [index for index, _ in turns] == list(range(20))
    assert len({text for _, text in turns}) == 20
    with in_workspace(agent.workspace_id):
        assert Session.objects.get().turn_count == 20
        assert Subject.objects.count() == 1
