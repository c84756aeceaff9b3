"""Every place of the API that takes free text, read out of its own description."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator

ANY = "any JSON"
UNBOUND = 4_000
KEY = 100


@dataclass(frozen=True)
class Field:
    """A part of a body: names and positions on the way to it, and how long a text may stand there."""

    path: tuple[str | int, ...]
    limit: int
    kind: str = "text"

    def __str__(self) -> str:
        shown = ".".join(str(one) for one in self.path if not isinstance(one, int))
        return shown if self.kind == "text" else f"{shown} ({self.kind})"

    def put(self, body: dict[str, Any], text: str) -> None:
        """Write `text` into `body`, in the shape that this place takes."""
        value: Any = text
        if self.kind == ANY:
            value = {text[:KEY]: text, "list": [text]}
        elif self.kind == "blocks":
            value = [
                {"type": "text", "text": text},
                {"type": "tool_use", "id": "call", "name": text[:KEY], "input": {text[:KEY]: text}},
            ]
        at: Any = body
        for here, following in zip(self.path, [*self.path[1:], None], strict=True):
            if following is None:
                if isinstance(at, list):
                    at[:] = [value]
                else:
                    at[here] = value
            elif isinstance(at, list):
                at = at[0]
            else:
                at = at.setdefault(here, [] if isinstance(following, int) else {})


@cache
def description() -> dict[str, Any]:
    made: dict[str, Any] = SchemaGenerator().get_schema(public=True)
    return made


def fields_of(route: str, method: str) -> list[Field]:
    """The free text of an operation's body; `route` as in the description."""
    operation = description()["paths"][route][method.lower()]
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        return []
    [body] = content.values()
    return list(dict.fromkeys(_free(body["schema"], (), "")))


def _free(schema: Mapping[str, Any], path: tuple[str | int, ...], name: str) -> Iterator[Field]:
    if "$ref" in schema:
        schema = description()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for one in ("allOf", "oneOf", "anyOf"):
        for part in schema.get(one, ()):
            yield from _free(part, path, name)
    kind = schema.get("type")
    if kind == "string" and not schema.keys() & {"enum", "format", "pattern"}:
        yield Field(path, min(schema.get("maxLength", UNBOUND), UNBOUND))
    elif kind == "array":
        items = schema["items"]
        if items.get("properties", {}).keys() == {"type"}:
            yield Field(path, UNBOUND, "blocks")
        else:
            yield from _free(items, (*path, 0), name)
    elif "properties" in schema:
        for inner, part in schema["properties"].items():
            yield from _free(part, (*path, inner), inner)
    elif path and (kind == "object" or not schema.keys() - {"description", "nullable", "readOnly", "title"}):
        yield Field(path, UNBOUND, ANY)


def filled(body: Mapping[str, Any], wanted: Mapping[Field, str]) -> dict[str, Any]:
    made = deepcopy(dict(body))
    for field, text in wanted.items():
        field.put(made, text)
    return made


def strings(value: Any) -> Iterator[str]:
    """Every text in parsed JSON, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def texts_of(body: bytes) -> set[str]:
    return set(strings(json.loads(body)))
