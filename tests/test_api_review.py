"""The review over REST: for a reviewer's key, with a receipt, and never for one's own work."""

from typing import Any

import pytest
from api_contract import ContractClient

from audit.actors import Actor
from audit.models import Entry
from facts.models import RecalledItem, RecallKind
from memoryhub.access.models import Scope, Workspace
from memoryhub.access.services import agent_get_or_create, key_create
from memoryhub.core.tenancy import in_workspace

BUDGET = {
    "user_id": "maria",
    "type": "constraint",
    "entity": "migration",
    "attribute": "budget",
    "content": "The budget is 300 EUR.",
    "value": 300,
    "unit": "EUR",
}


@pytest.fixture
def reviewer(workspace: Workspace, actor: Actor) -> ContractClient:
    agent = agent_get_or_create(workspace_id=workspace.id, name="reviewer", actor=actor)
    return ContractClient.of(key_create(agent=agent, actor=actor, scopes=[Scope.FACTS_REVIEW]))


@pytest.fixture
def waiting(api: ContractClient) -> dict[str, Any]:
    """What a tool says against what the agent knows."""
    turns = [{"role": "user", "content": "We have 300 EUR."}, {"role": "tool", "content": "Budget: 900 EUR"}]
    assert api.send("POST", "/sessions/s1/turns", {"user_id": "maria", "turns": turns}).status_code == 201
    assert api.send("POST", "/facts", BUDGET).json()["facts"][0]["outcome"] == "added"
    changed = {"content": "The budget is 900 EUR.", "value": 900, "session_id": "s1", "turn_index": 1}
    [written] = api.send("POST", "/facts", BUDGET | changed).json()["facts"]
    assert (written["outcome"], written["reason"]) == ("quarantined", "untrusted_source")
    return written  # type: ignore[no-any-return]


def known(api: ContractClient) -> list[str]:
    return [fact["content"] for fact in api.ask("/facts", user_id="maria").json()["facts"]]


def queue(reviewer: ContractClient, **query: Any) -> list[dict[str, Any]]:
    answer = reviewer.ask("/review", **query)
    assert answer.status_code == 200, answer.content
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_what_waits_is_listed_with_why_and_with_a_receipt(
    reviewer: ContractClient, waiting: dict[str, Any], workspace: Workspace
) -> None:
    [item] = queue(reviewer)
    assert item["content"] == "The budget is 900 EUR." and item["status"] == "quarantined"
    assert item["doubts"] == [{"code": "untrusted_source", "kind": None, "start": None, "end": None}]
    assert item["replaces"]["content"] == "The budget is 300 EUR." and not item["marks_stale"]
    with in_workspace(workspace.id):
        assert RecalledItem.objects.filter(recall=item["recall_id"], recall__kind=RecallKind.REVIEW).count() == 2
        assert Entry.objects.get(action="memory.surfaced").data["kind"] == "review"


def test_letting_in_shows_it_to_every_agent(
    api: ContractClient, reviewer: ContractClient, waiting: dict[str, Any], workspace: Workspace
) -> None:
    [item] = queue(reviewer)
    answer = reviewer.send("POST", f"/review/{item['id']}/approve", {})
    assert (answer.status_code, answer.json()["status"]) == (200, "current")
    assert known(api) == ["The budget is 900 EUR."]
    assert queue(reviewer) == []
    with in_workspace(workspace.id):
        assert Entry.objects.filter(action="fact.approved").count() == 1


def test_letting_in_in_other_words(api: ContractClient, reviewer: ContractClient, waiting: dict[str, Any]) -> None:
    [item] = queue(reviewer)
    body = {"content": "The budget is 600 EUR.", "value": 600, "unit": "EUR", "note": "Asked them."}
    assert reviewer.send("POST", f"/review/{item['id']}/approve", body).status_code == 200
    assert known(api) == ["The budget is 600 EUR."]


def test_turning_down(api: ContractClient, reviewer: ContractClient, waiting: dict[str, Any]) -> None:
    [item] = queue(reviewer)
    answer = reviewer.send("POST", f"/review/{item['id']}/reject", {"reason": "not_stated"})
    assert answer.json()["status"] == "rejected"
    assert known(api) == ["The budget is 300 EUR."]
    assert [one["id"] for one in queue(reviewer, state="rejected")] == [item["id"]]
    assert reviewer.send("POST", f"/review/{item['id']}/reject", {"reason": "wrong"}).status_code == 200


