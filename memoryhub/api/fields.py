"""Fields of request bodies. They take JSON as it was meant: a number is not a string, a string is not a flag."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from sessions.content import ContentError, MessageContent, compact_json, read_content

ID_CHARACTERS = 256
METADATA_BYTES = 16_000
FUTURE = timedelta(days=1)
"""How far ahead of ours a caller's clock may be."""
POSTGRES_INT = 2**31 - 1

CANONICAL_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\Z", re.ASCII)
VALUE = re.compile(r"-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?\Z", re.ASCII)
SPACE_FOR_PLUS = re.compile(r" (?=\d\d:?\d\d\Z)")


class Text(serializers.CharField):
    """A string, kept as it came. Not blank: white space alone is nothing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if not self.allow_blank and not data.strip():
            self.fail("blank")
        return data


class ExternalId(Text):
    """A caller's own id for a person, a session or a turn."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=ID_CHARACTERS, **kwargs)


class Whole(serializers.IntegerField):
    """A JSON number without a fraction."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer():
            data = int(data)
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class Number(serializers.FloatField):
    """A finite JSON number."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        try:
            return float(data)
        except OverflowError:
            self.fail("invalid")


class Uuid(serializers.UUIDField):
    """An id as it was given out: neither a number nor one of the other spellings that Python would take."""

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str) or not CANONICAL_UUID.match(data):
            self.fail("invalid", value=data)
        return UUID(data)


class Flag(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class OneOf(serializers.ChoiceField):
    """One of a few words; the refusal lists them."""

    def __init__(self, choices: Any, **kwargs: Any) -> None:
        super().__init__(choices, **kwargs)
        self.error_messages["invalid_choice"] = "Not one of " + ", ".join(str(choice) for choice in self.choices) + "."

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or data not in self.choices:
            self.fail("invalid_choice", input=data)
        return data


class Timestamp(serializers.DateTimeField):
    """A moment in ISO 8601 with its zone: `2026-03-01T09:30:00Z`. Becomes UTC."""

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str):
            raise serializers.ValidationError("Send the time as a string in ISO 8601, such as 2026-03-01T09:30:00Z.")
        try:
            # In a query string a bare + arrives as a space.
            moment = datetime.fromisoformat(SPACE_FOR_PLUS.sub("+", value))
        except ValueError:
            raise serializers.ValidationError("Not a time in ISO 8601, such as 2026-03-01T09:30:00Z.") from None
        if moment.tzinfo is None:
            raise serializers.ValidationError("The time needs a zone: end it with Z or an offset such as +01:00.")
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            raise serializers.ValidationError("The time is outside the years 1 to 9999.") from None


class PastTimestamp(Timestamp):
    """A moment that is not in the future, but for clocks that differ."""

    def to_internal_value(self, value: Any) -> datetime:
        moment = super().to_internal_value(value)
        if moment > timezone.now() + FUTURE:
            raise serializers.ValidationError("The time is more than a day in the future.")
        return moment


@extend_schema_field(
    {
        "oneOf": [
            {"type": "number"},
            {"type": "string", "pattern": r"^-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?$"},
        ],
        "description": "A finite number, or the same as a string where a float would lose digits: "
        "up to 20 digits before the point and 10 behind it.",
    }
)
class Value(serializers.DecimalField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=30, decimal_places=10, **kwargs)

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, int | float | str):
            self.fail("invalid")
        if isinstance(data, str) and not VALUE.match(data):
            self.fail("invalid")
        try:
            number: Decimal = super().to_internal_value(data)
        except ValueError:
            # More digits than Python writes.
            self.fail("invalid")
        return number


@extend_schema_field(OpenApiTypes.OBJECT)
class Metadata(serializers.Field[dict[str, Any], Any, Any, Any]):
    """An object of the caller's own, kept and never interpreted."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            raise serializers.ValidationError("Must be an object.")
        size = len(compact_json(data).encode())
        if size > METADATA_BYTES:
            raise serializers.ValidationError(f"Larger than {METADATA_BYTES} bytes ({size}).")
        return dict(data)

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(OpenApiTypes.OBJECT)
class JsonObject(serializers.Field[dict[str, Any], Any, Any, Any]):
    """Any JSON object."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            raise serializers.ValidationError("Must be an object.")
        return dict(data)

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "minLength": 1},
            {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {"type": {"type": "string"}},
                    "required": ["type"],
                    "additionalProperties": {},
                },
            },
        ],
        "description": "Text, or Messages API content blocks (`text`, `tool_use`, `tool_result`, `image` and "
        "`document` by reference, `search_result`), kept as sent. `thinking` blocks are dropped.",
    }
)
class Content(serializers.Field[MessageContent, Any, Any, Any]):
    """A message's content."""

    def to_internal_value(self, data: Any) -> MessageContent:
        if not isinstance(data, str | list):
            raise serializers.ValidationError("Must be a string or a list of content blocks.")
        if not data or (isinstance(data, str) and not data.strip()):
            raise serializers.ValidationError("The message is empty.")
        try:
            return read_content(data)
        except ContentError as error:
            raise serializers.ValidationError({error.path: [error.message]}) from None

    def to_representation(self, value: Any) -> Any:
        return value
