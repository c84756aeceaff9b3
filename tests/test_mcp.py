"""The door at /mcp, message by message: versions, errors, origins, and what is surfaced has its receipt."""

import json
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from memory_samples import learn
from tool_calls import Tokens, agent_in

from audit.actors import Actor
from audit.models import Entry
from audit.services import receipt
from facts.models import FactVersion, Recall
from memoryhub.access.models import Agent, MemoryMode, Scope, Workspace
from memoryhub.access.services import NewKey
from memoryhub.core.tenancy import in_workspace
from memoryhub.mcp.messages import Message, Refusal, read_message
from memoryhub.mcp.protocol import CAPABILITIES_KEY, MODERN, VERSION_KEY, decoded, spoken
from sessions.models import Subject
from sessions.services import subject_pause

NOW = MODERN[-1]


def post(client: Client, body: Any, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic("POST", "/mcp", data, content_type="application/json", headers=headers)


def rpc(client: Client, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """The result of a request as clients send it up to 2025-11-25."""
    body = {"jsonrpc": "2.0", "id": 7, "method": method} | ({"params": params} if params is not None else {})
    answer = post(client, body, **{"mcp-protocol-version": "2025-11-25"})
    assert answer.status_code == 200, answer.content
    told: dict[str, Any] = answer.json()
    assert told["jsonrpc"] == "2.0" and told["id"] == 7
    return told


def modern(client: Client, method: str, params: dict[str, Any] | None = None, **headers: str) -> Any:
    """As they send it since 2026-07-28."""
    meta = {VERSION_KEY: NOW, CAPABILITIES_KEY: {}}
    body = {"jsonrpc": "2.0", "id": "a", "method": method, "params": {"_meta": meta, **(params or {})}}
    named = {"tools/call": "name", "resources/read": "uri"}.get(method)
    sent = {"mcp-protocol-version": NOW, "mcp-method": method}
    sent |= {"mcp-name": body["params"][named]} if named else {}
    return post(client, body, **sent | headers)


# Beginning


@pytest.mark.parametrize(
    ("asked", "agreed"),
    [("2025-06-18", "2025-06-18"), ("2025-11-25", "2025-11-25"), ("2024-11-05", "2025-11-25"), ("x", "2025-11-25")],
)
def test_a_version_is_agreed_on(tools: Client, asked: str, agreed: str) -> None:
    params = {"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    answer = post(tools, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
    result = answer.json()["result"]
    assert result["protocolVersion"] == agreed and "Mcp-Session-Id" not in answer.headers
    assert result["serverInfo"]["name"] == "memoryhub" and result["capabilities"].keys() == {"tools", "resources"}


def test_what_needs_no_answer_gets_none(tools: Client) -> None:
    for body in (
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 4, "result": {}},
    ):
        answer = post(tools, body, **{"mcp-protocol-version": "2025-11-25"})
        assert (answer.status_code, answer.content) == (202, b"")


def test_there_is_no_stream_and_no_session_to_end(tools: Client) -> None:
    for method in ("GET", "DELETE", "PUT", "OPTIONS"):
        answer = tools.generic(method, "/mcp")
        assert answer.status_code == 405 and answer["Allow"] == "POST"


def test_ping(tools: Client) -> None:
    assert rpc(tools, "ping")["result"] == {}


# Who may


def test_without_a_token_nothing_is_told(db: None) -> None:
    for header in ({}, {"authorization": "Bearer mht_a.b"}, {"authorization": "Basic x"}):
        for method in ("GET", "POST"):
            answer = Client(headers=header).generic(method, "/mcp", b"{}", content_type="application/json")
            assert answer.status_code == 401 and answer["WWW-Authenticate"].startswith("Bearer")


def test_a_key_is_told_to_make_a_token_here_too(agent_key: NewKey) -> None:
    client = Client(headers={"authorization": f"Bearer {agent_key.secret}"})
    answer = post(client, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "key_forbids")


def test_pages_of_other_sites_may_not_ask(tools: Client, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://ours.example"]
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for origin in ("https://attacker.example", "null", "http://testserver.attacker.example"):
        assert post(tools, ping, origin=origin).status_code == 403
    for origin in ("http://testserver", "https://ours.example"):
        assert post(tools, ping, origin=origin).status_code == 200


def test_requests_count_against_the_limit(tools: Client, settings: Any) -> None:
    settings.THROTTLE_PER_MINUTE = 1
    answers = [post(tools, {"jsonrpc": "2.0", "id": 1, "method": "ping"}) for _ in range(4)]
    assert 429 in {answer.status_code for answer in answers}
    assert "Retry-After" in next(answer for answer in answers if answer.status_code == 429).headers


# Tools


def test_tools_are_those_of_the_api(tools: Client) -> None:
    listed = rpc(tools, "tools/list")["result"]["tools"]
    offered = tools.get("/api/v1/tools").json()["tools"]
    assert [(one["name"], one["description"], one["inputSchema"]) for one in listed] == [
        (one["name"], one["description"], one["input_schema"]) for one in offered
    ]
    hints = {one["name"]: one["annotations"] for one in listed}
    assert hints["search_memory"]["readOnlyHint"] and hints["forget"]["destructiveHint"]


def test_a_call_is_carried_out_with_its_receipt(tools: Client, workspace: Workspace, manager: Agent) -> None:
    learn(manager, "The shipping budget is 300 EUR", entity="shipping")
    result = rpc(tools, "tools/call", {"name": "search_memory", "arguments": {"query": "budget"}})["result"]
    assert result["isError"] is False and "300 EUR" in result["content"][0]["text"]
    with in_workspace(workspace.id):
        assert result["_meta"]["memoryhub/receipt"] == receipt(Entry.objects.get(action="memory.surfaced"))
        assert result["_meta"]["memoryhub/recallId"] == str(Recall.objects.get().id)


def test_what_a_model_can_put_right_is_a_result(tools: Client) -> None:
    result = rpc(tools, "tools/call", {"name": "mark_fact_stale", "arguments": {"fact": "F1", "reason": "wrong"}})
    assert result["result"]["isError"] is True and "There is no fact F1" in result["result"]["content"][0]["text"]


@pytest.mark.parametrize(
    "params", [{"name": "nothing"}, {}, {"name": 3}, {"name": "list_facts", "arguments": []}], ids=str
)
def test_what_it_cannot_is_an_error(tools: Client, params: dict[str, Any]) -> None:
    assert rpc(tools, "tools/call", params)["error"]["code"] == -32602


def test_a_mode_offers_here_what_it_offers_there(workspace: Workspace, actor: Actor, token_of: Tokens) -> None:
    client = token_of(agent_in(workspace, MemoryMode.EPISODIC, actor))
    assert [one["name"] for one in rpc(client, "tools/list")["result"]["tools"]] == ["search_memory"]
    assert rpc(client, "resources/list")["result"] == {"resources": []}
    assert rpc(client, "resources/templates/list")["result"] == {"resourceTemplates": []}
    assert "error" in rpc(client, "resources/read", {"uri": "memory://facts"})
    assert rpc(client, "tools/call", {"name": "list_facts"})["error"]["code"] == -32602
    with in_workspace(workspace.id):
        assert Entry.objects.filter(action="access.denied", data__route="mcp").count() == 1


# Resources


def test_facts_are_resources_and_reading_them_is_logged(
    tools: Client,
    workspace: Workspace,
    manager: Agent,
) -> None:
    learn(manager, "Likes tea", entity="tea", attribute="kind")
    learn(manager, "Likes coffee", user="bob")
    result = rpc(tools, "resources/list")["result"]
    assert [(one["uri"], one["title"]) for one in result["resources"]] == [
        ("memory://facts", "Facts about this person"),
        ("memory://facts/F1", "tea · kind"),
    ]
    read = rpc(tools, "resources/read", {"uri": "memory://facts/F1"})["result"]
    [content] = read["contents"]
    assert content["uri"] == "memory://facts/F1" and "- F1 [constraint] tea · kind: Likes tea" in content["text"]
    everything = rpc(tools, "resources/read", {"uri": "memory://facts"})["result"]["contents"][0]["text"]
    assert "Likes tea" in everything and "coffee" not in everything
    with in_workspace(workspace.id):
        entries = list(Entry.objects.filter(action="memory.surfaced").order_by("id"))
        assert [len(entry.data["items"]) for entry in entries] == [1, 1, 1]
        assert read["_meta"]["memoryhub/receipt"] == receipt(entries[1])


def test_a_list_of_resources_goes_on(tools: Client, manager: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    from memoryhub.mcp import resources

    monkeypatch.setattr(resources, "PAGE", 2)
    for number in range(3):
        learn(manager, f"Likes tea {number}", attribute=f"kind {number}")
    first = rpc(tools, "resources/list")["result"]
    second = rpc(tools, "resources/list", {"cursor": first["nextCursor"]})["result"]
    assert [one["name"] for one in first["resources"] + second["resources"]] == ["facts", "F3", "F2", "F1"]
    assert "nextCursor" not in second
    assert rpc(tools, "resources/list", {"cursor": "x"})["error"]["code"] == -32602


@pytest.mark.parametrize("uri", ["memory://facts/F2", "memory://facts/", "memory://turns/1", "file:///etc/passwd", ""])
def test_what_is_not_there_is_not_found(tools: Client, manager: Agent, uri: str) -> None:
    learn(manager, "Likes coffee", user="bob")
    learn(manager, "Likes cocoa", user="bob", attribute="cocoa")
    assert rpc(tools, "resources/read", {"uri": uri})["error"]["code"] == -32002


def test_nothing_is_read_while_surfacing_is_paused(
    tools: Client,
    workspace: Workspace,
    manager: Agent,
    actor: Actor,
) -> None:
    learn(manager, "Likes tea")
    with in_workspace(workspace.id):
        subject_pause(subject=Subject.objects.get(), what=["surfacing"], paused=True, actor=actor)
    for uri in ("memory://facts", "memory://facts/F1"):
        result = rpc(tools, "resources/read", {"uri": uri})["result"]
        assert "given out" in result["contents"][0]["text"] and "tea" not in result["contents"][0]["text"]
    assert len(rpc(tools, "resources/list")["result"]["resources"]) == 1


# What is not understood


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b"3", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
        (b'{"id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\\u0000"}}', -32600),
    ],
)
def test_what_is_no_message_is_refused(tools: Client, raw: bytes, code: int) -> None:
    answer = post(tools, raw)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_unknown_methods_and_versions_are_refused(tools: Client) -> None:
    assert rpc(tools, "prompts/list")["error"]["code"] == -32601
    answer = post(tools, {"jsonrpc": "2.0", "id": 1, "method": "ping"}, **{"mcp-protocol-version": "1999-01-01"})
    assert answer.status_code == 400
    assert answer.json()["error"]["data"]["supported"] == ["2025-06-18", "2025-11-25", "2026-07-28"]


def test_what_is_not_json_is_said_to_be(tools: Client) -> None:
    assert tools.generic("POST", "/mcp", b"{}", content_type="text/plain").status_code == 415
    announced = tools.generic("POST", "/mcp", b"", content_type="application/json", CONTENT_LENGTH="5000001")
    assert (announced.status_code, announced.json()["error"]["code"]) == (413, "too_large")


# Since 2026-07-28


def test_a_request_stands_by_itself(tools: Client, manager: Agent) -> None:
    learn(manager, "Likes tea")
    discovered = modern(tools, "server/discover").json()["result"]
    assert NOW in discovered["supportedVersions"] and discovered["resultType"] == "complete"
    listed = modern(tools, "tools/list").json()["result"]
    assert (listed["cacheScope"], listed["resultType"]) == ("private", "complete")
    read = modern(tools, "resources/read", {"uri": "memory://facts/F1"}).json()["result"]
    assert read["ttlMs"] == 0 and read["cacheScope"] == "private" and "Likes tea" in read["contents"][0]["text"]
    assert modern(tools, "tools/call", {"name": "list_facts"}).json()["result"]["resultType"] == "complete"


def test_headers_say_what_the_message_says(tools: Client) -> None:
    for headers in ({"mcp-method": "tools/call"}, {"mcp-protocol-version": "2025-11-25"}):
        answer = modern(tools, "tools/list", **headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)
    answer = modern(tools, "tools/call", {"name": "list_facts"}, **{"mcp-name": "search_memory"})
    assert answer.json()["error"]["code"] == -32020
    assert decoded("=?base64?bGlzdF9mYWN0cw==?=") == "list_facts" and decoded("=?base64?x?=") is None


def test_errors_have_a_status_of_http(tools: Client) -> None:
    assert modern(tools, "ping").status_code == 404
    assert modern(tools, "resources/read", {"uri": "memory://facts/F9"}).status_code == 400
    lacking = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    answer = post(tools, lacking, **{"mcp-protocol-version": NOW, "mcp-method": "tools/list"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


# Whatever is sent

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
PARTS = st.fixed_dictionaries(
    {}, optional={"jsonrpc": st.just("2.0") | JSON, "id": JSON, "method": st.text() | JSON, "params": JSON}
)


@given(
    st.binary(max_size=200)
    | JSON.map(lambda one: json.dumps(one).encode())
    | PARTS.map(lambda p: json.dumps(p).encode())
)
def test_every_body_is_a_message_or_refused(raw: bytes) -> None:
    try:
        message = read_message(raw)
    except Refusal as refused:
        assert refused.status == 400 and refused.code in (-32700, -32600, -32602)
        json.dumps(refused.body(None))
        return
    sent = json.loads(raw)
    assert sent["jsonrpc"] == "2.0" and message.id == sent.get("id") and message.method == sent.get("method", "")
    assert message.params == (sent.get("params") or {})


@given(
    st.text(max_size=20),
    st.dictionaries(st.sampled_from(["_meta", "name", "uri", "x"]), JSON, max_size=4),
    st.dictionaries(
        st.sampled_from(["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"]),
        st.sampled_from([NOW, "2025-11-25", "tools/call", "=?base64?x?="]) | st.text(max_size=20),
    ),
)
def test_every_message_is_in_a_version_or_refused(method: str, params: dict[str, Any], headers: dict[str, str]) -> None:
    try:
        version = spoken(Message(method, 1, params), headers)
    except Refusal as refused:
        assert refused.status == 400 and refused.code in (-32602, -32020, -32022)
        return
    assert version.version == headers.get("MCP-Protocol-Version")


def test_the_scope_is_asked_for(manager: Agent, token_of: Tokens, workspace: Workspace) -> None:
    writer = token_of(manager, scopes=frozenset({Scope.FACTS_WRITE}))
    answer = post(writer, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing")
    reader = token_of(manager, scopes=frozenset({Scope.MEMORY_READ}))
    said = {"type": "goal", "entity": "x", "content": "y"}
    assert rpc(reader, "tools/call", {"name": "remember", "arguments": said})["error"]["code"] == -32602
    with in_workspace(workspace.id):
        assert not FactVersion.objects.exists()
