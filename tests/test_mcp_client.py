"""The official client of the Model Context Protocol against a hub over HTTP, in both ways that it begins."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from django.utils import timezone
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from memory_samples import learn
from tool_calls import Tokens

from audit.models import Entry
from facts.models import FactVersion
from memoryhub.access.models import Agent, Workspace
from memoryhub.core.tenancy import in_workspace
from tests.conftest import LiveHub

MODES = ("legacy", "auto", "2026-07-28")


def with_client(hub: LiveHub, header: str, mode: str, use: Callable[[Client], Awaitable[Any]]) -> Any:
    """What `use` comes to with a client that is connected."""

    async def connected() -> Any:
        async with httpx2.AsyncClient(headers={"authorization": header}, timeout=20) as http:
            transport = streamable_http_client(f"{hub.url}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                return await use(client)

    return asyncio.run(connected())


@pytest.fixture
def header(live_hub: LiveHub, manager: Agent, token_of: Tokens) -> str:
    learn(manager, "The shipping budget is 300 EUR a month", entity="shipping", attribute="budget")
    learn(manager, "Likes coffee", user="bob")
    learn(manager, "Likes cocoa", user="bob", attribute="cocoa")
    return str(token_of(manager).defaults["HTTP_AUTHORIZATION"])


@pytest.mark.parametrize("mode", MODES)
def test_it_lists_calls_and_reads(live_hub: LiveHub, header: str, workspace: Workspace, mode: str) -> None:
    async def use(client: Client) -> None:
        assert client.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
        listed = await client.list_tools()
        assert {one.name for one in listed.tools} == {
            "search_memory",
            "list_facts",
            "mark_fact_stale",
            "remember",
            "forget",
        }
        found = await client.call_tool("search_memory", {"query": "shipping budget"})
        assert not found.is_error and "300 EUR" in found.content[0].text  # type: ignore[union-attr]
        said = {"type": "preference", "entity": "tea", "content": "Likes green tea."}
        assert (await client.call_tool("remember", said)).content[0].text.startswith("Remembered as F2.")  # type: ignore[union-attr]
        resources = await client.list_resources()
        assert [str(one.uri) for one in resources.resources] == [
            "memory://facts",
            "memory://facts/F2",
            "memory://facts/F1",
        ]
        assert (await client.list_resource_templates()).resource_templates[0].uri_template == "memory://facts/{handle}"
        read = await client.read_resource("memory://facts/F1")
        assert "300 EUR" in read.contents[0].text  # type: ignore[union-attr]
        stale = await client.call_tool("mark_fact_stale", {"fact": "F1", "reason": "contradicted"})
        assert not stale.is_error
        wrong = await client.call_tool("mark_fact_stale", {"fact": "F9", "reason": "contradicted"})
        assert wrong.is_error and "no fact F9" in wrong.content[0].text  # type: ignore[union-attr]

    with_client(live_hub, header, mode, use)
    with in_workspace(workspace.id):
        assert FactVersion.objects.get(content__contains="300").status == "stale"
        # The search, the list and the reading.
        assert Entry.objects.filter(action="memory.surfaced").count() == 3


@pytest.mark.parametrize("mode", MODES)
def test_nothing_of_somebody_else_is_there(live_hub: LiveHub, header: str, mode: str) -> None:
    async def use(client: Client) -> None:
        found = await client.call_tool("search_memory", {"query": "coffee cocoa"})
        assert "Likes" not in found.content[0].text  # type: ignore[union-attr]
        with pytest.raises(MCPError):
            await client.read_resource("memory://facts/F2")
        gone = await client.call_tool("mark_fact_stale", {"fact": "F2", "reason": "wrong"})
        assert gone.is_error
        named = await client.call_tool("list_facts", {"user_id": "bob"})
        assert named.is_error

    with_client(live_hub, header, mode, use)


@pytest.mark.parametrize("mode", ("legacy", "auto"))
def test_a_wrong_token_does_not_connect(live_hub: LiveHub, mode: str) -> None:
    async def use(client: Client) -> None:
        raise AssertionError("connected")

    with pytest.raises(BaseException) as refused:  # noqa: PT011 - the client wraps it in groups
        with_client(live_hub, "Bearer mht_wrong.token", mode, use)
    assert "connected" not in str(refused.value)
    answer = httpx2.post(f"{live_hub.url}/mcp", json={}, headers={"authorization": "Bearer mht_wrong.token"})
    assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")


def test_a_token_that_ended_is_refused(live_hub: LiveHub, header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert httpx2.post(f"{live_hub.url}/mcp", json=ping, headers={"authorization": header}).status_code == 200
    later = timezone.now() + timedelta(hours=2)
    monkeypatch.setattr("memoryhub.access.tokens.timezone.now", lambda: later)
    assert httpx2.post(f"{live_hub.url}/mcp", json=ping, headers={"authorization": header}).status_code == 401
