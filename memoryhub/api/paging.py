"""Cursors: opaque to the caller, so that what they are made of may change."""

import base64
import binascii
from uuid import UUID

from memoryhub.api.errors import FieldRefused

MAX_PAGE = 100
PAGE = 50


def cursor_after(*parts: object) -> str:
    """The cursor of the page that begins after the row whose sort key is `parts`."""
    return base64.urlsafe_b64encode("|".join(map(str, parts)).encode()).decode().rstrip("=")


def cursor_parts(cursor: str, count: int) -> list[str]:
    """What `cursor_after` was given. Raises FieldRefused for a cursor that was not made here."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        parts = base64.b64decode(padded, altchars=b"-_", validate=True).decode().split("|")
    except (UnicodeError, binascii.Error):
        parts = []
    if len(parts) != count:
        raise refused()
    return parts


def cursor_id(cursor: str) -> UUID:
    """The id in a cursor that is made of one."""
    try:
        return UUID(cursor_parts(cursor, 1)[0])
    except ValueError:
        raise refused() from None


def cursor_number(cursor: str) -> int:
    """The number in a cursor that is made of one."""
    digits = cursor_parts(cursor, 1)[0]
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 10):
        raise refused()
    return int(digits)


def refused() -> FieldRefused:
    return FieldRefused("cursor", "This is not a cursor that a page of this list gave.")
