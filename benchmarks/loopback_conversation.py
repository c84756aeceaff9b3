"""Conversations at the loopback Messages API: tools, threads that the server holds, and checks of both.

A request that begins a thread (`thread: {"type": "create"}`) sends everything; one that goes on with it names the reply
that it follows and sends only what is new, without `system` and `tools`, which the thread has.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

Converse = Callable[[Mapping[str, Any]], list[dict[str, Any]]]
"""From a whole request (a thread's messages among its own) to the content blocks of the reply."""
ONCE = ("system", "tools")


@dataclass(frozen=True)
class Problem(Exception):
    """What the API answers instead. `code` tells clients how to go on."""

    status: int
    kind: str
    message: str
    code: str = ""

    def body(self) -> dict[str, Any]:
        details = {"details": {"error_code": self.code}} if self.code else {}
        return {"type": "error", "error": {"type": self.kind, "message": self.message} | details}


class Conversations:
    """The threads that are held, by the id of their last reply."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Any]] = {}
        self._continued: set[str] = set()
        self._lock = threading.Lock()

    def whole(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The request with what the thread holds of it. Raises Problem."""
        thread = body.get("thread")
        if not thread or thread.get("type") == "create":
            made = dict(body)
        else:
            made = self._continued_from(str(thread.get("previous_message_id")), body)
        _check_tools(made)
        _check_results(made["messages"])
        return made

    def replied(self, whole: Mapping[str, Any], content: list[dict[str, Any]]) -> str:
        """Hold the conversation with its reply, if it is a thread; returns the reply's id."""
        id = f"msg_{uuid4().hex[:24]}"
        if whole.get("thread"):
            held = {name: whole[name] for name in ONCE if name in whole}
            held["messages"] = [*whole["messages"], {"role": "assistant", "content": content}]
            with self._lock:
                self._held[id] = held
        return id

    def _continued_from(self, id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        repeated = [name for name in ONCE if name in body]
        if repeated:
            raise Problem(400, "invalid_request_error", f"{repeated[0]}: the thread has it")
        with self._lock:
            held = self._held.get(id)
            if held is None:
                raise Problem(404, "not_found_error", "thread: not found", "thread_not_found")
            if id in self._continued:
                raise Problem(409, "invalid_request_error", "thread: already continued", "thread_already_continued")
            self._continued.add(id)
        return dict(body) | held | {"messages": [*held["messages"], *body["messages"]]}


def uses(content: Any) -> list[dict[str, Any]]:
    return [block for block in content if block.get("type") == "tool_use"] if isinstance(content, list) else []


def results(content: Any) -> list[dict[str, Any]]:
    return [block for block in content if block.get("type") == "tool_result"] if isinstance(content, list) else []


def _check_tools(body: Mapping[str, Any]) -> None:
    for number, tool in enumerate(body.get("tools") or []):
        schema = tool.get("input_schema") or {}
        if schema.get("type") != "object":
            raise Problem(400, "invalid_request_error", f"tools.{number}.input_schema.type: must be object")
        if tool.get("strict"):
            if schema.get("additionalProperties") is not False:
                raise Problem(400, "invalid_request_error", f"tools.{number}: additionalProperties must be false")
            for name, part in schema.get("properties", {}).items():
                unknown = set(part) - {"type", "description", "enum", "items", "const", "anyOf"}
                if unknown:
                    told = f"tools.{number}.{name}: {sorted(unknown)[0]} is not supported"
                    raise Problem(400, "invalid_request_error", told)


def _check_results(messages: list[dict[str, Any]]) -> None:
    """Every tool_use is answered in the next message, and nothing else is."""
    for before, after in zip([{"role": "", "content": []}, *messages], [*messages, None], strict=True):
        asked = {block["id"] for block in uses(before["content"])} if before["role"] == "assistant" else set()
        given = {block["tool_use_id"] for block in results(after["content"])} if after else set()
        if asked != given:
            raise Problem(400, "invalid_request_error", f"messages: tool_use without its tool_result: {asked ^ given}")
