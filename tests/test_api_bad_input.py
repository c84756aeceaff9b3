"""Bad input gets a clear 4xx that names the field, and changes nothing."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import uuid4

import httpx
import pytest
from api_contract import ContractClient
from api_state import state_of

from memoryhub.access.models import Workspace
from memoryhub.access.services import NewKey
from memoryhub.api.errors import TooLarge
from memoryhub.api.rendering import Parser

Refusal = Callable[..., None]
TURN = {"role": "user", "content": "I moved to Lisbon."}
FACT = {"user_id": "maria", "type": "preference", "entity": "tea", "content": "She drinks green tea."}
MEMORY = {"user_id": "maria", "session_id": "s2", "message": "Where do I live?"}


@pytest.fixture
def known(api: ContractClient) -> dict[str, Any]:
    """Somebody with a session of one turn and one fact."""
    sent = api.send("POST", "/sessions/s1/turns", {"user_id": "maria", "turns": [TURN | {"turn_index": 0, "id": "t0"}]})
    assert sent.status_code == 201, sent.content
    fact = api.send("POST", "/facts", FACT).json()["facts"][0]
    return {"fact_id": fact["fact_id"]}


@pytest.fixture
def refused(api: ContractClient, known: dict[str, Any], workspace: Workspace) -> Refusal:
    def check(method: str, path: str, body: Any, status: int, field: str, code: str = "") -> None:
        """The request is refused with this status, names this field, and leaves no trace."""
        before = state_of(workspace)
        answer = api.send(method, path, body)
        assert answer.status_code == status, answer.content
        error = answer.json()["error"]
        assert error["message"]
        assert list(error["fields"]) == ([field] if field else [])
        assert all(error["fields"].values())
        if code:
            assert error["code"] == code
        assert state_of(workspace) == before

    return check


def turns(*items: Any, **more: Any) -> dict[str, Any]:
    return {"user_id": "maria", "turns": list(items), **more}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"{",
        b'{"user_id": "maria",}',
        b"[]",
        b'"text"',
        b"null",
        b"1",
        b"\xff\xfe{}",
        b'{"user_id": "caf\xe9"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"user_id": ' + b"9" * 5_000 + b"}",
        b'{"user_id": "a\nb"}',
        b'{"user_id": "a\x00b"}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_not_a_json_object_is_refused(refused: Refusal, body: bytes) -> None:
    if body:
        refused("POST", "/working-memory", body, 400, "", "malformed")
    else:
        # No body is an object without fields.
        refused("POST", "/recalls/" + str(uuid4()) + "/cited", body, 400, "fact_ids", "invalid")


def test_a_body_nested_deeper_than_anything_real_is_refused(refused: Refusal) -> None:
    deep: Any = "bottom"
    for _ in range(70):
        deep = [deep]
    refused("POST", "/sessions/s1/turns", turns(TURN | {"tool_input": deep}), 400, _place("turns[0].tool_input", 62))


def _place(start: str, levels: int) -> str:
    # The object, the list of turns and the turn are three of the 64 levels, so 61 lists fit.
    return start + "[0]" * (levels - 1)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"turns": [TURN]}, "user_id"),
        ({"user_id": "maria"}, "turns"),
        (turns(), "turns"),
        (turns(*[TURN] * 101), "turns"),
        ({"user_id": "maria", "turns": "hello"}, "turns"),
        (turns("hello"), "turns[0]"),
        (turns(TURN, TURN | {"role": "robot"}), "turns[1].role"),
        (turns(TURN | {"role": 7}), "turns[0].role"),
        (turns({"role": "user"}), "turns[0].content"),
        (turns(TURN | {"content": ""}), "turns[0].content"),
        (turns(TURN | {"content": " \n\t\u3000"}), "turns[0].content"),
        (turns(TURN | {"content": []}), "turns[0].content"),
        (turns(TURN | {"content": 7}), "turns[0].content"),
        (turns(TURN | {"content": None}), "turns[0].content"),
        (turns(TURN | {"content": ["text"]}), "turns[0].content[0]"),
        (turns(TURN | {"content": [{"type": "text", "text": "a"}, {"type": "hologram"}]}), "turns[0].content[1].type"),
        (turns(TURN | {"content": [{"type": {}}]}), "turns[0].content[0].type"),
        (turns(TURN | {"content": [{"text": "a"}]}), "turns[0].content[0].type"),
        (turns(TURN | {"content": [{"type": "text"}]}), "turns[0].content[0].text"),
        (turns(TURN | {"content": [{"type": "tool_use", "name": "a", "input": {}}]}), "turns[0].content[0].id"),
        (turns(TURN | {"content": [{"type": "tool_result", "content": "a"}]}), "turns[0].content[0].tool_use_id"),
        (
            turns(TURN | {"content": [{"type": "image", "source": {"type": "base64", "data": "aGk="}}]}),
            "turns[0].content[0].source.type",
        ),
        (turns(TURN | {"turn_index": -1}), "turns[0].turn_index"),
        (turns(TURN | {"turn_index": 2**31}), "turns[0].turn_index"),
        (turns(TURN | {"turn_index": 10**4000}), "turns[0].turn_index"),
        (turns(TURN | {"turn_index": 1.5}), "turns[0].turn_index"),
        (turns(TURN | {"turn_index": "1"}), "turns[0].turn_index"),
        (turns(TURN | {"turn_index": True}), "turns[0].turn_index"),
        (turns(TURN | {"id": "x" * 257}), "turns[0].id"),
        (turns(TURN | {"id": ""}), "turns[0].id"),
        (turns(TURN | {"id": 7}), "turns[0].id"),
        (turns(TURN | {"name": "x" * 257}), "turns[0].name"),
        (turns(TURN | {"tool_name": "x" * 257}), "turns[0].tool_name"),
        (turns(TURN | {"timestamp": "2026-03-01T09:30:00"}), "turns[0].timestamp"),
        (turns(TURN | {"timestamp": "2026-03-01"}), "turns[0].timestamp"),
        (turns(TURN | {"timestamp": "yesterday"}), "turns[0].timestamp"),
        (turns(TURN | {"timestamp": "2026-02-30T09:30:00Z"}), "turns[0].timestamp"),
        (turns(TURN | {"timestamp": 1_770_000_000}), "turns[0].timestamp"),
        (turns(TURN | {"timestamp": "0001-01-01T00:00:00+14:00"}), "turns[0].timestamp"),
        (turns(TURN | {"timestamp": (datetime.now(UTC) + timedelta(days=2)).isoformat()}), "turns[0].timestamp"),
        (turns(TURN | {"timestamp": "9999-12-31T23:59:59Z"}), "turns[0].timestamp"),
        (turns(TURN | {"metadata": []}), "turns[0].metadata"),
        (turns(TURN | {"metadata": {"note": "x" * 16_000}}), "turns[0].metadata"),
        (turns(TURN, metadata="x"), "metadata"),
        (turns(TURN | {"content": "a\x00b"}), "turns[0].content"),
        (turns(TURN | {"content": [{"type": "text", "text": "a\x00b"}]}), "turns[0].content[0].text"),
        (turns(TURN | {"content": [{"type": "text", "text": "a", "x\x00": 1}]}), "turns[0].content[0]"),
        (turns(TURN | {"metadata": {"deep": [{"a": "\x00"}]}}), "turns[0].metadata.deep[0].a"),
        (turns(TURN | {"content": "half \ud83d"}), "turns[0].content"),
        (turns(TURN | {"tool_input": {"a": ["\udc00"]}}), "turns[0].tool_input.a[0]"),
        (turns(TURN | {"tool_input": {"a": float("nan")}}), "turns[0].tool_input.a"),
        (turns(TURN | {"metadata": {"a": float("-inf")}}), "turns[0].metadata.a"),
        (turns(TURN | {"mood": "good"}), "turns[0].mood"),
        (turns(TURN, mood="good"), "mood"),
        ({"user_id": "x" * 257, "turns": [TURN]}, "user_id"),
        ({"user_id": "", "turns": [TURN]}, "user_id"),
        ({"user_id": "  ", "turns": [TURN]}, "user_id"),
        ({"user_id": 7, "turns": [TURN]}, "user_id"),
        ({"user_id": None, "turns": [TURN]}, "user_id"),
        ({"user_id": "a\x00", "turns": [TURN]}, "user_id"),
        (turns(TURN, recall_id="7"), "recall_id"),
    ],
)
def test_turns_that_cannot_be_kept_are_refused(refused: Refusal, body: Any, field: str) -> None:
    refused("POST", "/sessions/s1/turns", body, 400, field)


def test_a_number_too_large_to_be_one_is_refused(refused: Refusal) -> None:
    body = json.dumps(turns(TURN | {"tool_input": {"a": 0}})).replace('"a": 0', '"a": 1e999').encode()
    refused("POST", "/sessions/s1/turns", body, 400, "turns[0].tool_input.a")


def test_a_session_id_that_is_too_long_is_refused(refused: Refusal) -> None:
    refused("POST", f"/sessions/{'x' * 257}/turns", turns(TURN), 400, "session_id")


def test_a_nul_in_a_path_is_refused(refused: Refusal) -> None:
    refused("POST", "/sessions/a%00b/turns", turns(TURN), 400, "session_id")


def test_turns_over_the_limit_are_too_large(refused: Refusal, settings: Any) -> None:
    settings.MAX_TURN_CHARACTERS = 50
    long = "x" * 51
    for turn, field in (
        (TURN | {"content": long}, "turns[1].content"),
        (TURN | {"content": [{"type": "text", "text": long}]}, "turns[1].content"),
        (TURN | {"tool_input": {"a": long}}, "turns[1].tool_input"),
        ({"role": "tool", "tool_result": long}, "turns[1].tool_result"),
    ):
        refused("POST", "/sessions/s1/turns", turns(TURN, turn), 413, field, "too_large")


def test_a_body_over_the_limit_is_too_large(refused: Refusal, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 1_000
    refused("POST", "/sessions/s1/turns", turns(TURN | {"content": "x" * 1_000}), 413, "", "too_large")


def test_a_body_longer_than_announced_is_not_read_to_its_end(settings: Any) -> None:
    settings.MAX_BODY_BYTES = 1_000
    body = BytesIO(b'{"a": "' + b"x" * 5_000 + b'"}')
    with pytest.raises(TooLarge):
        Parser().parse(body)
    assert body.tell() == 1_001


@pytest.mark.parametrize(
    ("turn", "field"),
    [
        (TURN | {"turn_index": 0, "content": "I moved to Porto."}, "turns[0].turn_index"),
        (TURN | {"id": "t0", "content": "I moved to Porto."}, "turns[0].id"),
        (TURN | {"id": "t0", "role": "assistant"}, "turns[0].id"),
        (TURN | {"id": "t0", "turn_index": 5}, "turns[0].id"),
        (TURN | {"id": "other", "turn_index": 0}, "turns[0].turn_index"),
    ],
)
def test_the_same_index_or_id_with_other_content_is_a_conflict(
    refused: Refusal, turn: dict[str, Any], field: str
) -> None:
    refused("POST", "/sessions/s1/turns", turns(turn), 409, field, "turn_conflict")


def test_a_conflict_in_the_last_turn_keeps_none_of_them(refused: Refusal) -> None:
    refused(
        "POST",
        "/sessions/s1/turns",
        turns(TURN | {"content": "New."}, TURN | {"turn_index": 0, "content": "Other."}),
        409,
        "turns[1].turn_index",
    )


def test_a_session_of_somebody_else_is_a_conflict(refused: Refusal) -> None:
    body = {"user_id": "joao", "turns": [TURN]}
    refused("POST", "/sessions/s1/turns", body, 409, "user_id", "session_of_another")


def test_a_session_without_an_index_left_is_a_conflict(refused: Refusal, api: ContractClient) -> None:
    assert api.send("POST", "/sessions/full/turns", turns(TURN | {"turn_index": 2**31 - 1})).status_code == 201
    refused("POST", "/sessions/full/turns", turns(TURN | {"content": "More."}), 409, "turns[0].turn_index")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"message": ""}, "message"),
        ({"message": " \n "}, "message"),
        ({"message": None}, "message"),
        ({"message": "x" * 32_001}, "message"),
        ({"message": "a\x00"}, "message"),
        ({"message": "\ud800"}, "message"),
        ({"user_id": ""}, "user_id"),
        ({"session_id": ""}, "session_id"),
        ({"session_id": "x" * 257}, "session_id"),
        ({"previous_session_id": ""}, "previous_session_id"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 51}, "top_k"),
        ({"top_k": "5"}, "top_k"),
        ({"top_k": 2.5}, "top_k"),
        ({"top_k": None}, "top_k"),
        ({"token_budget": 49}, "token_budget"),
        ({"token_budget": 8_001}, "token_budget"),
        ({"recent_turns": -1}, "recent_turns"),
        ({"recent_turns": 51}, "recent_turns"),
        ({"score_threshold": -0.1}, "score_threshold"),
        ({"score_threshold": 1.1}, "score_threshold"),
        ({"score_threshold": float("nan")}, "score_threshold"),
        ({"score_threshold": float("inf")}, "score_threshold"),
        ({"score_threshold": "0.5"}, "score_threshold"),
        ({"score_threshold": 10**400}, "score_threshold"),
        ({"min_similarity": -1.1}, "min_similarity"),
        ({"min_similarity": 1.1}, "min_similarity"),
        ({"types": ["mood"]}, "types[0]"),
        ({"types": "goal"}, "types"),
        ({"types": ["goal"] * 6}, "types"),
        ({"refresh": "always"}, "refresh"),
        ({"format": "xml"}, "format"),
        ({"topk": 5}, "topk"),
    ],
)
def test_a_request_for_working_memory_out_of_range_is_refused(
    refused: Refusal, changed: dict[str, Any], field: str
) -> None:
    refused("POST", "/working-memory", MEMORY | changed, 400, field)


@pytest.mark.parametrize("missing", ["user_id", "session_id", "message"])
def test_working_memory_needs_its_fields(refused: Refusal, missing: str) -> None:
    refused("POST", "/working-memory", {k: v for k, v in MEMORY.items() if k != missing}, 400, missing)


def test_an_unknown_previous_session_is_not_found(refused: Refusal) -> None:
    refused("POST", "/working-memory", MEMORY | {"previous_session_id": "nope"}, 404, "previous_session_id")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"query": ""}, "query"),
        ({"query": "\u00a0"}, "query"),
        ({"kinds": []}, "kinds"),
        ({"kinds": ["opinion"]}, "kinds[0]"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 51}, "top_k"),
        ({"user_id": None}, "user_id"),
    ],
)
def test_a_search_out_of_range_is_refused(refused: Refusal, changed: dict[str, Any], field: str) -> None:
    refused("POST", "/search", {"user_id": "maria", "query": "tea"} | changed, 400, field)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"type": "mood"}, "type"),
        ({"type": None}, "type"),
        ({"entity": ""}, "entity"),
        ({"entity": "x" * 201}, "entity"),
        ({"content": ""}, "content"),
        ({"content": "  "}, "content"),
        ({"content": "x" * 4_001}, "content"),
        ({"content": "a\x00"}, "content"),
        ({"attribute": "x" * 101}, "attribute"),
        ({"unit": "x" * 41}, "unit"),
        ({"confidence": -0.01}, "confidence"),
        ({"confidence": 1.01}, "confidence"),
        ({"confidence": float("nan")}, "confidence"),
        ({"confidence": float("inf")}, "confidence"),
        ({"confidence": "high"}, "confidence"),
        ({"confidence": True}, "confidence"),
        ({"value": float("nan")}, "value"),
        ({"value": float("inf")}, "value"),
        ({"value": "NaN"}, "value"),
        ({"value": "Infinity"}, "value"),
        ({"value": "1e400"}, "value"),
        ({"value": "many"}, "value"),
        ({"value": "1_000"}, "value"),
        ({"value": True}, "value"),
        ({"value": 10**21}, "value"),
        ({"value": "0.12345678901"}, "value"),
        ({"value": 10**4_200}, "value"),
        ({"mentions": "tea"}, "mentions"),
        ({"mentions": ["x" * 201]}, "mentions[0]"),
        ({"mentions": ["tea"] * 51}, "mentions"),
        ({"mentions": [""]}, "mentions[0]"),
        ({"valid_from": "2026-03-01T09:30:00"}, "valid_from"),
        ({"valid_from": "2999-01-01T00:00:00Z"}, "valid_from"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"session_id": "s1"}, "turn_index"),
        ({"turn_index": 0}, "session_id"),
        ({"session_id": "s1", "turn_index": -1}, "turn_index"),
        ({"coexists": "yes"}, "coexists"),
        ({"replaces": "F1", "coexists": True}, "coexists"),
        ({"replaces": 1}, "replaces"),
        ({"source": "operator"}, "source"),
        ({"user_id": ""}, "user_id"),
    ],
)
def test_a_fact_that_cannot_be_kept_is_refused(refused: Refusal, changed: dict[str, Any], field: str) -> None:
    refused("POST", "/facts", FACT | changed, 400, field)
    refused("POST", "/facts", {"facts": [FACT, FACT | changed]}, 400, f"facts[1].{field}")


def test_more_than_a_hundred_facts_are_refused(refused: Refusal) -> None:
    refused("POST", "/facts", {"facts": [FACT] * 101}, 400, "facts")
    refused("POST", "/facts", {"facts": []}, 400, "facts")
    refused("POST", "/facts", {"facts": [FACT], "user_id": "maria"}, 400, "user_id")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"replaces": "F99"}, "replaces"),
        ({"replaces": str(uuid4())}, "replaces"),
        ({"replaces": "the tea"}, "replaces"),
        ({"replaces": "F999999999999"}, "replaces"),
        ({"replaces": "F999999999"}, "replaces"),
        ({"session_id": "nope", "turn_index": 0}, "session_id"),
        ({"session_id": "s1", "turn_index": 7}, "turn_index"),
    ],
)
def test_a_fact_that_names_what_is_not_there_is_not_found(
    refused: Refusal, changed: dict[str, Any], field: str
) -> None:
    refused("POST", "/facts", FACT | changed, 404, field, "not_found")
    other = FACT | {"user_id": "joao"}
    refused("POST", "/facts", {"facts": [other, FACT, FACT | changed]}, 404, f"facts[2].{field}", "not_found")


def test_a_fact_cannot_be_evidenced_by_somebody_elses_turn(refused: Refusal) -> None:
    refused("POST", "/facts", FACT | {"user_id": "joao", "session_id": "s1", "turn_index": 0}, 404, "session_id")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"content": "Black tea."}, 400, "expected_version"),
        ({"expected_version": 0, "content": "Black tea."}, 400, "expected_version"),
        ({"expected_version": "1", "content": "Black tea."}, 400, "expected_version"),
        ({"expected_version": 1}, 400, "content"),
        ({"expected_version": 1, "content": " "}, 400, "content"),
        ({"expected_version": 1, "confidence": 2}, 400, "confidence"),
        ({"expected_version": 1, "entity": "coffee"}, 400, "entity"),
        ({"expected_version": 1, "content": "Black tea.", "reason": "because"}, 400, "reason"),
        ({"expected_version": 2, "content": "Black tea."}, 409, "expected_version"),
    ],
)
def test_a_correction_that_does_not_fit_is_refused(
    refused: Refusal, known: dict[str, Any], body: dict[str, Any], status: int, field: str
) -> None:
    refused("PATCH", f"/facts/{known['fact_id']}", body, status, field)


def test_stale_and_restore_are_checked(refused: Refusal, known: dict[str, Any]) -> None:
    path = f"/facts/{known['fact_id']}"
    refused("POST", f"{path}/stale", {}, 400, "reason")
    refused("POST", f"{path}/stale", {"reason": "She told me that she hates it."}, 400, "reason")
    refused("POST", f"{path}/stale", {"reason": "wrong", "note": "x" * 2_001}, 400, "note")
    refused("POST", f"{path}/stale", {"reason": "wrong", "expected_version": 2}, 409, "expected_version")
    refused("POST", f"{path}/restore", {}, 400, "version")
    refused("POST", f"{path}/restore", {"version": 2}, 404, "version")
    refused("POST", f"{path}/restore", {"version": 1, "expected_version": 3}, 409, "expected_version")


def test_ids_that_are_not_there_are_not_found(refused: Refusal) -> None:
    nobody = uuid4()
    refused("PATCH", f"/facts/{nobody}", {"expected_version": 1, "content": "a"}, 404, "fact_id", "not_found")
    refused("POST", f"/facts/{nobody}/stale", {"reason": "wrong"}, 404, "fact_id", "not_found")
    refused("POST", f"/facts/{nobody}/restore", {"version": 1}, 404, "fact_id", "not_found")
    refused("POST", f"/recalls/{nobody}/cited", {"fact_ids": [str(nobody)]}, 404, "recall_id", "not_found")
    refused("POST", "/sessions/nope/close", {}, 404, "session_id", "not_found")
    refused("POST", f"/subjects/{nobody}/restrict", {}, 404, "subject_id", "not_found")
    refused("POST", f"/subjects/{nobody}/pause", {"what": ["recording"]}, 404, "subject_id", "not_found")
    refused("POST", "/sessions/s1/turns", turns(TURN, recall_id=str(nobody)), 404, "recall_id", "not_found")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/recalls/{id}/cited", {"fact_ids": []}, "fact_ids"),
        ("/recalls/{id}/cited", {"fact_ids": ["F1"]}, "fact_ids[0]"),
        ("/recalls/{id}/cited", {"fact_ids": [str(uuid4())] * 101}, "fact_ids"),
        ("/subjects/lookup", {}, "user_id"),
        ("/subjects/{id}/pause", {}, "what"),
        ("/subjects/{id}/pause", {"what": ["breathing"]}, "what[0]"),
        ("/subjects/{id}/restrict", {"reason": "because"}, "reason"),
    ],
)
def test_other_bodies_are_checked(refused: Refusal, path: str, body: dict[str, Any], field: str) -> None:
    refused("POST", path.format(id=uuid4()), body, 400, field)


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/facts", {}, "user_id"),
        ("/facts", {"user_id": "maria", "subject_id": str(uuid4())}, "user_id"),
        ("/facts", {"user_id": ""}, "user_id"),
        ("/facts", {"user_id": "a\x00b"}, "user_id"),
        ("/facts", {"user_id": "maria", "type": "mood"}, "type"),
        ("/facts", {"user_id": "maria", "status": "quarantined"}, "status"),
        ("/facts", {"user_id": "maria", "as_of": "2026-03-01T00:00:00"}, "as_of"),
        ("/facts", {"user_id": "maria", "as_of": "2026-03-01T00:00:00Z", "status": "stale"}, "status"),
        ("/facts", {"user_id": "maria", "limit": "0"}, "limit"),
        ("/facts", {"user_id": "maria", "limit": "101"}, "limit"),
        ("/facts", {"user_id": "maria", "limit": "many"}, "limit"),
        ("/facts", {"user_id": "maria", "cursor": "nope"}, "cursor"),
        ("/facts", {"user_id": "maria", "cursor": "\u00fc"}, "cursor"),
        ("/facts", {"user_id": "maria", "stauts": "stale"}, "stauts"),
        ("/subjects", {"cursor": "bm9wZXxub3Bl"}, "cursor"),
        ("/subjects", {"limit": "-1"}, "limit"),
        ("/audit", {"subject_id": "maria"}, "subject_id"),
        ("/audit", {"action": "drop table"}, "action"),
        ("/audit", {"outcome": "fine"}, "outcome"),
        ("/audit", {"since": "last week"}, "since"),
        ("/audit", {"cursor": "%%%"}, "cursor"),
        ("/audit", {"object_id": "a\x00"}, "object_id"),
    ],
)
def test_query_parameters_are_checked(
    api: ContractClient,
    known: dict[str, Any],
    workspace: Workspace,
    path: str,
    query: dict[str, str],
    field: str,
) -> None:
    before = state_of(workspace)
    answer = api.ask(path, **query)
    assert answer.status_code == 400, answer.content
    assert list(answer.json()["error"]["fields"]) == [field]
    assert state_of(workspace) == before


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_is_not_sent_as_json_is_refused(
    api: ContractClient, workspace: Workspace, known: dict[str, Any], content_type: str
) -> None:
    before = state_of(workspace)
    answer = api.generic("POST", "/api/v1/working-memory", json.dumps(MEMORY), content_type=content_type)
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"
    assert state_of(workspace) == before


def test_a_body_without_a_length_is_refused(live_hub: Any, agent_key: NewKey) -> None:
    def chunks() -> Iterator[bytes]:
        yield json.dumps(MEMORY).encode()

    answer = httpx.post(
        f"{live_hub.url}/api/v1/working-memory",
        content=chunks(),
        headers={"authorization": f"Bearer {agent_key.secret}", "content-type": "application/json"},
    )
    assert answer.status_code == 411
    assert answer.json()["error"]["code"] == "length_required"


@pytest.mark.parametrize(
    "text",
    [
        "我住在里斯本，喜欢绿茶。",
        "أعيش في لشبونة",
        "\u202eright to left\u202c",
        "👩🏽‍💻 moved 🇵🇹",
        "Zażółć gęślą jaźń",
        "ลิสบอน",
        "\U0001f600" * 300,
        "x" * 20_000,
        "line\nbreaks\ttabs\r\n",
    ],
    ids=lambda text: text[:8].encode("unicode_escape").decode(),
)
def test_text_of_any_script_is_kept_as_it_is(api: ContractClient, text: str) -> None:
    user = text[:256]
    body = {"user_id": user, "turns": [{"role": "user", "content": text, "name": user}]}
    assert api.send("POST", "/sessions/s9/turns", body).status_code == 201
    fact = FACT | {"user_id": user, "entity": user[:200], "content": text[:4_000], "mentions": [user[:200]]}
    written = api.send("POST", "/facts", fact)
    assert written.status_code == 201, written.content
    listed = api.ask("/facts", user_id=user).json()["facts"]
    # What reorders the text around it waits for a person.
    waits = "\u202e" in text
    assert (written.json()["facts"][0]["outcome"] == "quarantined") == waits
    assert [one["content"] for one in listed] == ([] if waits else [text[:4_000]])
    found = api.send("POST", "/search", {"user_id": user, "query": text[:100], "kinds": ["turn"]})
    assert found.status_code == 200
    assert [hit["content"] for hit in found.json()["hits"]] in ([text], [])
    memory = api.send("POST", "/working-memory", {"user_id": user, "session_id": "s10", "message": text})
    assert memory.status_code == 200, memory.content
