"""What may stand in an entry: ids, numbers, codes and digests, never content.

Each shape turns a value into its canonical JSON form or refuses it. There is no shape for text: whoever needs to prove
a text later commits to it with a salt (`record(..., commit=…)`).

The canonical forms make `json.dumps(sort_keys=True)` produce exactly RFC 8785: keys and strings are printable ASCII
without quotes or backslashes, whole numbers are integers within ±(2^53 - 1), all others have at most four decimals.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from audit.errors import EntryRefused

DECIMALS = 4
LARGEST = 2**53 - 1

CODE = re.compile(r"[a-z][a-z0-9_.:-]{0,63}\Z")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,127}\Z")
DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class Shape(Protocol):
    def canonical(self, value: Any, at: str) -> Any:
        """`value` as it is stored and hashed; `at` names its place in the entry. Raises EntryRefused."""
        ...


def instant(value: datetime) -> str:
    """UTC with six decimals and `Z`: `2026-03-01T09:30:00.000250Z`. The one way a time is written in an entry."""
    if value.tzinfo is None:
        raise EntryRefused("a time in an audit entry needs a zone")
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def number(value: Any, at: str) -> int | float:
    """Rounded to four decimals, half to even; a whole number becomes an integer (so -0.0 becomes 0)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EntryRefused(f"{at} is not a number")
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise EntryRefused(f"{at} is not finite or too large")
    if isinstance(value, int):
        return value
    rounded = round(value, DECIMALS)
    return int(rounded) if rounded.is_integer() else rounded


@dataclass(frozen=True)
class Text:
    """A string of one fixed form; only used for forms that cannot hold a sentence."""

    pattern: re.Pattern[str]
    called: str

    def canonical(self, value: Any, at: str) -> str:
        if not isinstance(value, str) or not self.pattern.match(value):
            raise EntryRefused(f"{at} is not {self.called}")
        # A TextChoices member is a str whose JSON form must not depend on the enum.
        return str(value)


@dataclass(frozen=True)
class Uuid:
    def canonical(self, value: Any, at: str) -> str:
        if isinstance(value, UUID):
            return str(value)
        try:
            return str(UUID(value))
        except (ValueError, TypeError, AttributeError):
            raise EntryRefused(f"{at} is not a UUID") from None


@dataclass(frozen=True)
class Digest:
    """32 bytes, or their 64 hexadecimal digits."""

    def canonical(self, value: Any, at: str) -> str:
        if isinstance(value, bytes | memoryview):
            value = bytes(value).hex()
        return Text(DIGEST, "a SHA-256 digest").canonical(value, at)


@dataclass(frozen=True)
class Count:
    def canonical(self, value: Any, at: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST:
            raise EntryRefused(f"{at} is not a count")
        return value


@dataclass(frozen=True)
class Number:
    def canonical(self, value: Any, at: str) -> int | float:
        return number(value, at)


@dataclass(frozen=True)
class Flag:
    def canonical(self, value: Any, at: str) -> bool:
        if not isinstance(value, bool):
            raise EntryRefused(f"{at} is neither true nor false")
        return value


@dataclass(frozen=True)
class Instant:
    def canonical(self, value: Any, at: str) -> str:
        if not isinstance(value, datetime):
            raise EntryRefused(f"{at} is not a time")
        return instant(value)


@dataclass(frozen=True)
class OneOf:
    values: tuple[str, ...]

    def canonical(self, value: Any, at: str) -> str:
        if not isinstance(value, str) or value not in self.values:
            raise EntryRefused(f"{at} is none of {', '.join(self.values)}")
        return str(value)


@dataclass(frozen=True)
class Many:
    """A list of one shape."""

    of: Shape
    most: int = 1_000

    def canonical(self, value: Any, at: str) -> list[Any]:
        if isinstance(value, str | bytes) or not isinstance(value, Sequence) or len(value) > self.most:
            raise EntryRefused(f"{at} is not a list of at most {self.most}")
        return [self.of.canonical(item, f"{at}[{index}]") for index, item in enumerate(value)]


@dataclass(frozen=True)
class Record:
    """An object with known keys, all optional. A key whose value is None is left out."""

    keys: Mapping[str, Shape] = field(default_factory=dict)

    def canonical(self, value: Any, at: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise EntryRefused(f"{at} is not an object")
        unknown = sorted(str(key) for key in value if key not in self.keys)
        if unknown:
            raise EntryRefused(f"{at} may not hold {', '.join(unknown)}")
        return {key: self.keys[key].canonical(item, f"{at}.{key}") for key, item in value.items() if item is not None}


UUID_ = Uuid()
DIGEST_ = Digest()
COUNT = Count()
NUMBER = Number()
FLAG = Flag()
INSTANT = Instant()
CODE_ = Text(CODE, "a code: lower case letters, digits and _ . : -")
NAME_ = Text(NAME, "a name of a model or setting: letters, digits and . _ : / + -")
