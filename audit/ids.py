"""Entry ids that carry the entry's time to the microsecond, so that one index serves order and period alike."""

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RANDOM_BITS = 62


def entry_id(at: datetime) -> UUID:
    """A UUIDv7 (RFC 9562, with sub-millisecond time in `rand_a`) whose order is the order of `at`."""
    return UUID(int=_floor(at) | secrets.randbits(_RANDOM_BITS))


def first_id(at: datetime) -> UUID:
    """The smallest id an entry written at `at` or later can have."""
    return UUID(int=_floor(at))


def _floor(at: datetime) -> int:
    micros = max((at - _EPOCH) // timedelta(microseconds=1), 0)
    millis, rest = divmod(micros, 1000)
    # 1,000 microseconds spread over 12 bits, each keeping a value of its own.
    fraction = (rest << 12) // 1000
    return (millis << 80) | (0x7 << 76) | (fraction << 64) | (0b10 << 62)
