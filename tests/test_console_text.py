"""How the console words and shows things: times, hidden characters, the block, parts of a turn."""

import html
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.console.template_tags import block_lines, compact, list_of, number, relative, short_date, visible
from memoryhub.console.transcript import Part, parts_of
from sessions.models import Turn

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=4, seconds=59), "4 min ago"),
        (timedelta(hours=1), "1 hour ago"),
        (timedelta(hours=23, minutes=59), "23 hours ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=30), "30 days ago"),
        (timedelta(days=31), "7 Feb"),
        (timedelta(days=90), "10 Dec 2025"),
        (timedelta(minutes=-5), "in 5 min"),
        (timedelta(days=-2), "in 2 days"),
    ],
)
def test_times_are_told_relative_to_now(ago: timedelta, words: str) -> None:
    assert relative(NOW - ago, NOW) == words


def test_a_day_is_told_in_utc() -> None:
    from datetime import timezone

    assert short_date(datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=2))), NOW) == "28 Feb"


def test_characters_that_hide_or_reorder_are_shown_by_number() -> None:
    assert visible("a\u202eb\u200bc\x00\ufeff") == "a⟨U+202E⟩b⟨U+200B⟩c⟨U+0000⟩⟨U+FEFF⟩"
    assert visible("tab\tand\nline, שלום, 👨\u200d👩\u200d👧") == "tab\tand\nline, שלום, 👨\u200d👩\u200d👧"


@given(st.text())
def test_the_block_is_shown_character_for_character(text: str) -> None:
    shown = html.unescape(re.sub(r"</?span[^>]*>", "", block_lines(text)))
    # Unescaping reads an escaped "&amp;lt;" once: what comes out is what went in.
    assert shown == text


def test_handles_in_the_block_stand_out() -> None:
    assert block_lines("<x>\n- F12 [goal] a <b>") == (
        '<span class="dim">&lt;x&gt;</span>\n- <span class="handle">F12</span> [goal] a &lt;b&gt;'
    )


def test_numbers_lose_the_zeros_of_their_column() -> None:
    assert [number(Decimal(text)) for text in ("500.0000000000", "12.5000000000", "0E-10", "1000")] == [
        "500", "12.5", "0", "1000",
    ]  # fmt: skip


def test_lists_are_told_as_people_do() -> None:
    assert [list_of([]), list_of(["a"]), list_of(["a", "b"]), list_of(["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert list_of(["<b>", "c"]) == "&lt;b&gt; and c"


def test_data_is_shown_as_it_is_kept() -> None:
    assert compact({"b": 1, "a": "ä"}) == '{\n  "a": "ä",\n  "b": 1\n}'


def turn(content: Any, **fields: Any) -> Turn:
    return Turn(content=content, **fields)


def test_a_turn_is_told_in_the_order_it_was_sent() -> None:
    parts = parts_of(
        turn(
            [
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "c1", "name": "find", "input": {"b": 2, "a": 1}},
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "found"}]},
                {"type": "tool_result", "tool_use_id": "c2", "content": "no", "is_error": True},
                {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
                {"type": "search_result", "title": "x"},
            ]
        )
    )
    assert parts == [
        Part("text", "Let me look."),
        Part("call", '{\n  "a": 1,\n  "b": 2\n}', "calls find"),
        Part("result", "found", "result of c1"),
        Part("result", "no", "failed result of c2"),
        Part("media", "https://example.org/a.png", "image"),
        Part("result", '{\n  "title": "x",\n  "type": "search_result"\n}', "search result"),
    ]


def test_a_tool_turn_given_in_fields_is_told_too() -> None:
    parts = parts_of(turn("", tool_name="find", tool_input={"q": 1}, tool_result={"n": 2}))
    assert [part.label for part in parts] == ["calls find", "result of find"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["type", "text", "content", "source", "input"]), inner)
        ),
    )
)
def test_whatever_was_stored_can_be_shown(content: Any) -> None:
    assert all(isinstance(part.text, str) for part in parts_of(turn(content)))
