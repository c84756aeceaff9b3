"""Errors that are not about input: no such address, no such method, no database, a defect."""

import json
from typing import Any

import pytest
from api_contract import ContractClient
from django.db import DatabaseError, OperationalError, connections
from django.test import Client

from memoryhub.access.models import Agent
from memoryhub.access.services import NewKey
from memoryhub.api.errors import error_body, exception_handler, flat

MEMORY = {"user_id": "maria", "session_id": "s2", "message": "Where do I live?"}


@pytest.mark.parametrize("path", ["/api/", "/api/v1/nope", "/api/v1/facts/", "/api/v1/facts/7", "/api/v2/facts"])
def test_an_address_that_is_not_there_is_json(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json() == error_body("not_found", "There is nothing here.")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/working-memory"), ("DELETE", "/facts"), ("PUT", "/facts"), ("OPTIONS", "/facts")]
)
def test_a_method_that_is_not_there_is_json(api: ContractClient, method: str, path: str) -> None:
    answer = api.send(method, path, {})
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method_not_allowed"
    assert "POST" in answer["Allow"]


def test_head_answers_as_get_without_a_body(api: ContractClient) -> None:
    answer = api.head("/api/v1/facts", {"user_id": "maria"})
    assert answer.status_code == 200
    assert answer.content == b""


def test_any_accept_header_is_answered_in_json(api: ContractClient) -> None:
    answer = api.get("/api/v1/facts", {"user_id": "maria"}, headers={"accept": "text/html"})
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"


def test_a_host_that_is_not_ours_is_json(client: Client) -> None:
    answer = client.get("/api/v1/facts", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "malformed"


def test_without_a_database_the_answer_is_503_and_says_when_to_come_back(live_hub: Any, agent_key: NewKey) -> None:
    connections.close_all()
    port = connections.settings["default"]["PORT"]
    connections.settings["default"]["PORT"] = "1"
    try:
        answer = ContractClient.of(agent_key).send("POST", "/working-memory", MEMORY)
    finally:
        connections.close_all()
        connections.settings["default"]["PORT"] = port
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "unavailable"
    assert int(answer["Retry-After"]) >= 1
    assert answer["X-Request-ID"]


def test_a_database_that_goes_away_in_the_middle_is_503(hub_db: str, api: ContractClient) -> None:
    def hang_up(execute: Any, statement: str, params: Any, many: bool, context: Any) -> Any:
        if "memory_sessions_subject" in statement:
            context["connection"].connection.close()
        return execute(statement, params, many, context)

    with connections["default"].execute_wrapper(hang_up):
        answer = api.send("POST", "/working-memory", MEMORY)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "unavailable"
    # And it comes back.
    assert api.send("POST", "/working-memory", MEMORY).status_code == 200


def test_a_defect_is_json_without_details(agent: Agent, agent_key: NewKey) -> None:
    client = Client(raise_request_exception=False, headers={"authorization": f"Bearer {agent_key.secret}"})

    def fail(execute: Any, statement: str, params: Any, many: bool, context: Any) -> Any:
        if "memory_sessions_subject" in statement:
            raise DatabaseError("Maria lives in Lisbon")
        return execute(statement, params, many, context)

    with connections["default"].execute_wrapper(fail):
        answer = client.post("/api/v1/working-memory", json.dumps(MEMORY), content_type="application/json")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert b"Lisbon" not in answer.content
    assert answer["X-Request-ID"]


def test_an_operational_error_is_told_apart_from_a_defect() -> None:
    answer = exception_handler(OperationalError("Maria lives in Lisbon"), {})
    assert answer is not None
    assert answer.status_code == 503
    assert "Lisbon" not in json.dumps(answer.data)
    assert exception_handler(DatabaseError("x"), {}) is None
    assert exception_handler(ValueError("x"), {}) is None


@pytest.mark.parametrize(
    ("detail", "fields"),
    [
        ({"user_id": ["a"]}, {"user_id": ["a"]}),
        ({"turns": [{}, {"role": ["a", "b"]}]}, {"turns[1].role": ["a", "b"]}),
        ({"turns": {"non_field_errors": ["too many"]}}, {"turns": ["too many"]}),
        ({"types": {0: ["a"], 3: ["b"]}}, {"types[0]": ["a"], "types[3]": ["b"]}),
        ({"turns": [{"content": {"[2].type": ["a"]}}]}, {"turns[0].content[2].type": ["a"]}),
        (["a"], {"body": ["a"]}),
        ({"non_field_errors": ["a"]}, {"body": ["a"]}),
    ],
)
def test_nested_errors_become_paths(detail: Any, fields: dict[str, list[str]]) -> None:
    assert flat(detail) == fields
