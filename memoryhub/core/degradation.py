"""Going on without a part: the loss is a value that travels to the answer, the page and the audit entry."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Unavailable(Exception):
    """A part cannot be had now. Adapters translate their failures into this; `cause` is a short code."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Degraded(list[str]):
    """The names of the parts that were left out, each once, in the order they failed."""

    def add(self, part: str) -> None:
        if part not in self:
            self.append(part)


def attempt(part: str, call: Callable[[], T], *, fallback: T, degraded: Degraded) -> T:
    """`call()`, or `fallback` with `part` noted in `degraded` when it raises Unavailable. Nothing else is caught."""
    try:
        return call()
    except Unavailable:
        degraded.add(part)
        return fallback
