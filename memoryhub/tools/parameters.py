"""Parameters of tools: their JSON schema, and reading what a model wrote. Pure.

The schema holds only what models can be held to strictly (types, choices, no further keys); lengths and ranges are
checked when a call comes in, and a refusal says in a sentence what would be right.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Literal

LARGEST_VALUE = Decimal(10) ** 20
VALUE_STEP = Decimal("0.0000000001")
SHOWN = 40
"""Characters of what was sent that a refusal repeats."""


class BadInput(Exception):
    """What a model wrote cannot be read. The message says what to write instead."""


@dataclass(frozen=True)
class Parameter:
    """One parameter. `most` is the longest text, or the largest whole number, `least` the smallest."""

    name: str
    says: str
    kind: Literal["string", "integer", "number"] = "string"
    required: bool = False
    choices: tuple[str, ...] = ()
    least: int = 1
    most: int = 0

    def schema(self) -> dict[str, Any]:
        chosen = {"enum": list(self.choices)} if self.choices else {}
        return {"type": self.kind, **chosen, "description": self.says}

    def read(self, value: Any) -> str | int | Decimal:
        """`value` as the services take it. Raises BadInput."""
        if self.kind == "string":
            return self._text(value)
        return self._whole(value) if self.kind == "integer" else self._number(value)

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise BadInput(f"{self.name} has to be a string, not {_shown(value)}.")
        if self.choices and value not in self.choices:
            raise BadInput(f"{self.name} has to be one of {', '.join(self.choices)}, not {_shown(value)}.")
        if not value.strip():
            raise BadInput(f"{self.name} is empty.")
        if self.most and len(value) > self.most:
            raise BadInput(f"{self.name} is longer than {self.most} characters: shorten it.")
        return value

    def _whole(self, value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            raise BadInput(f"{self.name} has to be a whole number from {self.least} to {self.most}.")
        return value

    def _number(self, value: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadInput(f"{self.name} has to be a number such as 300 or 0.5, without its unit.")
        number = Decimal(str(value))
        if abs(number) >= LARGEST_VALUE:
            raise BadInput(f"{self.name} is too large to be kept as a number: leave it out.")
        return number.quantize(VALUE_STEP, rounding=ROUND_HALF_EVEN)


def input_schema(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The JSON schema of an input with these parameters and no others."""
    return {
        "type": "object",
        "properties": {one.name: one.schema() for one in parameters},
        "required": [one.name for one in parameters if one.required],
        "additionalProperties": False,
    }


def read_input(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, by name, for the parameters that were given; null counts as left out. Raises BadInput."""
    known = {one.name: one for one in parameters}
    unknown = [name for name in given if name not in known]
    if unknown:
        told = f"The parameters are {', '.join(known)}." if known else "It takes none."
        raise BadInput(f"There is no parameter {_shown(unknown[0])}. {told}")
    made = {name: known[name].read(value) for name, value in given.items() if value is not None}
    for one in parameters:
        if one.required and one.name not in made:
            raise BadInput(f"{one.name} is missing: {one.says}")
    return made


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
