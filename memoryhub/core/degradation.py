"""Going on without a part: the loss is a value that travels to the answer, the page and the audit entry."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Unavailable(Exception):
    """A part cannot be had now. Adapters translate their failures into a subclass of this.

    `cause` is a short code (lower case letters, digits, `_`): it is logged and counted, so it never holds content.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Degraded(list[str]):
    """The names of the parts that were left out, each once, in the order they failed."""

    def add(self, part: str) -> None:
        if part not in self:
            self.append(part)


def attempt(
    part: str,
    call: Callable[[], T],
    *,
    fallback: T,
    degraded: Degraded,
    catching: type[Unavailable] | tuple[type[Unavailable], ...] = Unavailable,
) -> T:
    """`call()`, or `fallback` with `part` noted in `degraded` when it raises `catching`. Nothing else is caught."""
    try:
        return call()
    except catching:
        degraded.add(part)
        return fallback
