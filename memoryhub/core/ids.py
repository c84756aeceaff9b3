"""Identifiers made in Python, so that Postgres 15 suffices."""

from uuid import UUID

from uuid_utils import compat


def uuid7() -> UUID:
    """A time-ordered id (RFC 9562, version 7) for rows whose age is no secret."""
    return compat.uuid7()
