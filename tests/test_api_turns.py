"""Recording over REST: verbatim, in order, once."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from api_contract import ContractClient
from api_state import state_of

from audit.actors import Actor
from audit.models import Entry
from facts.models import RecalledItem
from memoryhub.access.models import MemoryMode, Scope, Workspace
from memoryhub.access.services import agent_get_or_create, key_create
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Subject, Turn, TurnRole

USER = {"role": "user", "content": "Our budget is 20,000 euros."}
ANSWER = {"role": "assistant", "content": "Noted."}


def record(api: ContractClient, *turns: Any, session: str = "s1", user: str = "maria", **more: Any) -> Any:
    return api.send("POST", f"/sessions/{session}/turns", {"user_id": user, "turns": list(turns), **more})


def kept(workspace: Workspace) -> list[Turn]:
    with in_workspace(workspace.id):
        return list(Turn.objects.order_by("session", "index"))


def test_turns_are_kept_verbatim_and_in_order(api: ContractClient, workspace: Workspace) -> None:
    answer = record(
        api,
        USER | {"id": "m1", "name": "Maria", "timestamp": "2026-03-01T09:30:00+01:00", "metadata": {"mood": "calm"}},
        ANSWER,
    )
    assert answer.status_code == 201
    body = answer.json()
    turns = kept(workspace)
    assert [(turn.index, turn.role, turn.content) for turn in turns] == [
        (0, "user", USER["content"]),
        (1, "assistant", "Noted."),
    ]
    assert (turns[0].name, turns[0].metadata) == ("Maria", {"mood": "calm"})
    assert turns[0].occurred_at == datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
    assert body["turns"] == [
        {"turn_index": 0, "id": str(turns[0].id), "client_id": "m1", "findings": []},
        {"turn_index": 1, "id": str(turns[1].id), "client_id": None, "findings": []},
    ]
    assert (body["session_id"], body["recorded"], body["duplicates"], body["paused"]) == ("s1", 2, 0, None)


def test_content_blocks_are_kept_as_sent(api: ContractClient, workspace: Workspace) -> None:
    blocks = [
        {"type": "text", "text": "Two look-ups.", "cache_control": {"type": "ephemeral"}},
        {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Lisbon", "days": 3}},
        {"type": "tool_use", "id": "b", "name": "calendar", "input": {}},
    ]
    results = [
        {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "Free on Monday."}]},
        {"type": "tool_result", "tool_use_id": "a", "content": "Sunny", "is_error": False},
    ]
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "x"}
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    mixed = [*results, {"type": "text", "text": "And this?"}, image]
    answer = record(
        api,
        {"role": "assistant", "content": [thinking, *blocks]},
        {"role": "user", "content": results},
        {"role": "user", "content": mixed},
    )
    assert answer.status_code == 201
    turns = kept(workspace)
    assert [turn.content for turn in turns] == [
        blocks,
        results,
        [*results, {"type": "text", "text": "And this?"}, image],
    ]
    # A user message made of results alone is the tool's.
    assert [turn.role for turn in turns] == ["assistant", "tool", "user"]
    assert "Sunny" in turns[1].text
    assert not any(turn.orphan for turn in turns)


def test_a_result_without_its_call_is_kept_as_an_orphan(api: ContractClient, workspace: Workspace) -> None:
    lost = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "gone", "content": "42"}]}
    assert record(api, lost).status_code == 201
    assert [(turn.role, turn.orphan) for turn in kept(workspace)] == [(TurnRole.TOOL, True)]


def test_a_tools_answer_may_stand_beside_the_content(api: ContractClient, workspace: Workspace) -> None:
    assert record(api, {"role": "tool", "tool_name": "weather", "tool_result": {"sky": "blue"}}).status_code == 201
    (turn,) = kept(workspace)
    assert (turn.tool_name, turn.tool_result, turn.content) == ("weather", {"sky": "blue"}, "")
    assert "blue" in turn.text


def test_a_tool_name_in_a_block_may_be_of_any_length(api: ContractClient) -> None:
    call = {"type": "tool_use", "id": "a", "name": "n" * 1_000, "input": {}}
    assert record(api, {"role": "assistant", "content": [call]}).status_code == 201


@pytest.mark.parametrize("mark", [{"id": "m1"}, {"turn_index": 0}, {"id": "m1", "turn_index": 0}])
def test_the_same_turn_again_is_known(api: ContractClient, workspace: Workspace, mark: dict[str, Any]) -> None:
    first = record(api, USER | mark).json()
    again = record(api, USER | mark)
    assert again.status_code == 200
    assert (again.json()["recorded"], again.json()["duplicates"]) == (0, 1)
    assert again.json()["turns"] == first["turns"]
    assert len(kept(workspace)) == 1


def test_a_request_may_mix_known_and_new_turns(api: ContractClient, workspace: Workspace) -> None:
    record(api, USER | {"id": "m1"})
    answer = record(api, USER | {"id": "m1"}, ANSWER | {"id": "m2"})
    assert answer.status_code == 201
    assert (answer.json()["recorded"], answer.json()["duplicates"]) == (1, 1)
    assert [turn.client_id for turn in kept(workspace)] == ["m1", "m2"]


def test_turns_without_a_mark_are_appended_each_time(api: ContractClient, workspace: Workspace) -> None:
    record(api, USER)
    record(api, USER)
    assert [turn.index for turn in kept(workspace)] == [0, 1]


@pytest.mark.parametrize("session", ["chat/42", "a b", "日本", "x" * 256, "turns", "s1/turns", "e\u0301"])
def test_session_ids_are_the_callers_own(api: ContractClient, workspace: Workspace, session: str) -> None:
    answer = record(api, USER, session=quote(session, safe=""))
    assert answer.status_code == 201, answer.content
    assert answer.json()["session_id"] == session
    with in_workspace(workspace.id):
        assert Session.objects.get().external_id == session


def test_a_session_of_another_agent_is_a_conflict(api: ContractClient, workspace: Workspace, actor: Actor) -> None:
    record(api, USER)
    other = agent_get_or_create(workspace_id=workspace.id, name="other", actor=actor)
    theirs = ContractClient.of(key_create(agent=other, actor=actor, scopes=list(Scope)))
    before = state_of(workspace)
    answer = record(theirs, USER)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "session_of_another"
    assert state_of(workspace) == before


def test_workspaces_do_not_share_sessions_or_people(
    api: ContractClient, outsider_api: ContractClient, workspace: Workspace, other_workspace: Workspace
) -> None:
    record(api, USER)
    assert record(outsider_api, ANSWER).status_code == 201
    assert [turn.content for turn in kept(workspace)] == [USER["content"]]
    assert [turn.content for turn in kept(other_workspace)] == ["Noted."]


def test_a_paused_recording_keeps_nothing_and_says_why(api: ContractClient, workspace: Workspace) -> None:
    record(api, USER)
    subject = api.send("POST", "/subjects/lookup", {"user_id": "maria"}).json()["subject_id"]
    api.send("POST", f"/subjects/{subject}/pause", {"what": ["recording"]})
    answer = record(api, ANSWER)
    assert answer.status_code == 200
    assert (answer.json()["recorded"], answer.json()["paused"], answer.json()["turns"]) == (0, "recording", [])
    assert len(kept(workspace)) == 1
    api.send("POST", f"/subjects/{subject}/resume", {"what": ["recording"]})
    assert record(api, ANSWER).status_code == 201


def test_recording_is_in_the_audit_log_without_its_content(api: ContractClient, workspace: Workspace) -> None:
    record(api, USER, ANSWER)
    with in_workspace(workspace.id):
        entry = Entry.objects.get(action="turns.recorded")
        subject = Subject.objects.get()
    assert entry.subject_id == subject.id
    assert entry.data["recorded"] == 2
    assert "20,000" not in str(entry.data)


def test_closing_a_session(api: ContractClient, workspace: Workspace) -> None:
    record(api, USER)
    answer = api.send("POST", "/sessions/s1/close")
    assert answer.status_code == 202
    closed_at = answer.json()["closed_at"]
    assert api.send("POST", "/sessions/s1/close").json()["closed_at"] == closed_at
    record(api, ANSWER)
    with in_workspace(workspace.id):
        assert Session.objects.get().closed_at is None


def test_close_needs_no_body(api: ContractClient) -> None:
    record(api, USER)
    assert api.post("/api/v1/sessions/s1/close").status_code == 202


@pytest.mark.parametrize(
    ("extractor", "mode", "state"),
    [("none", MemoryMode.FULL, "off"), ("patterns", MemoryMode.EPISODIC, "off"), ("patterns", MemoryMode.FULL, "due")],
)
def test_the_answer_says_when_facts_will_be_extracted(
    workspace: Workspace, actor: Actor, settings: Any, extractor: str, mode: MemoryMode, state: str
) -> None:
    settings.EXTRACTOR = extractor
    agent = agent_get_or_create(workspace_id=workspace.id, name="one", actor=actor, mode=mode)
    api = ContractClient.of(key_create(agent=agent, actor=actor, scopes=list(Scope)))
    answer = record(api, USER | {"id": "m1"}).json()
    assert answer["extraction"]["state"] == state
    assert (answer["extraction"]["due_at"] is not None) == (state == "due")
    closed = api.send("POST", "/sessions/s1/close").json()
    assert closed["extraction"]["state"] == state


def test_extraction_paused_for_a_person_is_told(api: ContractClient, settings: Any) -> None:
    settings.EXTRACTOR = "patterns"
    record(api, USER)
    subject = api.send("POST", "/subjects/lookup", {"user_id": "maria"}).json()["subject_id"]
    api.send("POST", f"/subjects/{subject}/pause", {"what": ["extraction"]})
    assert record(api, ANSWER, session="s2").json()["extraction"] == {"state": "paused", "due_at": None}


FACT = {"user_id": "maria", "type": "constraint", "entity": "migration", "content": "The budget is 20,000 euros."}


def cited_facts(workspace: Workspace) -> set[UUID]:
    with in_workspace(workspace.id):
        cited = RecalledItem.objects.filter(cited_at__isnull=False)
        return set(cited.values_list("version__fact_id", flat=True))


@pytest.mark.parametrize("by", ["citation", "handle", "nothing", "user"])
def test_what_the_assistant_cites_is_marked(api: ContractClient, workspace: Workspace, by: str) -> None:
    fact = api.send("POST", "/facts", FACT).json()["facts"][0]
    ask = {"user_id": "maria", "session_id": "s2", "message": "What budget?", "score_threshold": 0}
    recall = api.send("POST", "/working-memory", ask).json()
    assert [one["fact_id"] for one in recall["facts"]] == [fact["fact_id"]]
    citation = {"type": "search_result_location", "source": f"memory://facts/{fact['fact_id']}", "cited_text": "a"}
    turn = {
        "citation": {"role": "assistant", "content": [{"type": "text", "text": "20,000.", "citations": [citation]}]},
        "handle": {"role": "assistant", "content": f"It is 20,000 [{fact['handle']}]."},
        "nothing": {"role": "assistant", "content": "It is 20,000 [F99]."},
        "user": {"role": "user", "content": f"What is [{fact['handle']}]?"},
    }[by]
    assert record(api, turn, session="s2", recall_id=recall["recall_id"]).status_code == 201
    expected = {UUID(fact["fact_id"])} if by in ("citation", "handle") else set()
    assert cited_facts(workspace) == expected


def test_strange_citations_are_passed_over(api: ContractClient) -> None:
    ask = {"user_id": "maria", "session_id": "s2", "message": "What budget?"}
    api.send("POST", "/facts", FACT)
    recall = api.send("POST", "/working-memory", ask).json()["recall_id"]
    for citations in (None, "x", [None], [{"source": 7}], [{"source": "https://example.com"}], {"a": 1}):
        turn = {"role": "assistant", "content": [{"type": "text", "text": "a", "citations": citations}]}
        assert record(api, turn, session="s2", recall_id=recall).status_code == 201
