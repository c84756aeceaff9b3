"""Facts over REST: versions that never change, and every reading with a receipt."""

from typing import Any

import pytest
from api_contract import ContractClient
from api_state import state_of

from audit.actors import Actor
from audit.models import Entry
from facts.models import Fact, FactVersion, Source, Status
from memoryhub.access.models import Agent, Scope, Workspace
from memoryhub.access.services import agent_get_or_create, key_create
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject

TEA = {
    "user_id": "maria",
    "type": "preference",
    "entity": "tea",
    "attribute": "kind",
    "content": "She drinks green tea.",
}


def add(api: ContractClient, **changed: Any) -> dict[str, Any]:
    answer = api.send("POST", "/facts", TEA | changed)
    assert answer.status_code == 201, answer.content
    (fact,) = answer.json()["facts"]
    assert isinstance(fact, dict)
    return fact


def contents(api: ContractClient, **query: Any) -> list[str]:
    answer = api.ask("/facts", user_id="maria", **query)
    assert answer.status_code == 200, answer.content
    return [fact["content"] for fact in answer.json()["facts"]]


def test_a_fact_is_added_then_confirmed_then_superseded(api: ContractClient) -> None:
    first = add(api)
    assert (first["outcome"], first["version"], first["handle"]) == ("added", 1, "F1")
    same = add(api, content="she drinks  GREEN tea")
    assert (same["outcome"], same["version"], same["fact_id"]) == ("confirmed", 1, first["fact_id"])
    other = add(api, content="She drinks black tea.")
    assert (other["outcome"], other["version"], other["fact_id"]) == ("superseded", 2, first["fact_id"])
    beside = add(api, content="She drinks mint tea.", coexists=True)
    assert (beside["outcome"], beside["handle"]) == ("added", "F2")
    assert contents(api) == ["She drinks mint tea.", "She drinks black tea."]


def test_adding_returns_no_content(api: ContractClient) -> None:
    answer = api.send("POST", "/facts", TEA)
    assert b"green" not in answer.content


def test_several_facts_are_answered_in_the_order_sent(api: ContractClient) -> None:
    people = ["zoe", "maria", "zoe", "adam"]
    facts = [TEA | {"user_id": user, "content": f"Tea {position}."} for position, user in enumerate(people)]
    answer = api.send("POST", "/facts", {"facts": facts})
    assert answer.status_code == 201
    written = answer.json()["facts"]
    assert [fact["outcome"] for fact in written] == ["added", "added", "superseded", "added"]
    for user, fact_id in zip(people, [fact["fact_id"] for fact in written], strict=True):
        listed = api.ask("/facts", user_id=user).json()["facts"]
        assert [one["fact_id"] for one in listed] == [fact_id]


@pytest.mark.parametrize("by", ["id", "handle", "lower case handle"])
def test_a_fact_replaces_the_one_it_names(api: ContractClient, by: str) -> None:
    tea = add(api)
    named = {"id": tea["fact_id"], "handle": tea["handle"], "lower case handle": tea["handle"].lower()}[by]
    coffee = add(api, entity="coffee", content="She drinks coffee now.", replaces=named)
    assert (coffee["outcome"], coffee["fact_id"], coffee["reason"]) == ("superseded", tea["fact_id"], "replaces")


def test_the_source_is_the_agent_whatever_is_claimed(api: ContractClient, workspace: Workspace, agent: Agent) -> None:
    add(api)
    with in_workspace(workspace.id):
        version = FactVersion.objects.get()
    assert (version.source, version.agent_id) == (Source.AGENT, agent.id)


@pytest.mark.parametrize(
    ("sent", "given"),
    [
        (20000, "20000"),
        (0.1, "0.1"),
        (-3, "-3"),
        (0, "0"),
        (1e3, "1000"),
        ("12345678901234567890.0123456789", "12345678901234567890.0123456789"),
        ("1e5", "100000"),
    ],
)
def test_numbers_keep_every_digit(api: ContractClient, sent: Any, given: str) -> None:
    fact = add(api, value=sent, unit="EUR")
    shown = api.ask(f"/facts/{fact['fact_id']}").json()["fact"]
    assert (shown["value"], shown["unit"]) == (given, "EUR")


