"""The shape that a model's answer is held to. It names no source, subject, workspace or actor: the hub says those."""

import json
from collections.abc import Collection
from decimal import Decimal
from typing import Annotated, Any, Literal, NoReturn

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    WithJsonSchema,
)

from facts.models import FactType

SPECIAL_CATEGORIES = (
    "ethnic_origin",
    "political_opinion",
    "religion_or_belief",
    "trade_union_membership",
    "genetic_data",
    "biometric_data",
    "health",
    "sex_life_or_orientation",
)
"""GDPR art. 9(1), as a fact is labelled with it."""


def _exact(number: object) -> object:
    """A JSON number as it was read: whole ones arrive as int, others as Decimal; nothing else is one."""
    if number is None or (isinstance(number, int | Decimal) and not isinstance(number, bool)):
        return number
    raise ValueError("not a number")


Number = Annotated[
    Decimal | None,
    BeforeValidator(_exact),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]}),
]
Share = Annotated[Decimal, BeforeValidator(_exact), WithJsonSchema({"type": "number"})]


class StatedFact(BaseModel):
    """One fact of an answer. Every field is required: what does not apply is null, empty, false or "none"."""

    model_config = ConfigDict(extra="forbid")

    turn_index: StrictInt
    quote: StrictStr
    type: Literal["preference", "decision", "constraint", "goal", "entity"]
    entity: StrictStr
    attribute: StrictStr
    content: StrictStr
    value: Number
    unit: StrictStr
    mentions: list[StrictStr]
    confidence: Share
    replaces: StrictStr
    coexists: StrictBool
    special_category: Literal[
        "none",
        "ethnic_origin",
        "political_opinion",
        "religion_or_belief",
        "trade_union_membership",
        "genetic_data",
        "biometric_data",
        "health",
        "sex_life_or_orientation",
    ]


class Answer(BaseModel):
    """A whole answer."""

    model_config = ConfigDict(extra="forbid")

    facts: list[StatedFact]


class AnswerUnreadable(Exception):
    """The answer is no JSON."""


class SchemaViolated(Exception):
    """The answer is JSON of another shape. `fields` names where, never what stood there."""

    def __init__(self, fields: Collection[str]) -> None:
        super().__init__(", ".join(sorted(fields)[:10]))
        self.fields = frozenset(fields)


def read_answer(text: str) -> Answer:
    """The answer in `text`. Raises AnswerUnreadable or SchemaViolated; never gives back a part of one."""
    try:
        data = json.loads(text, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise AnswerUnreadable from None
    try:
        return Answer.model_validate(data)
    except ValidationError as error:
        # A name that the model made up may be anything.
        known = {*StatedFact.model_fields, *Answer.model_fields}
        raise SchemaViolated(
            {
                ".".join(str(part) if isinstance(part, int) or part in known else "?" for part in one["loc"])
                for one in error.errors(include_url=False, include_context=False, include_input=False)
            }
        ) from None


def answer_schema() -> dict[str, Any]:
    """The JSON schema of an answer, before a provider's own adjustments."""
    return Answer.model_json_schema()


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


if {*StatedFact.model_fields["type"].annotation.__args__} != {*FactType.values}:  # type: ignore[union-attr]
    raise AssertionError("the types an answer may name are those of facts")
