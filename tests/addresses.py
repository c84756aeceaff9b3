"""Every address that the URL resolver knows, and a way to fill in its parameters."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.urls import URLPattern, URLResolver, get_resolver


@dataclass(frozen=True)
class Address:
    name: str
    route: str
    """With its parameters as {name}."""
    view: Any

    @property
    def is_api(self) -> bool:
        return self.route.startswith("/api/v1/") or self.route == "/mcp"

    def at(self, ids: Mapping[str, str]) -> str:
        """Parameters that `ids` lacks lead nowhere."""
        return re.sub(
            r"\{(\w+)\}", lambda found: ids.get(found[1], "999999" if found[1] == "pk" else str(uuid4())), self.route
        )


def addresses() -> list[Address]:
    return list(_below(get_resolver().url_patterns, "/"))


def _below(patterns: Sequence[Any], before: str) -> Iterator[Address]:
    for one in patterns:
        text = re.sub(r"\(\?P<(\w+)>[^)]*\)|<(?:\w+:)?(\w+)>", lambda m: f"{{{m[1] or m[2]}}}", str(one.pattern))
        route = before + re.sub(r"\\(.)", r"\1", text).strip("^$")
        if isinstance(one, URLResolver):
            yield from _below(one.url_patterns, route)
        elif isinstance(one, URLPattern):
            yield Address(one.name or route, route, one.callback)
