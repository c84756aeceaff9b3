from typing import Any
from uuid import uuid4

import pytest
from api_contract import ContractClient
from extraction_work import LineExtractor, converse, fails, planned, read_one, windows_of

from audit.models import Entry
from memoryhub.access.models import Agent, Scope
from memoryhub.access.services import key_create
from memoryhub.core.tenancy import in_workspace


@pytest.fixture
def letters(agent: Agent, settings: Any) -> list[str]:
    """Two dead letters of two people, `bad_request` and `refused`, and a window that was read; their ids."""
    settings.EXTRACTOR = "patterns"
    settings.EXTRACT_MAX_ATTEMPTS = 1
    for number, code in enumerate(("bad_request", "refused", "")):
        converse(agent, "My colour is blue", session=f"s{number}", user=f"u{number}")
        planned(agent)
        read_one(agent, LineExtractor(fails(*[code] if code else [])))
    return [str(row.id) for row in windows_of(agent.workspace_id)]


def test_extractions_are_listed_and_filtered(api: ContractClient, letters: list[str]) -> None:
    everything = api.send("GET", "/extractions").json()
    assert [row["extraction_id"] for row in everything["extractions"]] == letters[::-1]
    assert everything["next"] is None
    done = api.send("GET", "/extractions?state=done").json()["extractions"]
    assert [(row["session_id"], row["extracted_by"], row["counts"]["added"]) for row in done] == [
        ("s2", "claude-haiku-4-5/lines1", 1)
    ]
    assert (done[0]["input_tokens"], done[0]["cost_usd"], done[0]["turns"], done[0]["error"]) == (1000, 0.0015, 2, "")
    assert len(api.send("GET", "/extractions?session_id=s1").json()["extractions"]) == 1
    first = api.send("GET", "/extractions?limit=2").json()
    second = api.send("GET", f"/extractions?limit=2&cursor={first['next']}").json()
    assert [row["extraction_id"] for row in (*first["extractions"], *second["extractions"])] == letters[::-1]


def test_a_window_can_be_looked_at(api: ContractClient, letters: list[str]) -> None:
    row = api.send("GET", f"/extractions/{letters[0]}").json()
    assert (row["state"], row["error"], row["attempts"], row["first_index"], row["last_index"]) == (
        "dead",
        "bad_request",
        1,
        0,
        1,
    )
    assert row["next_attempt_at"] is None
    assert api.send("GET", f"/extractions/{uuid4()}").status_code == 404


def test_dead_letters_are_those_given_up_on(api: ContractClient, letters: list[str]) -> None:
    listed = api.send("GET", "/dead-letters").json()["extractions"]
    assert [row["extraction_id"] for row in listed] == [letters[1], letters[0]]
    refused = api.send("GET", "/dead-letters?error=refused").json()["extractions"]
    assert [row["error"] for row in refused] == ["refused"]
    assert api.send("GET", f"/dead-letters/{letters[0]}").json()["error"] == "bad_request"
    assert api.send("GET", f"/dead-letters/{letters[2]}").status_code == 404
    assert api.send("GET", "/dead-letters?error=gremlins").status_code == 400


def test_one_is_replayed_and_its_progress_seen(api: ContractClient, agent: Agent, letters: list[str]) -> None:
    answer = api.send("POST", f"/dead-letters/{letters[0]}/replay")
    assert (answer.status_code, answer.json()["windows"]) == (202, 1)
    again = api.send("POST", f"/dead-letters/{letters[0]}/replay")
    assert again.status_code == 404
    progress = f"/replays/{answer.json()['replay_id']}"
    assert api.send("GET", progress).json() == {"windows": 1, "done": 0, "dead": 0, "waiting": 1}
    read_one(agent, LineExtractor())
    assert api.send("GET", progress).json() == {"windows": 1, "done": 1, "dead": 0, "waiting": 0}
    with in_workspace(agent.workspace_id):
        entry = Entry.objects.get(action="extraction.replayed")
    assert (entry.actor_kind, entry.actor_id, entry.data["extraction_ids"]) == ("agent", str(agent.id), [letters[0]])


@pytest.mark.parametrize(
    ("named", "windows"),
    [
        ({"all": True}, 2),
        ({"error": "refused"}, 1),
        ({"session_id": "s0"}, 1),
        ({"session_id": "s2"}, 0),
        ({"error": "refused", "session_id": "s0"}, 0),
        ({"since": "2026-01-01T00:00:00Z"}, 2),
        ({"before": "2026-01-01T00:00:00Z"}, 0),
        ({"ids": [str(uuid4())]}, 0),
    ],
)
def test_many_are_replayed_by_what_they_share(
    api: ContractClient, letters: list[str], named: dict[str, Any], windows: int
) -> None:
    answer = api.send("POST", "/dead-letters/replay", named)
    assert (answer.status_code, answer.json()["windows"]) == (202, windows)
    assert len(api.send("GET", "/dead-letters").json()["extractions"]) == 2 - windows


@pytest.mark.parametrize("named", [{}, {"all": False}, {"all": True, "error": "refused"}, {"everything": True}])
def test_which_ones_has_to_be_said(api: ContractClient, letters: list[str], named: dict[str, Any]) -> None:
    assert api.send("POST", "/dead-letters/replay", named).status_code == 400


def test_another_workspace_sees_and_replays_nothing(outsider_api: ContractClient, letters: list[str]) -> None:
    assert outsider_api.send("GET", "/extractions").json()["extractions"] == []
    assert outsider_api.send("GET", f"/extractions/{letters[0]}").status_code == 404
    assert outsider_api.send("POST", f"/dead-letters/{letters[0]}/replay").status_code == 404
    assert outsider_api.send("POST", "/dead-letters/replay", {"all": True}).json()["windows"] == 0


def test_it_takes_the_scope(agent: Agent, actor: Any, letters: list[str]) -> None:
    others = [scope for scope in Scope if scope != Scope.EXTRACTIONS_MANAGE]
    client = ContractClient.of(key_create(agent=agent, actor=actor, scopes=others))
    for method, path in (
        ("GET", "/extractions"),
        ("GET", f"/extractions/{letters[0]}"),
        ("GET", "/dead-letters"),
        ("POST", f"/dead-letters/{letters[0]}/replay"),
        ("POST", "/dead-letters/replay"),
        ("GET", f"/replays/{uuid4()}"),
    ):
        assert client.send(method, path).json()["error"]["code"] == "scope_missing"
