"""The audit log over REST: entries without content, filtered, in pages."""

from typing import Any

import pytest
from api_contract import ContractClient

TURNS = {"user_id": "maria", "turns": [{"role": "user", "content": "I moved to Lisbon."}]}
MEMORY = {"user_id": "maria", "session_id": "s2", "message": "Where do I live?"}


@pytest.fixture
def history(api: ContractClient) -> dict[str, Any]:
    api.send("POST", "/sessions/s1/turns", TURNS)
    memory: dict[str, Any] = api.send("POST", "/working-memory", MEMORY).json()
    return memory


def actions(api: ContractClient, **query: Any) -> list[str]:
    answer = api.ask("/audit", **query)
    assert answer.status_code == 200, answer.content
    return [entry["action"] for entry in answer.json()["entries"]]


def test_a_receipt_is_found_again_in_the_log(api: ContractClient, history: dict[str, Any]) -> None:
    (entry,) = api.ask("/audit", action="memory.surfaced").json()["entries"]
    assert entry["receipt"] == history["receipt"]
    assert entry["object"] == {"kind": "recall", "id": history["recall_id"]}
    assert entry["actor"]["kind"] == "agent"
    assert entry["actor"]["credential"].startswith("mh_")


def test_entries_never_hold_content(api: ContractClient, history: dict[str, Any]) -> None:
    answer = api.ask("/audit")
    assert b"Lisbon" not in answer.content
    assert b"Where do I live" not in answer.content
    assert b"maria" not in answer.content


def test_filters(api: ContractClient, history: dict[str, Any]) -> None:
    assert set(actions(api, action="memory.")) == {"memory.surfaced"}
    assert actions(api, action="nothing.") == []
    assert actions(api, object_id=history["recall_id"]) == ["memory.surfaced"]
    entry = api.ask("/audit", action="turns.recorded").json()["entries"][0]
    subject, request = entry["subject_id"], entry["request_id"]
    assert set(actions(api, subject_id=subject, action="turns.")) == {"turns.recorded"}
    assert "turns.recorded" in actions(api, request_id=request)
    assert actions(api, session_id=entry["session_id"], outcome="ok")
    assert actions(api, until="2020-01-01T00:00:00Z") == []
    assert actions(api, since="2999-01-01T00:00:00Z") == []
    assert set(actions(api, actor_kind="agent", actor_id=entry["actor"]["id"], object_kind="session"))


def test_reading_the_log_is_recorded(api: ContractClient, history: dict[str, Any]) -> None:
    api.ask("/audit", action="memory.")
    (entry,) = api.ask("/audit", action="audit.read").json()["entries"]
    assert entry["data"] == {"returned": 1, "filters": ["action"]}


def test_pages_follow_each_other(api: ContractClient, history: dict[str, Any]) -> None:
    whole = [entry["id"] for entry in api.ask("/audit", actor_kind="agent").json()["entries"]]
    first = api.ask("/audit", actor_kind="agent", limit=1).json()
    # The reading before is the newest entry now.
    second = api.ask("/audit", actor_kind="agent", limit=100, cursor=first["next"]).json()
    assert [entry["id"] for entry in second["entries"]] == whole
    assert second["next"] is None


def test_the_log_of_another_workspace_is_not_shown(outsider_api: ContractClient, history: dict[str, Any]) -> None:
    assert outsider_api.ask("/audit", action="memory.").json()["entries"] == []
    assert outsider_api.ask("/audit", object_id=history["recall_id"]).json()["entries"] == []
