"""A turn's content as the parts that a reader sees. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sessions.models import Turn

FOLD_OVER = 1500
"""Characters; longer text shows its beginning and unfolds."""


@dataclass(frozen=True)
class Part:
    """`kind` is text, call, result or media; calls and results are folded under their `label`."""

    kind: str
    text: str
    label: str = ""

    @property
    def beginning(self) -> str:
        """The start of a text that is too long to show at once, else ''."""
        return self.text[: FOLD_OVER // 2].rstrip() + "…" if len(self.text) > FOLD_OVER else ""


def parts_of(turn: Turn) -> list[Part]:
    """What `turn` holds, in the order it was sent. Blocks of a kind unknown here are shown as they are stored."""
    parts = list(_content_parts(turn.content))
    if turn.tool_input is not None:
        parts.append(Part("call", pretty_json(turn.tool_input), f"calls {turn.tool_name or 'a tool'}"))
    if turn.tool_result is not None:
        parts.append(Part("result", _plain(turn.tool_result), f"result of {turn.tool_name or 'a tool'}"))
    return parts


def pretty_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)


def _content_parts(content: Any) -> Iterator[Part]:
    if isinstance(content, str):
        if content:
            yield Part("text", content)
        return
    for block in content if isinstance(content, list) else [content]:
        yield _block_part(block) if isinstance(block, Mapping) else Part("text", str(block))


def _block_part(block: Mapping[str, Any]) -> Part:
    kind = str(block.get("type", ""))
    if kind == "text":
        return Part("text", str(block.get("text", "")))
    if kind.endswith("tool_use"):
        return Part("call", pretty_json(block.get("input")), f"calls {block.get('name', 'a tool')}")
    if kind.endswith("tool_result"):
        failed = "failed result" if block.get("is_error") else "result"
        return Part("result", _plain(block.get("content")), f"{failed} of {block.get('tool_use_id', 'a call')}")
    if kind in ("image", "document"):
        source = block.get("source")
        where = (source.get("url") or source.get("file_id")) if isinstance(source, Mapping) else ""
        return Part("media", str(block.get("title") or where or "without an address"), kind)
    return Part("result", pretty_json(block), kind.replace("_", " ") or "block")


def _plain(value: Any) -> str:
    """A tool result as text where it is text, else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, Mapping) and one.get("type") == "text" for one in value):
        return "\n".join(str(one.get("text", "")) for one in value)
    return pretty_json(value)
