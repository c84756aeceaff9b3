"""Surfacing over REST: what is given out, and its receipt."""

from typing import Any
from uuid import UUID

import pytest
from api_contract import ContractClient
from api_state import state_of
from django.db import DatabaseError, connection

from audit.actors import Actor
from audit.models import Entry
from audit.services import receipt
from facts.models import Recall, RecalledItem
from memoryhub.access.models import MemoryMode, Scope, Workspace
from memoryhub.access.services import agent_get_or_create, key_create
from memoryhub.core.tenancy import in_workspace

MEMORY = {"user_id": "maria", "session_id": "s2", "message": "What is the budget of the migration?"}


@pytest.fixture
def remembered(api: ContractClient) -> str:
    """A session from before and a fact; the fact's id."""
    turns = [
        {"role": "user", "content": "Our budget for the migration is 20,000 euros."},
        {"role": "assistant", "content": "Noted."},
    ]
    assert api.send("POST", "/sessions/s1/turns", {"user_id": "maria", "turns": turns}).status_code == 201
    fact = {
        "user_id": "maria",
        "type": "constraint",
        "entity": "migration",
        "attribute": "budget",
        "content": "The budget for the migration is 20,000 euros.",
        "value": 20000,
        "unit": "EUR",
        "session_id": "s1",
        "turn_index": 0,
    }
    written = api.send("POST", "/facts", fact)
    assert written.status_code == 201
    fact_id: str = written.json()["facts"][0]["fact_id"]
    return fact_id


def logged(workspace: Workspace, recall_id: str) -> Entry:
    with in_workspace(workspace.id):
        return Entry.objects.get(action="memory.surfaced", object_id=recall_id)


def test_working_memory_brings_yesterday_back(api: ContractClient, remembered: str) -> None:
    memory = api.send("POST", "/working-memory", MEMORY).json()
    assert [fact["fact_id"] for fact in memory["facts"]] == [remembered]
    assert memory["facts"][0]["value"] == "20000"
    assert memory["facts"][0]["session_id"] == "s1"
    assert [turn["text"] for turn in memory["recent_turns"]] == [
        "Our budget for the migration is 20,000 euros.",
        "Noted.",
    ]
    assert "F1 [constraint] migration" in memory["block"]
    assert "Our budget for the migration" in memory["block"]
    assert 0 < memory["tokens_estimated"] <= 800
    assert memory["paused"] is None


def test_whatever_is_given_out_has_a_receipt(api: ContractClient, remembered: str, workspace: Workspace) -> None:
    memory = api.send("POST", "/working-memory", MEMORY).json()
    entry = logged(workspace, memory["recall_id"])
    assert memory["receipt"] == receipt(entry)
    assert len(entry.data["items"]) == len(memory["facts"]) + len(memory["recent_turns"])
    with in_workspace(workspace.id):
        items = RecalledItem.objects.filter(recall_id=memory["recall_id"])
        assert {item.version.fact_id for item in items.select_related("version") if item.version} == {UUID(remembered)}
        assert {str(item.turn_id) for item in items if item.turn_id} == {turn["id"] for turn in memory["recent_turns"]}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/working-memory", MEMORY),
        ("POST", "/search", {"user_id": "maria", "query": "budget"}),
        ("GET", "/facts?user_id=maria", None),
        ("GET", "/facts/{fact}", None),
        ("GET", "/facts/{fact}/versions", None),
    ],
)
def test_without_its_audit_entry_nothing_is_given_out(
    api: ContractClient, remembered: str, workspace: Workspace, method: str, path: str, body: Any
) -> None:
    """The promise: if the log cannot be written, nothing is surfaced."""

    def log_is_full(execute: Any, statement: str, params: Any, many: bool, context: Any) -> Any:
        if "INSERT" in statement and "audit_entry" in statement:
            raise DatabaseError("no space left")
        return execute(statement, params, many, context)

    api.raise_request_exception = False
    before = state_of(workspace)
    with connection.execute_wrapper(log_is_full):
        answer = api.send(method, path.format(fact=remembered), body)
    assert answer.status_code == 500
    assert b"20,000" not in answer.content
    assert state_of(workspace) == before


def test_somebody_unknown_gets_an_empty_answer_and_is_not_created(api: ContractClient, workspace: Workspace) -> None:
    before = state_of(workspace)
    memory = api.send("POST", "/working-memory", MEMORY)
    assert memory.status_code == 200
    assert (memory.json()["block"], memory.json()["facts"], memory.json()["recall_id"]) == ("", [], None)
    found = api.send("POST", "/search", {"user_id": "maria", "query": "budget"})
    assert (found.status_code, found.json()["hits"], found.json()["receipt"]) == (200, [], None)
    listed = api.ask("/facts", user_id="maria")
    assert (listed.status_code, listed.json()["facts"], listed.json()["receipt"]) == (200, [], None)
    assert state_of(workspace) == before


