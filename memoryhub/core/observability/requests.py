"""One id for everything that happens on behalf of one request: log lines, audit entries, the answer's header."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from memoryhub.core.ids import uuid7

# What a caller may choose: long enough to be unique, nothing that could break out of a log line or a header.
ACCEPTED = re.compile(r"[A-Za-z0-9._-]{8,64}\Z")

_current: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """The id of the request being served, '' outside of any."""
    return _current.get()


def accepted_or_new(offered: str | None) -> str:
    """`offered` when it is fit to be logged, else a fresh id."""
    return offered if offered and ACCEPTED.match(offered) else str(uuid7())


@contextmanager
def request_id_scope(request_id: str | None = None) -> Iterator[str]:
    """Everything inside carries this id. Workers open one for each task, with the id of the request that queued it."""
    token = _current.set(accepted_or_new(request_id))
    try:
        yield _current.get()
    finally:
        _current.reset(token)
