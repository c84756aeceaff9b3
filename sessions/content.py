"""What a message holds: Messages API content blocks read into text, tool calls and tool results. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DROPPED_BLOCKS = frozenset({"thinking", "redacted_thinking"})
MEDIA_BLOCKS = frozenset({"image", "document"})
TOOL_CALL_BLOCKS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


class ContentError(ValueError):
    """Content that cannot be kept; `path` names the place below `content`, such as `[2].type`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


@dataclass(frozen=True)
class MessageContent:
    """A message as it is kept (`content`) and as it is read (`text`, calls and results)."""

    content: str | list[dict[str, Any]]
    text: str
    tool_calls: tuple[tuple[str, str, Any], ...] = field(default=())
    """(id, tool name, input) of each call."""
    tool_results: tuple[str, ...] = field(default=())
    """The ids of the calls that are answered."""
    only_tool_results: bool = False
    holds_results: bool = False
    """Whether something that a tool or a search returned is in it."""


def read_content(content: str | Sequence[Mapping[str, Any]]) -> MessageContent:
    """Read a message's `content`: a string, or a list of Messages API content blocks.

    Thinking is dropped, everything else is kept as it was sent. Raises ContentError for a block that is unknown,
    malformed, or carries bytes where a reference is wanted.
    """
    if isinstance(content, str):
        return MessageContent(content=content, text=content)
    kept: list[dict[str, Any]] = []
    texts: list[str] = []
    calls: list[tuple[str, str, Any]] = []
    results: list[str] = []
    for position, block in enumerate(content):
        path = f"[{position}]"
        if not isinstance(block, Mapping):
            raise ContentError(path, "A content block is an object with a type.")
        kind = _string(block, "type", path)
        if kind in DROPPED_BLOCKS:
            continue
        if kind == "text":
            texts.append(_string(block, "text", path))
        elif kind in TOOL_CALL_BLOCKS:
            name = _string(block, "name", path)
            calls.append((_string(block, "id", path), name, block.get("input")))
            texts.append(f"[calls {name}: {compact_json(block.get('input'))}]")
        elif kind == "tool_result" or kind.endswith("_tool_result"):
            results.append(_string(block, "tool_use_id", path))
            texts.extend(_result_texts(block.get("content"), f"{path}.content"))
        elif kind in MEDIA_BLOCKS:
            texts.append(_media_text(block, path))
        elif kind == "search_result":
            texts.extend(_result_texts(block.get("content"), f"{path}.content"))
        else:
            raise ContentError(f"{path}.type", f"Unknown content block type {kind!r:.60}.")
        kept.append(dict(block))
    return MessageContent(
        content=kept,
        text="\n".join(text for text in texts if text),
        tool_calls=tuple(calls),
        tool_results=tuple(results),
        only_tool_results=bool(kept) and len(results) == len(kept),
        holds_results=bool(results) or any(block["type"] == "search_result" for block in kept),
    )


def compact_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same for the same value."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def message_digest(**parts: Any) -> bytes:
    """SHA-256 over what was sent: equal for a retry, different for other content."""
    return hashlib.sha256(compact_json(parts).encode()).digest()


def _string(block: Mapping[str, Any], key: str, path: str) -> str:
    value = block.get(key)
    if not isinstance(value, str):
        raise ContentError(f"{path}.{key}", "A string is required.")
    return value


def _result_texts(content: Any, path: str) -> Iterator[str]:
    """The text of a tool result: a string, or a list of blocks of which the text ones count."""
    if content is None:
        return
    if isinstance(content, str):
        yield content
        return
    if isinstance(content, Mapping):
        yield compact_json(content)
        return
    if not isinstance(content, Sequence):
        raise ContentError(path, "A tool result's content is a string or a list of blocks.")
    for position, block in enumerate(content):
        if not isinstance(block, Mapping):
            raise ContentError(f"{path}[{position}]", "A content block is an object with a type.")
        kind = block.get("type")
        if kind == "text":
            yield _string(block, "text", f"{path}[{position}]")
        elif isinstance(kind, str) and kind in MEDIA_BLOCKS:
            yield _media_text(block, f"{path}[{position}]")


def _media_text(block: Mapping[str, Any], path: str) -> str:
    source = block.get("source")
    if not isinstance(source, Mapping):
        raise ContentError(f"{path}.source", "A source is required.")
    if source.get("type") == "base64":
        raise ContentError(f"{path}.source.type", "Send images and documents by reference (url or file), not as bytes.")
    title = block.get("title")
    label = title if isinstance(title, str) and title else source.get("url") or source.get("file_id") or ""
    return f"[{block['type']}: {label}]" if label else f"[{block['type']}]"
