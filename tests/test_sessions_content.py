"""Content blocks: whatever JSON comes, it is read or refused with the place at fault."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.content import ContentError, MessageContent, message_digest, read_content

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KINDS = [
    "text",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "server_tool_use",
    "mcp_tool_use",
    "tool_result",
    "web_search_tool_result",
    "image",
    "document",
    "search_result",
    "hologram",
]
KEYS = ["type", "text", "name", "id", "input", "content", "tool_use_id", "source", "title", "url", "data", "citations"]
VALUES = JSON | st.sampled_from([*KINDS, "base64", "url"])
INNER = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5)
BLOCKS = st.builds(
    lambda kind, rest, content: {"type": kind} | rest | content,
    VALUES,
    st.dictionaries(st.sampled_from(KEYS), VALUES | INNER, max_size=6),
    st.just({}) | st.builds(lambda inner: {"content": inner}, st.lists(INNER, max_size=3)),
)


@given(st.lists(BLOCKS | JSON, max_size=4))
def test_any_blocks_are_read_or_refused(blocks: list[Any]) -> None:
    try:
        read = read_content(blocks)
    except ContentError as refusal:
        assert refusal.path.startswith("[")
        assert refusal.message
    else:
        assert isinstance(read, MessageContent)
        assert all(block in blocks for block in read.content)
        assert message_digest(content=read.content) == message_digest(content=read.content)


@pytest.mark.parametrize("kind", ["thinking", "redacted_thinking"])
def test_thinking_is_dropped_and_the_rest_kept_as_it_was(kind: str) -> None:
    said = {"type": "text", "text": "Yes.", "citations": []}
    read = read_content([{"type": kind, "thinking": "Hm."}, said])
    assert (read.content, read.text) == ([said], "Yes.")