def test_nothing_of_another_workspace_is_given(
    api: ContractClient, outsider_api: ContractClient, remembered: str, workspace: Workspace
) -> None:
    recall = api.send("POST", "/working-memory", MEMORY).json()["recall_id"]
    before = state_of(workspace)
    assert outsider_api.send("POST", "/working-memory", MEMORY).json()["block"] == ""
    assert outsider_api.send("POST", "/search", {"user_id": "maria", "query": "budget"}).json()["hits"] == []
    assert outsider_api.ask("/facts", user_id="maria").json()["facts"] == []
    absent = outsider_api.send("POST", f"/recalls/{recall}/cited", {"fact_ids": [remembered]})
    assert absent.status_code == 404
    assert outsider_api.ask(f"/facts/{remembered}").status_code == 404
    assert outsider_api.ask(f"/facts/{remembered}/versions").status_code == 404
    change = {"expected_version": 1, "content": "Changed."}
    assert outsider_api.send("PATCH", f"/facts/{remembered}", change).status_code == 404
    assert outsider_api.send("POST", f"/facts/{remembered}/stale", {"reason": "wrong"}).status_code == 404
    assert outsider_api.send("POST", f"/facts/{remembered}/restore", {"version": 1}).status_code == 404
    assert outsider_api.send("POST", "/sessions/s1/close").status_code == 404
    subject = api.send("POST", "/subjects/lookup", {"user_id": "maria"}).json()["subject_id"]
    assert outsider_api.ask(f"/subjects/{subject}").status_code == 404
    assert outsider_api.ask("/facts", subject_id=subject).json()["facts"] == []
    assert outsider_api.send("POST", f"/subjects/{subject}/restrict", {}).status_code == 404
    assert outsider_api.ask("/subjects").json()["subjects"] == []
    after = state_of(workspace)
    assert {table for table in after if after[table] != before[table]} == {
        "audit_entry",
        "audit_pending",
    }, "only our own look-up"


def test_an_answer_about_absent_ids_is_the_same_as_about_foreign_ones(
    outsider_api: ContractClient, remembered: str
) -> None:
    foreign = outsider_api.ask(f"/facts/{remembered}")
    absent = outsider_api.ask(f"/facts/{UUID(int=7)}")
    assert (foreign.status_code, foreign.content) == (absent.status_code, absent.content)


def test_search_finds_facts_and_turns_best_first(api: ContractClient, remembered: str, workspace: Workspace) -> None:
    found = api.send("POST", "/search", {"user_id": "maria", "query": "migration budget"}).json()
    assert {hit["kind"] for hit in found["hits"]} == {"fact", "turn"}
    assert [hit["score"] for hit in found["hits"]] == sorted((hit["score"] for hit in found["hits"]), reverse=True)
    fact = next(hit for hit in found["hits"] if hit["kind"] == "fact")
    assert (fact["id"], fact["handle"], fact["version"], fact["status"]) == (remembered, "F1", 1, "current")
    turn = next(hit for hit in found["hits"] if hit["turn_index"] == 0)
    assert (turn["session_id"], turn["role"]) == ("s1", "user")
    assert len(logged(workspace, found["recall_id"]).data["items"]) == len(found["hits"])


@pytest.mark.parametrize("kind", ["fact", "turn"])
def test_search_keeps_to_the_kinds_asked_for(api: ContractClient, remembered: str, kind: str) -> None:
    found = api.send("POST", "/search", {"user_id": "maria", "query": "migration budget", "kinds": [kind]}).json()
    assert {hit["kind"] for hit in found["hits"]} == {kind}


def test_search_keeps_to_top_k_and_threshold(api: ContractClient, remembered: str) -> None:
    ask = {"user_id": "maria", "query": "migration budget"}
    assert len(api.send("POST", "/search", ask | {"top_k": 1}).json()["hits"]) == 1
    assert api.send("POST", "/search", ask | {"score_threshold": 1}).json()["hits"] == []


def test_search_results_are_blocks_that_claude_can_cite(api: ContractClient, remembered: str) -> None:
    memory = api.send("POST", "/working-memory", MEMORY | {"format": "search_results"}).json()
    first = memory["search_results"][0]
    assert first["source"] == f"memory://facts/{remembered}"
    assert first["citations"] == {"enabled": True}
    assert "20,000 euros" in first["content"][0]["text"]
    assert len(memory["search_results"]) == len(memory["facts"]) + len(memory["recent_turns"])
    assert api.send("POST", "/working-memory", MEMORY).json()["search_results"] == []


def test_the_block_stays_the_same_for_a_session(api: ContractClient, remembered: str) -> None:
    ask = MEMORY | {"refresh": "session"}
    first = api.send("POST", "/working-memory", ask).json()
    fact = {"user_id": "maria", "type": "goal", "entity": "migration", "content": "Done with the migration by June."}
    api.send("POST", "/facts", fact)
    again = api.send("POST", "/working-memory", ask | {"message": "And when is the migration done?"}).json()
    assert again["block"] == first["block"]
    assert again["recall_id"] != first["recall_id"]


