"""JSON-RPC 2.0, one message a request: reading what came, and the forms of what goes back. Pure."""

import json
from dataclasses import dataclass, field
from typing import Any

from memoryhub.api.errors import FieldRefused, Malformed, TooLarge
from memoryhub.api.rendering import parse_object

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
RESOURCE_NOT_FOUND = -32002
"""Until 2025-11-25; since then it is INVALID_PARAMS."""
HEADER_MISMATCH, UNSUPPORTED_VERSION = -32020, -32022
LONGEST_ID = 256

Id = int | str


class Refusal(Exception):
    """A message that cannot be served, as JSON-RPC tells it. `status` is that of HTTP where it is not 200."""

    def __init__(self, code: int, message: str, *, data: Any = None, status: int = 200, id: Id | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.status = status
        self.id = id

    def body(self, id: Id | None) -> dict[str, Any]:
        told = {"code": self.code, "message": self.message} | ({"data": self.data} if self.data is not None else {})
        return {"jsonrpc": "2.0", "id": id if self.id is None else self.id, "error": told}


@dataclass(frozen=True)
class Message:
    """A request, or with `id` None a notification. A response that a client posted has no `method`."""

    method: str
    id: Id | None = None
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def meta(self) -> dict[str, Any]:
        """What is said about the message itself."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}


def read_message(raw: bytes) -> Message:
    """Raises Refusal for what is no JSON (PARSE_ERROR) or no single message (INVALID_REQUEST)."""
    try:
        body = parse_object(raw)
    except Malformed as refused:
        if _is_json(raw):
            raise Refusal(INVALID_REQUEST, "Send one JSON-RPC message, as an object.", status=400) from None
        raise Refusal(PARSE_ERROR, refused.message, status=400) from None
    except (FieldRefused, TooLarge) as refused:
        raise Refusal(INVALID_REQUEST, refused.message, status=400) from None
    id = body.get("id")
    if isinstance(id, bool) or not isinstance(id, int | str) or len(str(id)) > LONGEST_ID:
        if "id" in body:
            raise Refusal(INVALID_REQUEST, "An id is a whole number or a string.", status=400)
        id = None
    if body.get("jsonrpc") != "2.0":
        raise Refusal(INVALID_REQUEST, 'A message says "jsonrpc": "2.0".', status=400, id=id)
    if "method" not in body and id is not None and ("result" in body) != ("error" in body):
        return Message("", id)
    method, params = body.get("method"), body.get("params")
    if not isinstance(method, str) or not method:
        raise Refusal(INVALID_REQUEST, "A message names its method.", status=400, id=id)
    if params is not None and not isinstance(params, dict):
        raise Refusal(INVALID_PARAMS, "params is an object.", status=400, id=id)
    return Message(method, id, params or {})


def reply(id: Id, result: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "result": result}


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return True
