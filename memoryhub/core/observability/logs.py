"""JSON logs that tell what happened and never what anybody said.

Our own lines have an event (a fixed name) and fields from a list of known ones; anything else is dropped and named in
`dropped`. Exceptions are told by type and place, not by message: a message may quote what a person wrote. Lines of
other libraries keep the template of their message, without what was put into it.
"""

import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from structlog.typing import EventDict, WrappedLogger

from memoryhub.core.observability.requests import current_request_id

# The fields a line may carry. All of them are ids, codes, numbers or names from our own code.
FIELDS = frozenset(
    {
        # who and where
        "agent", "command", "erasure", "key", "process", "request_id", "role", "session", "store", "subject", "task",
        "user", "workspace",
        # a request
        "method", "route", "status",
        # a piece of work
        "action", "attempt", "attempts", "batch", "bytes", "count", "degraded", "elapsed_s", "extraction", "fact",
        "first_index", "kind", "last_index", "lines", "model", "ms", "outcome", "part", "pending", "queue", "reason",
        "recall", "retry_s", "rows", "state", "tokens", "turns", "version",
        # the house
        "address", "check", "exit_code", "migration", "pid", "port", "setting", "signal", "table", "url",
    }
)  # fmt: skip
ADDED_HERE = frozenset({"event", "level", "logger", "timestamp", "exception", "dropped", "at"})

LONGEST = 200  # characters of a value
EVENT = re.compile(r"[a-z][a-z0-9_.]{0,63}\Z")
# No white space, so no sentence; routes, URLs, ids and codes all fit.
PLAIN = re.compile(r"[\x21-\x7e]{0,200}\Z")
# Libraries whose messages speak of processes and connections only, and are worth reading whole.
TRUSTED_LOGGERS = ("gunicorn.error", "psycopg.pool")
FRAMES = 12


def logging_config(*, level: str = "INFO", messages: bool = False) -> dict[str, Any]:
    """The value of Django's LOGGING: one JSON object a line on standard error. Sets structlog up to feed it.

    `messages` lets exceptions and other libraries' lines through whole. They may quote content: for development only.
    """
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    exceptions = ExceptionPlace(messages=messages)
    ours: list[Any] = [
        structlog.stdlib.filter_by_level,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        stamp,
        add_request_id,
        exceptions,
        known_fields_only,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ]
    structlog.configure(
        processors=ours,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    foreign: list[Any] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        stamp,
        add_request_id,
        exceptions,
    ]
    if not messages:
        foreign.append(template_only)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": foreign,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(sort_keys=True),
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": level, "propagate": True},
            # The access line says it already, with the route instead of the path.
            "django.request": {"level": "ERROR"},
            "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            # These write requests, with their bodies, below WARNING.
            "anthropic": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},
            "httpcore2": {"level": "WARNING"},
            "gunicorn.access": {"level": "CRITICAL"},
            # A line for every task; what our tasks do they log themselves.
            "django-q": {"level": "WARNING"},
        },
    }


def log_fields(**fields: Any) -> None:
    """Put `fields` on every later line of the running request or task, its access line included."""
    structlog.contextvars.bind_contextvars(**fields)


def add_request_id(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    request_id = current_request_id()
    if request_id:
        line["request_id"] = request_id
    return line


def known_fields_only(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Drop every field that is not known or whose value could be content, and say which were dropped."""
    dropped = []
    for key in list(line):
        if key.startswith("_") or key in ADDED_HERE:
            continue
        if key not in FIELDS or not _plain(line[key]):
            del line[key]
            # A key is a name in our code unless it came from a dict that somebody splatted.
            dropped.append(key if EVENT.match(key) else "?")
    if not EVENT.match(str(line.get("event", ""))):
        line["event"] = "unnamed"
        dropped.append("event")
    if dropped:
        line["dropped"] = sorted(dropped)
    for key in FIELDS & line.keys():
        line[key] = _json_ready(line[key])
    return line


def template_only(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Another library's line: its template, and where it was written, but not what was filled in."""
    record: logging.LogRecord = line["_record"]
    line["at"] = f"{_short(record.pathname)}:{record.lineno}"
    if record.name == "django.request":
        line["event"] = "request_failed"
    elif record.name in TRUSTED_LOGGERS:
        line["event"] = str(line["event"]).splitlines()[0][:LONGEST] if line["event"] else ""
    elif isinstance(record.msg, str) and line["event"] != record.msg:
        line["event"] = record.msg[:LONGEST]
    else:
        # Nothing tells a fixed text from one with content formatted into it.
        line["event"] = "message_withheld"
    return line


class ExceptionPlace:
    """Replaces a traceback by the exception's type, its place in the code, and what Postgres says without values."""

    def __init__(self, *, messages: bool) -> None:
        self.messages = messages

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        error = _exception_of(line.pop("exc_info", None))
        line.pop("stack_info", None)
        if error is not None:
            line["exception"] = [self._told(link) for link in _chain(error)]
        return line

    def _told(self, error: BaseException) -> dict[str, Any]:
        frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
        told: dict[str, Any] = {
            "type": f"{type(error).__module__}.{type(error).__qualname__}",
            "frames": [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames],
        }
        # Of a database error these name our own schema; its message and detail would quote the row.
        for key, value in (
            ("sqlstate", getattr(error, "sqlstate", None)),
            ("table", getattr(getattr(error, "diag", None), "table_name", None)),
            ("constraint", getattr(getattr(error, "diag", None), "constraint_name", None)),
        ):
            if value:
                told[key] = value
        if self.messages:
            told["message"] = str(error)
        return told


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _exception_of(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1]
    return sys.exc_info()[1] if exc_info else None


def _short(path: str) -> str:
    """The last three parts: enough to find the file, nothing about the machine."""
    return "/".join(Path(path).parts[-3:])


def _plain(value: Any) -> bool:
    if value is None or isinstance(value, bool | int | float | Decimal | UUID | datetime):
        return True
    if isinstance(value, str):
        return bool(PLAIN.match(value))
    if isinstance(value, list | tuple | set | frozenset):
        return len(value) <= 20 and all(not isinstance(item, Mapping) and _plain(item) for item in value)
    return False


def _json_ready(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_json_ready(item) for item in value]
    return value
