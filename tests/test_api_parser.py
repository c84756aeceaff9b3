"""The strict JSON parser: whatever bytes come, it gives an object that can be kept, or a refusal that says where."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memoryhub.api.errors import FieldRefused, Malformed
from memoryhub.api.rendering import MAX_DEPTH, Renderer, parse_object

KEEPABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | KEEPABLE,
    lambda inner: st.lists(inner) | st.dictionaries(KEEPABLE, inner),
    max_leaves=20,
)
UNFIT = st.sampled_from(["a\x00", "\ud83d", "\udc00 b", float("nan"), float("inf"), float("-inf")])


def holds_only_what_can_be_kept(value: Any) -> bool:
    if isinstance(value, dict):
        return all(holds_only_what_can_be_kept(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return all(holds_only_what_can_be_kept(part) for part in value)
    if isinstance(value, str):
        return "\x00" not in value and value.encode("utf-8", "replace").decode() == value
    return not isinstance(value, float) or math.isfinite(value)


@given(st.dictionaries(KEEPABLE, VALUES), st.booleans())
def test_an_object_that_can_be_kept_comes_through_unchanged(body: dict[str, Any], ascii_only: bool) -> None:
    parsed = parse_object(json.dumps(body, ensure_ascii=ascii_only).encode())
    assert parsed == body
    assert parse_object(Renderer().render(parsed)) == body


@given(st.binary())
@example(b'{"a":' * 100_000)
@example(b'{"a": ' + b"1" * 10_000 + b"}")
@example(b'{"a": "\\ud800\\ud800"}')
@example(b'{"a": "\\ud83d\\ude00"}')
@example(b'{"\\u0000": 1}')
@example(b'{"a": -Infinity, "a": 1}')
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    try:
        parsed = parse_object(raw)
    except (Malformed, FieldRefused) as refusal:
        assert refusal.message
    else:
        assert holds_only_what_can_be_kept(parsed)


@given(st.lists(st.one_of(st.integers(0, 3), st.sampled_from("abc")), max_size=10), UNFIT)
def test_what_cannot_be_kept_is_named_by_its_path(way: list[int | str], unfit: Any) -> None:
    body: Any = unfit
    path = ""
    for step in reversed(way):
        body = {step: body} if isinstance(step, str) else [*range(step), body]
        path = (f".{step}" if isinstance(step, str) else f"[{step}]") + path
    with pytest.raises(FieldRefused) as refusal:
        parse_object(json.dumps({"field": body}).encode())
    assert list(refusal.value.fields) == [f"field{path}"]


@pytest.mark.parametrize(("levels", "kept"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_depth_has_a_limit(levels: int, kept: bool) -> None:
    raw = b'{"a":' * levels + b"1" + b"}" * levels
    if kept:
        parse_object(raw)
    else:
        with pytest.raises(FieldRefused):
            parse_object(raw)


def test_a_refusal_never_repeats_the_body() -> None:
    with pytest.raises(Malformed) as refusal:
        parse_object(b'{"secret": "I live in Lisbon"')
    assert "Lisbon" not in refusal.value.message