def test_a_fact_names_its_evidence(api: ContractClient) -> None:
    turns = [{"role": "user", "content": "Green tea, please.", "timestamp": "2026-03-01T09:30:00Z"}]
    turn = api.send("POST", "/sessions/s1/turns", {"user_id": "maria", "turns": turns}).json()["turns"][0]
    fact = add(api, session_id="s1", turn_index=0)
    assert add(api, session_id="s1", turn_index=0)["outcome"] == "confirmed"
    (version,) = api.ask(f"/facts/{fact['fact_id']}/versions").json()["versions"]
    assert version["evidence"] == [
        {"kind": "states", "turn_id": turn["id"], "session_id": "s1", "turn_index": 0},
    ]
    # It holds since it was said.
    assert version["valid_from"] == "2026-03-01T09:30:00Z"


def test_correcting_adds_a_version_and_keeps_the_old_one(api: ContractClient, workspace: Workspace) -> None:
    fact = add(api, value=3, unit="cups", mentions=["tea"], confidence=0.7)
    path = f"/facts/{fact['fact_id']}"
    answer = api.send(
        "PATCH", path, {"expected_version": 1, "content": "She drinks black tea.", "note": "On the phone."}
    )
    assert answer.status_code == 200
    assert answer.json() == {"fact_id": fact["fact_id"], "handle": "F1", "version": 2, "status": "current"}
    newer, older = api.ask(f"{path}/versions").json()["versions"]
    assert (older["version"], older["content"], older["value"], older["status"]) == (
        1,
        "She drinks green tea.",
        "3",
        "superseded",
    )
    # The number may no longer be the one in the sentence; what else was known stays.
    assert (newer["content"], newer["value"], newer["mentions"], newer["confidence"]) == (
        "She drinks black tea.",
        None,
        ["tea"],
        0.7,
    )
    with in_workspace(workspace.id):
        entry = Entry.objects.get(action="fact.corrected")
    assert "phone" not in str(entry.data)
    assert entry.reason == "corrected"


def test_a_stale_version_number_is_a_conflict(api: ContractClient) -> None:
    fact = add(api)
    path = f"/facts/{fact['fact_id']}"
    change = {"expected_version": 1, "content": "She drinks black tea."}
    assert api.send("PATCH", path, change).status_code == 200
    second = api.send("PATCH", path, change)
    assert (second.status_code, second.json()["error"]["code"]) == (409, "version_conflict")


def test_marking_stale_and_restoring(api: ContractClient, workspace: Workspace) -> None:
    fact = add(api)
    path = f"/facts/{fact['fact_id']}"
    marked = api.send("POST", f"{path}/stale", {"reason": "contradicted", "note": "She said so."})
    assert (marked.status_code, marked.json()["status"]) == (200, "stale")
    assert contents(api) == []
    assert contents(api, status="stale") == ["She drinks green tea."]
    memory = {"user_id": "maria", "session_id": "s2", "message": "green tea", "score_threshold": 0}
    assert api.send("POST", "/working-memory", memory).json()["facts"] == []
    before = state_of(workspace)
    assert api.send("POST", f"{path}/stale", {"reason": "wrong"}).status_code == 200
    assert state_of(workspace) == before
    restored = api.send("POST", f"{path}/restore", {"version": 1})
    assert (restored.status_code, restored.json()["status"]) == (200, "current")
    assert contents(api) == ["She drinks green tea."]


