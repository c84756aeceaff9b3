"""Messages of other formats as turns of ours. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

MEDIA = ("image", "document")
KEPT = frozenset(
    {"text", "tool_use", "server_tool_use", "mcp_tool_use", "tool_result", "search_result", "image", "document"}
)
PASSING = ("cache_control", "citations")
"""What a block carries for one request alone."""


class Unreadable(ValueError):
    """A record that cannot be a turn: `field` names the place in it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def portable(content: Any, field: str = "content") -> str | list[dict[str, Any]]:
    """Content of a message without thinking, without bytes, and without blocks that nobody reads.

    Raises Unreadable for what is neither a text nor a list of blocks.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise Unreadable(field, "Content is a text or a list of blocks.")
    return [_without_bytes(block) for block in content if _is_kept(block)]


def is_empty(content: str | Sequence[Mapping[str, Any]]) -> bool:
    """Whether nothing is said in it."""
    if isinstance(content, str):
        return not content.strip()
    return all(block.get("type") == "text" and not str(block.get("text") or "").strip() for block in content)


def turn_of(
    role: str, content: str | list[dict[str, Any]], *, turn_id: str, timestamp: Any = None, **more: Any
) -> dict[str, Any]:
    """A turn as `import_sessions` reads it."""
    turn = {"role": role, "content": content, "id": turn_id}
    return turn | ({"timestamp": timestamp} if timestamp else {}) | more


class Threads:
    """Which conversation a request belongs to: each repeats what was said before, and adds to it."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[str, bytes], str] = {}
        self._heard: set[tuple[str, str]] = set()
        self._begun: set[str] = set()

    def go_on(
        self, messages: Sequence[Mapping[str, Any]], *, named: str, new: str
    ) -> tuple[str, list[tuple[int, str]]]:
        """(session, (place, id) of each of `messages` that is new in it): the longest beginning that was heard counts.

        `named` is the session as the log names it, or ''; `new` what it is called when nothing of it was heard. An id
        is the message's place and what was said up to it: another answer to the same question is another message.
        """
        digests = _beginnings(messages)
        known = next((at for at in range(len(digests), 0, -1) if (named, digests[at - 1]) in self._sessions), 0)
        session = self._sessions[named, digests[known - 1]] if known else named or new
        if not known and session in self._begun:
            # The log names the session, and what it repeats was cut or rewritten: what follows the last answer is new.
            answers = [at for at, one in enumerate(messages[:-1]) if one.get("role") == "assistant"]
            known = answers[-1] + 1 if answers else 0
        fresh = []
        for at, digest in enumerate(digests[known:], start=known):
            turn_id = f"m{at}-{digest.hex()[:12]}"
            if (session, turn_id) not in self._heard:
                self._heard.add((session, turn_id))
                fresh.append((at, turn_id))
        if digests:
            self._sessions[named, digests[-1]] = session
            self._begun.add(session)
        return session, fresh


def _beginnings(messages: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """A digest of each beginning of a conversation, from its first message to all of them."""
    running = sha256()
    digests = []
    for message in messages:
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else _lasting(content)
        said = [message.get("role"), blocks, message.get("tool_calls"), message.get("tool_call_id")]
        running.update(json.dumps(said, sort_keys=True, default=str).encode(errors="surrogatepass"))
        digests.append(running.copy().digest())
    return digests


def _lasting(content: Any) -> list[Any]:
    blocks: Iterable[Any] = content if isinstance(content, list) else []
    return [
        {key: value for key, value in block.items() if key not in PASSING}
        for block in blocks
        if isinstance(block, dict) and block.get("type") not in ("thinking", "redacted_thinking")
    ]


def _is_kept(block: Mapping[str, Any]) -> bool:
    kind = block.get("type")
    return isinstance(kind, str) and (kind in KEPT or kind.endswith("_tool_result"))


def _without_bytes(block: dict[str, Any]) -> dict[str, Any]:
    kind = block["type"]
    source = block.get("source")
    if kind in MEDIA and not (isinstance(source, dict) and source.get("type") in ("url", "file")):
        what = source.get("media_type", kind) if isinstance(source, dict) else kind
        return {"type": "text", "text": f"[{what} left out]"}
    if isinstance(block.get("content"), list):
        inner = [_without_bytes(one) for one in block["content"] if isinstance(one, dict) and _is_kept(one)]
        return block | {"content": inner}
    return block