def test_limits_are_kept(api: ContractClient, remembered: str) -> None:
    assert api.send("POST", "/working-memory", MEMORY | {"recent_turns": 0}).json()["recent_turns"] == []
    assert len(api.send("POST", "/working-memory", MEMORY | {"recent_turns": 1}).json()["recent_turns"]) == 1
    assert api.send("POST", "/working-memory", MEMORY | {"types": ["goal"]}).json()["facts"] == []
    small = api.send("POST", "/working-memory", MEMORY | {"token_budget": 50}).json()
    assert small["tokens_estimated"] <= 50
    assert small["omitted"] > 0


def test_a_long_turn_is_cut(api: ContractClient) -> None:
    turns = [{"role": "user", "content": "word " * 200}]
    api.send("POST", "/sessions/s1/turns", {"user_id": "maria", "turns": turns})
    (turn,) = api.send("POST", "/working-memory", MEMORY).json()["recent_turns"]
    assert len(turn["text"]) <= 300
    assert turn["text"].endswith("…")


@pytest.mark.parametrize("how", ["restrict", "pause"])
def test_nothing_is_given_about_a_person_who_is_not_to_be_surfaced(
    api: ContractClient, remembered: str, workspace: Workspace, how: str
) -> None:
    subject = api.send("POST", "/subjects/lookup", {"user_id": "maria"}).json()["subject_id"]
    body = {"what": ["surfacing"]} if how == "pause" else {}
    assert api.send("POST", f"/subjects/{subject}/{how}", body).status_code == 200
    before = state_of(workspace)
    memory = api.send("POST", "/working-memory", MEMORY).json()
    assert (memory["paused"], memory["block"], memory["facts"]) == ("surfacing", "", [])
    found = api.send("POST", "/search", {"user_id": "maria", "query": "budget"}).json()
    assert (found["paused"], found["hits"]) == ("surfacing", [])
    listed = api.ask("/facts", user_id="maria").json()
    assert (listed["paused"], listed["facts"]) == ("surfacing", [])
    for path in (f"/facts/{remembered}", f"/facts/{remembered}/versions"):
        one = api.ask(path)
        assert (one.status_code, one.json()["error"]["code"]) == (403, "surfacing_paused")
        assert b"20,000" not in one.content
    assert state_of(workspace) == before


def test_an_episodic_agent_gets_turns_only(
    api: ContractClient, remembered: str, workspace: Workspace, actor: Actor
) -> None:
    agent = agent_get_or_create(workspace_id=workspace.id, name="episodic", actor=actor, mode=MemoryMode.EPISODIC)
    episodic = ContractClient.of(key_create(agent=agent, actor=actor, scopes=list(Scope)))
    memory = episodic.send("POST", "/working-memory", MEMORY | {"previous_session_id": "s1"}).json()
    assert memory["facts"] == []
    # Of another agent's session, the person's own words.
    assert [turn["role"] for turn in memory["recent_turns"]] == ["user"]
    found = episodic.send("POST", "/search", {"user_id": "maria", "query": "migration budget"}).json()
    assert {hit["kind"] for hit in found["hits"]} == {"turn"}
    refused = episodic.send("POST", "/search", {"user_id": "maria", "query": "budget", "kinds": ["fact"]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "mode_forbids")


def test_telling_what_was_used(api: ContractClient, remembered: str, workspace: Workspace) -> None:
    recall = api.send("POST", "/working-memory", MEMORY).json()["recall_id"]
    for _ in range(2):
        answer = api.send("POST", f"/recalls/{recall}/cited", {"fact_ids": [remembered, str(UUID(int=7))]})
        assert (answer.status_code, answer.content) == (204, b"")
    with in_workspace(workspace.id):
        assert RecalledItem.objects.filter(cited_at__isnull=False).count() == 1
        assert Entry.objects.filter(action="memory.cited").count() == 1


def test_another_agent_cannot_cite_our_recall(
    api: ContractClient, remembered: str, workspace: Workspace, actor: Actor
) -> None:
    recall = api.send("POST", "/working-memory", MEMORY).json()["recall_id"]
    other = agent_get_or_create(workspace_id=workspace.id, name="other", actor=actor)
    theirs = ContractClient.of(key_create(agent=other, actor=actor, scopes=list(Scope)))
    assert theirs.send("POST", f"/recalls/{recall}/cited", {"fact_ids": [remembered]}).status_code == 404


def test_a_recall_keeps_what_it_was_asked(api: ContractClient, remembered: str, workspace: Workspace) -> None:
    recall_id = api.send("POST", "/working-memory", MEMORY | {"top_k": 3}).json()["recall_id"]
    with in_workspace(workspace.id):
        recall = Recall.objects.get(pk=recall_id)
    assert (recall.message, recall.session_external_id, recall.settings["top_k"]) == (MEMORY["message"], "s2", 3)
