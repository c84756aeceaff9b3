"""The leaf hash: fixed for good, the same for everybody, different for every change."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import EntryRefused
from audit.ids import entry_id, first_id
from audit.integrity import canonical_form, canonical_json, commitment, leaf_hash
from audit.shapes import LARGEST, instant, number


@dataclass(frozen=True)
class PlainEntry:
    """An entry outside the database: the leaf depends on nothing else."""

    id: UUID = UUID("0199f6a1-3c00-7abc-8def-0123456789ab")
    workspace_id: UUID = UUID("0199f6a0-0000-7000-8000-000000000001")
    at: datetime = datetime(2026, 3, 1, 9, 30, 0, 250, tzinfo=UTC)
    actor_kind: str = "agent"
    actor_id: str = "0199f6a0-0000-7000-8000-0000000000aa"
    credential: str = "mh_1a2b3c4d"
    action: str = "memory.surfaced"
    object_kind: str = "recall"
    object_id: str = "0199f6a1-3bff-7000-8000-0000000000cc"
    subject_id: UUID | None = UUID("5f0c7a52-8f5e-4b57-9a37-3f6f0d3e7d10")
    session_id: UUID | None = None
    request_id: str = "req-00000001"
    outcome: str = "degraded"
    reason: str = ""
    data: dict[str, Any] = field(
        default_factory=lambda: {
            "recall_id": "0199f6a1-3bff-7000-8000-0000000000cc",
            "items": [{"kind": "fact", "rank": 1, "score": 0.8125}, {"kind": "turn", "rank": 2, "score": 0.0001}],
            "degraded": ["semantic"],
            "top_k": 5,
            "score_threshold": 1,
            "reused": False,
        }
    )
    schema: int = 1


GOLDEN_FORM = (
    '{"action":"memory.surfaced","actor_id":"0199f6a0-0000-7000-8000-0000000000aa","actor_kind":"agent",'
    '"at":"2026-03-01T09:30:00.000250Z","credential":"mh_1a2b3c4d","data":{"degraded":["semantic"],'
    '"items":[{"kind":"fact","rank":1,"score":0.8125},{"kind":"turn","rank":2,"score":0.0001}],'
    '"recall_id":"0199f6a1-3bff-7000-8000-0000000000cc","reused":false,"score_threshold":1,"top_k":5},'
    '"id":"0199f6a1-3c00-7abc-8def-0123456789ab","object_id":"0199f6a1-3bff-7000-8000-0000000000cc",'
    '"object_kind":"recall","outcome":"degraded","reason":"","request_id":"req-00000001","schema":1,'
    '"session_id":null,"subject_id":"5f0c7a52-8f5e-4b57-9a37-3f6f0d3e7d10",'
    '"workspace_id":"0199f6a0-0000-7000-8000-000000000001"}'
)


def test_the_canonical_form_and_the_leaf_never_change():
    entry = PlainEntry()
    assert canonical_form(entry).decode() == GOLDEN_FORM
    assert leaf_hash(entry).hex() == "9635d84175564c2b01b99cf7a3263dc76e331566b764379b5173fb3fe562d903"


def test_a_bare_entry_has_a_fixed_leaf_too():
    bare = PlainEntry(
        actor_kind="system",
        actor_id="indexer",
        credential="",
        action="demo.loaded",
        object_kind="",
        object_id="",
        subject_id=None,
        request_id="",
        outcome="ok",
        data={},
    )
    assert leaf_hash(bare).hex() == "3337c10ed3cbb8bf39aee5902aaa650a3a47334aaa8ecab4aa78eea9d9a4fba0"


def test_an_unknown_schema_is_never_guessed():
    with pytest.raises(ValueError, match="schema 2"):
        leaf_hash(replace(PlainEntry(), schema=2))


@pytest.mark.parametrize(
    "change",
    [
        {"id": UUID("0199f6a1-3c00-7abc-8def-0123456789ac")},
        {"workspace_id": UUID("0199f6a0-0000-7000-8000-000000000002")},
        {"at": datetime(2026, 3, 1, 9, 30, 0, 251, tzinfo=UTC)},
        {"actor_kind": "user"},
        {"actor_id": "0199f6a0-0000-7000-8000-0000000000ab"},
        {"credential": ""},
        {"action": "memory.previewed"},
        {"object_kind": "fact"},
        {"object_id": "1"},
        {"subject_id": None},
        {"session_id": UUID("0199f6a0-0000-7000-8000-000000000003")},
        {"request_id": "req-00000002"},
        {"outcome": "ok"},
        {"reason": "outdated"},
        {"data": {}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_column_is_under_the_leaf(change):
    assert leaf_hash(replace(PlainEntry(), **change)) != leaf_hash(PlainEntry())


def test_the_same_instant_in_another_zone_is_the_same_entry():
    elsewhere = PlainEntry().at.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert leaf_hash(replace(PlainEntry(), at=elsewhere)) == leaf_hash(PlainEntry())


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(EntryRefused):
        instant(datetime(2026, 3, 1))


# What the shapes let through, in any nesting.
keys = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
strings = st.from_regex(r"[A-Za-z0-9._:/+-]{0,40}", fullmatch=True)
numbers = st.one_of(
    st.integers(-LARGEST, LARGEST),
    st.floats(-float(LARGEST), float(LARGEST)).map(lambda value: number(value, "x")),
    st.floats(-2, 2).map(lambda value: number(value, "x")),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), strings, numbers),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(keys, inner, max_size=5)),
    max_leaves=20,
)


@given(values)
def test_canonical_json_is_rfc_8785(value):
    assert canonical_json(value) == rfc8785.dumps(value)


@given(values)
def test_reading_canonical_json_and_writing_it_again_gives_the_same_bytes(value):
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_a_number_is_rounded_once_and_for_all(value):
    assert number(number(value, "x"), "x") == number(value, "x")


def test_negative_zero_and_whole_numbers_are_integers():
    assert canonical_json([number(-0.0, "x"), number(-0.00001, "x"), number(3.0, "x")]) == b"[0,0,3]"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, -1e16, "1", True, None])
def test_what_is_no_plain_number_is_refused(value):
    with pytest.raises(EntryRefused):
        number(value, "score")


moments = st.datetimes(
    min_value=datetime(1970, 1, 1),
    max_value=datetime(9999, 12, 31),
    timezones=st.just(UTC),
)


@given(moments, moments)
def test_entry_ids_sort_by_time_to_the_microsecond(one, other):
    if one < other:
        assert entry_id(one) < first_id(other)
    assert first_id(one) <= entry_id(one)
    assert entry_id(one).version == 7
    assert entry_id(one).int >> 80 == (one - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def test_a_commitment_is_hmac_and_tells_nothing_without_its_salt():
    salt = bytes(range(32))
    assert commitment(salt, b"prefers tea") == "3349e52260f5c7083e39495b76623115e1f0e17f92f34113e6d0a9eb457dafbe"
    assert commitment(salt, b"prefers tea") != commitment(bytes(32), b"prefers tea")
    assert commitment(salt, b"prefers tea") != hashlib.sha256(b"prefers tea").hexdigest()