def test_restoring_an_earlier_version(api: ContractClient) -> None:
    fact = add(api)
    add(api, content="She drinks black tea.")
    path = f"/facts/{fact['fact_id']}"
    assert api.send("POST", f"{path}/restore", {"version": 1, "expected_version": 2}).status_code == 200
    assert contents(api) == ["She drinks green tea."]
    # The current version is shown, though a later number exists.
    assert api.ask(path).json()["fact"]["version"] == 1
    history = {one["version"]: one["history"] for one in api.ask(f"{path}/versions").json()["versions"]}
    assert [step["to_status"] for step in history[1]] == ["current", "superseded", "current"]


def test_a_fact_without_a_current_version_cannot_go_stale(api: ContractClient, workspace: Workspace) -> None:
    fact = add(api)
    with in_workspace(workspace.id):
        FactVersion.objects.update(status=Status.REJECTED)
    answer = api.send("POST", f"/facts/{fact['fact_id']}/stale", {"reason": "wrong"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_possible")


@pytest.mark.parametrize("status", [Status.QUARANTINED, Status.REJECTED])
def test_what_waits_for_review_is_given_to_nobody(api: ContractClient, workspace: Workspace, status: Status) -> None:
    fact = add(api)
    with in_workspace(workspace.id):
        FactVersion.objects.update(status=status)
    assert contents(api, status="any") == []
    assert contents(api, as_of="2999-01-01T00:00:00Z") == []
    assert api.ask(f"/facts/{fact['fact_id']}").status_code == 404
    assert api.ask(f"/facts/{fact['fact_id']}/versions").status_code == 404
    found = api.send("POST", "/search", {"user_id": "maria", "query": "green tea"}).json()
    assert found["hits"] == []


def test_filters(api: ContractClient) -> None:
    add(api)
    add(api, type="goal", entity="Green  House", content="Build it.", attribute="")
    assert contents(api, type="goal") == ["Build it."]
    assert contents(api, entity="green house") == ["Build it."]
    assert contents(api, entity="tea") == ["She drinks green tea."]
    assert contents(api, entity="coffee") == []


def test_as_of_gives_what_held_then(api: ContractClient) -> None:
    add(api, valid_from="2026-01-01T00:00:00Z")
    add(api, content="She drinks black tea.", valid_from="2026-02-01T00:00:00Z")
    assert contents(api, as_of="2025-12-31T00:00:00Z") == []
    assert contents(api, as_of="2026-01-15T00:00:00Z") == ["She drinks green tea."]
    assert contents(api, as_of="2026-01-15T01:00:00+01:00") == ["She drinks green tea."]
    assert contents(api, as_of="2026-02-01T00:00:00Z") == ["She drinks black tea."]
    assert contents(api, status="any") == ["She drinks black tea.", "She drinks green tea."]


def test_an_expired_fact_is_not_given_as_current(api: ContractClient) -> None:
    add(api, valid_from="2026-01-01T00:00:00Z", expires_at="2026-01-31T00:00:00Z")
    assert contents(api) == []
    assert contents(api, as_of="2026-01-15T00:00:00Z") == ["She drinks green tea."]
    assert contents(api, status="any") == ["She drinks green tea."]


def test_pages_follow_each_other_without_gaps_each_with_its_receipt(api: ContractClient, workspace: Workspace) -> None:
    facts = [TEA | {"entity": f"tea {number}", "content": f"Tea {number}."} for number in range(7)]
    api.send("POST", "/facts", {"facts": facts})
    seen: list[str] = []
    receipts = set()
    cursor: dict[str, str] = {}
    while True:
        page = api.ask("/facts", user_id="maria", limit=3, **cursor).json()
        seen += [fact["content"] for fact in page["facts"]]
        receipts.add(page["receipt"])
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == [f"Tea {number}." for number in reversed(range(7))]
    assert len(receipts) == 3
    with in_workspace(workspace.id):
        entries = Entry.objects.filter(action="memory.surfaced")
        assert sorted(len(entry.data["items"]) for entry in entries) == [1, 3, 3]


def test_versions_come_in_pages(api: ContractClient) -> None:
    fact = add(api)
    for number in range(4):
        add(api, content=f"Tea {number}.")
    path = f"/facts/{fact['fact_id']}/versions"
    first = api.ask(path, limit=3).json()
    assert [version["version"] for version in first["versions"]] == [5, 4, 3]
    second = api.ask(path, limit=3, cursor=first["next"]).json()
    assert ([version["version"] for version in second["versions"]], second["next"]) == ([2, 1], None)


def test_a_list_page_costs_the_same_whatever_its_length(
    api: ContractClient, django_assert_max_num_queries: Any
) -> None:
    facts = [TEA | {"entity": f"tea {number}", "content": f"Tea {number}."} for number in range(60)]
    api.send("POST", "/facts", {"facts": facts})
    with django_assert_max_num_queries(14):
        assert len(contents(api, limit=60)) == 60
    fact = api.ask("/facts", user_id="maria").json()["facts"][0]["fact_id"]
    for number in range(15):
        api.send("PATCH", f"/facts/{fact}", {"expected_version": number + 1, "content": f"New {number}."})
    with django_assert_max_num_queries(16):
        assert len(api.ask(f"/facts/{fact}/versions").json()["versions"]) == 16


@pytest.fixture
def other_agents_fact(api: ContractClient, workspace: Workspace, actor: Actor) -> str:
    """A fact that is visible to another agent alone."""
    other = agent_get_or_create(workspace_id=workspace.id, name="other", actor=actor)
    fact = add(ContractClient.of(key_create(agent=other, actor=actor, scopes=list(Scope))))
    with in_workspace(workspace.id):
        Fact.objects.update(visible_to=other)
    fact_id: str = fact["fact_id"]
    return fact_id


def test_a_fact_of_another_agent_is_as_absent(api: ContractClient, other_agents_fact: str) -> None:
    assert contents(api) == []
    path = f"/facts/{other_agents_fact}"
    assert api.ask(path).status_code == 404
    assert api.ask(f"{path}/versions").status_code == 404
    assert api.send("PATCH", path, {"expected_version": 1, "content": "a"}).status_code == 404
    assert api.send("POST", f"{path}/stale", {"reason": "wrong"}).status_code == 404
    assert api.send("POST", f"{path}/restore", {"version": 1}).status_code == 404
    assert api.send("POST", "/facts", TEA | {"content": "Mate.", "replaces": "F1"}).status_code == 404
    assert api.send("POST", "/search", {"user_id": "maria", "query": "green tea"}).json()["hits"] == []


def test_the_other_agent_sees_it(workspace: Workspace, actor: Actor, other_agents_fact: str) -> None:
    other = agent_get_or_create(workspace_id=workspace.id, name="other", actor=actor)
    theirs = ContractClient.of(key_create(agent=other, actor=actor, scopes=list(Scope)))
    assert theirs.ask(f"/facts/{other_agents_fact}").status_code == 200


def test_nothing_is_written_about_somebody_whose_recording_is_paused(api: ContractClient, workspace: Workspace) -> None:
    add(api)
    subject = api.send("POST", "/subjects/lookup", {"user_id": "maria"}).json()["subject_id"]
    api.send("POST", f"/subjects/{subject}/pause", {"what": ["recording"]})
    before = state_of(workspace)
    facts = [TEA | {"user_id": "adam"}, TEA | {"content": "Black tea."}]
    answer = api.send("POST", "/facts", {"facts": facts})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "recording_paused")
    assert list(answer.json()["error"]["fields"]) == ["facts[1].user_id"]
    assert state_of(workspace) == before


def test_a_list_may_name_the_person_by_the_hubs_id(api: ContractClient, workspace: Workspace) -> None:
    add(api)
    with in_workspace(workspace.id):
        subject = Subject.objects.get()
    assert len(api.ask("/facts", subject_id=str(subject.id)).json()["facts"]) == 1