def test_an_agents_own_key_may_not_let_in_what_the_agent_wrote(api: ContractClient, waiting: dict[str, Any]) -> None:
    [item] = queue(api)
    refused = api.send("POST", f"/review/{item['id']}/approve", {})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "own_work")
    assert api.send("POST", f"/review/{item['id']}/approve", {"content": "x"}).status_code == 403


def test_the_scope_is_needed(workspace: Workspace, actor: Actor, waiting: dict[str, Any]) -> None:
    agent = agent_get_or_create(workspace_id=workspace.id, name="plain", actor=actor)
    plain = ContractClient.of(key_create(agent=agent, actor=actor))
    assert plain.ask("/review").status_code == 403
    assert plain.send("POST", f"/review/{waiting['fact_id']}/approve", {}).status_code == 403


def test_another_workspaces_review_is_absent(
    outsider_api: ContractClient, reviewer: ContractClient, waiting: dict[str, Any]
) -> None:
    [item] = queue(reviewer)
    assert queue(outsider_api) == []
    assert outsider_api.send("POST", f"/review/{item['id']}/approve", {}).status_code == 404
    assert outsider_api.send("POST", f"/review/{item['id']}/reject", {"reason": "wrong"}).status_code == 404


def test_nothing_is_listed_of_somebody_whose_memory_may_not_be_surfaced(
    api: ContractClient, reviewer: ContractClient, waiting: dict[str, Any]
) -> None:
    subject = api.send("POST", "/subjects/lookup", {"user_id": "maria"}).json()["subject_id"]
    api.send("POST", f"/subjects/{subject}/restrict", {})
    assert queue(reviewer) == []


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"reason": "untrusted_source"}, 1),
        ({"reason": "echo"}, 0),
        ({"source": "tool"}, 1),
        ({"source": "agent"}, 0),
        ({"state": "unshared"}, 1),
        ({"written_with": "mh_00000000"}, 0),
    ],
)
def test_filters(reviewer: ContractClient, waiting: dict[str, Any], query: dict[str, str], count: int) -> None:
    assert len(queue(reviewer, **query)) == count


def test_pages_follow_each_other(api: ContractClient, reviewer: ContractClient, waiting: dict[str, Any]) -> None:
    for number in range(4):
        said = {"attribute": f"other {number}", "content": f"Budget {number}.", "session_id": "s1", "turn_index": 1}
        api.send("POST", "/facts", BUDGET | said)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = reviewer.ask("/review", **query).json()
        seen += [item["content"] for item in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == ["The budget is 900 EUR.", *(f"Budget {number}." for number in range(4))]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("approve", {"value": 3}),
        ("approve", {"content": ""}),
        ("approve", {"reason": "wrong"}),
        ("reject", {}),
        ("reject", {"reason": "because"}),
    ],
)
def test_what_cannot_be_is_refused(
    reviewer: ContractClient, waiting: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    [item] = queue(reviewer)
    assert reviewer.send("POST", f"/review/{item['id']}/{path}", body).status_code == 400
    assert len(queue(reviewer)) == 1


def test_a_change_that_waits_says_so_and_the_fact_stays(api: ContractClient, reviewer: ContractClient) -> None:
    [fact] = api.send("POST", "/facts", BUDGET).json()["facts"]
    [unshared] = queue(reviewer, state="unshared")
    assert reviewer.send("POST", f"/review/{unshared['id']}/approve", {}).json()["status"] == "current"
    path = f"/facts/{fact['fact_id']}"
    patched = api.send("PATCH", path, {"expected_version": 1, "content": "The budget is 1 EUR."})
    assert (patched.status_code, patched.json()["status"]) == (200, "quarantined")
    stale = api.send("POST", f"{path}/stale", {"reason": "contradicted"})
    assert (stale.status_code, stale.json()["status"]) == (200, "quarantined")
    assert known(api) == ["The budget is 300 EUR."]
    assert [(item["content"], item["marks_stale"]) for item in queue(reviewer)] == [
        ("The budget is 1 EUR.", False),
        ("The budget is 300 EUR.", True),
    ]
