"""Calling tools as a model's surroundings do: with a subject token, by API."""

from collections.abc import Callable
from typing import Any

from api_contract import ContractClient

from audit.actors import Actor
from memoryhub.access.models import Agent, MemoryMode, Workspace
from memoryhub.access.services import agent_get_or_create

Tokens = Callable[..., ContractClient]
"""From an agent, and if wanted a person, scopes and a session, to a client that holds such a token."""


def agent_in(workspace: Workspace, mode: MemoryMode, actor: Actor) -> Agent:
    return agent_get_or_create(workspace_id=workspace.id, name=f"agent-{mode}", mode=mode, actor=actor)


def call(client: ContractClient, tool: str, **given: Any) -> tuple[str, bool]:
    """What the tool says, and whether that is an error."""
    answer = client.send("POST", f"/tools/{tool}", {"input": given, "tool_use_id": "toolu_1"})
    assert answer.status_code == 200, answer.content
    body = answer.json()
    [block] = body["content"]
    assert (body["type"], body["tool_use_id"], block["type"]) == ("tool_result", "toolu_1", "text")
    return block["text"], body["is_error"]
