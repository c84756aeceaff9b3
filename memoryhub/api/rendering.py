"""JSON in and out, strictly: what cannot be stored or sent back as it came is refused where it is."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from memoryhub.api.errors import FieldRefused, Malformed, TooLarge

MEDIA_TYPE = "application/json"
MAX_DEPTH = 64
"""Levels of lists and objects in a body: more than any message has, fewer than any JSON library gives up at."""
MAX_VALUES = 200_000
"""Values in a body: as Python's objects each takes some thirty times the two bytes that it can be sent in."""
# A string that is never closed ends with the body, so that no quotation mark is looked at twice.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


class Unfit(Exception):
    """A value that cannot be kept; `path` is put together on the way up."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path = ""


class Parser(BaseParser):
    """A JSON object of at most MAX_BODY_BYTES, or fewer where the caller's workspace says so, in UTF-8.

    Refuses NaN and infinite numbers, NUL characters, lone surrogates and more than MAX_DEPTH levels, naming the field,
    and more than MAX_VALUES values.
    """

    media_type = MEDIA_TYPE

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        caller = getattr((parser_context or {}).get("request"), "auth", None)
        limit = caller.policy.body_bytes(settings.MAX_BODY_BYTES) if caller else settings.MAX_BODY_BYTES
        # What was announced is refused unread; what was not is read as far as the limit.
        raw = stream.read(limit + 1) if _announced(parser_context) <= limit else None
        if raw is None or len(raw) > limit:
            raise TooLarge(f"The body is larger than {limit} bytes.")
        return parse_object(raw)


def parse_object(raw: bytes) -> dict[str, Any]:
    """`raw` read as a JSON object that can be kept. Raises Malformed, FieldRefused or TooLarge."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8 (byte {error.start}).") from None
    if _values(raw) > MAX_VALUES and _values(_STRINGS.sub(b"", raw)) > MAX_VALUES:
        raise TooLarge(f"The body holds more than {MAX_VALUES} values.")
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    except RecursionError:
        raise Malformed(f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    except ValueError:
        # Python refuses integers of more than 4,300 digits.
        raise Malformed("The body holds a number with too many digits.") from None
    if not isinstance(body, dict):
        raise Malformed("The body is not a JSON object.")
    try:
        # Characters that cannot be kept reach a parsed string only through escapes.
        _check(body, characters="\\u" in text, depth=0)
    except Unfit as error:
        raise FieldRefused(error.path.removeprefix(".") or "body", error.message) from None
    return body


class Renderer(BaseRenderer):
    """Compact JSON in UTF-8."""

    media_type = MEDIA_TYPE
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        if data is None:
            return b""
        return json.dumps(data, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class AlwaysJson(BaseContentNegotiation):
    """Answers are JSON whatever `Accept` says: an error is of more use than a 406. Bodies must say that they are."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == media_type), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return next(iter(renderers)), MEDIA_TYPE


def _announced(parser_context: Mapping[str, Any] | None) -> int:
    """The Content-Length that came with the request, 0 when there is none."""
    request = (parser_context or {}).get("request")
    length = request.META.get("CONTENT_LENGTH", "") if request is not None else ""
    return int(length) if length.isdecimal() else 0


def _values(raw: bytes) -> int:
    """How many values `raw` holds at most; commas and brackets inside strings count as well."""
    return 1 + raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def _check(value: Any, *, characters: bool, depth: int) -> None:
    """Raise Unfit for the first part of `value` that cannot be kept. Strings are looked at only if `characters`."""
    if isinstance(value, str):
        if characters:
            _check_text(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Unfit("A number must be finite.")
    elif isinstance(value, dict):
        if depth >= MAX_DEPTH:
            raise Unfit(f"Nested deeper than {MAX_DEPTH} levels.")
        for key, inner in value.items():
            if characters:
                _check_text(key, "A key")
            try:
                _check(inner, characters=characters, depth=depth + 1)
            except Unfit as error:
                error.path = f".{key:.80}{error.path}"
                raise
    elif isinstance(value, list):
        if depth >= MAX_DEPTH:
            raise Unfit(f"Nested deeper than {MAX_DEPTH} levels.")
        for position, inner in enumerate(value):
            try:
                _check(inner, characters=characters, depth=depth + 1)
            except Unfit as error:
                error.path = f"[{position}]{error.path}"
                raise


def _check_text(text: str, what: str = "Text") -> None:
    if "\x00" in text:
        raise Unfit(f"{what} must not hold a NUL character.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unfit(f"{what} must not hold half of a surrogate pair.") from None


def _plain(value: Any) -> Any:
    """What the standard library does not write."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} has no JSON form")
