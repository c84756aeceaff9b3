"""One circuit breaker for all workers of all processes: a row in the database.

After several failures of the provider in a row nobody asks it for a while; then exactly one worker does, and its answer
decides. What only a person can mend (a wrong key) opens it at once and is kept by name, for /readyz and the console.
Times are the database's: hosts need not agree on theirs.
"""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection

from facts.extraction.interface import BLOCKED, PROVIDER
from facts.models import ExtractorState
from memoryhub.core.observability import metrics

PROBE_SECONDS = 300  # after which a probe is given to another worker, if its own never came back nor a successor

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class Leave:
    """Permission to ask the provider. With `probe` it is the only one there is."""

    name: str
    probe: UUID | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How an extractor's provider stands. `blocked` is a code when a person has to act, `error` the last failure's."""

    state: State
    blocked: str
    error: str


def standing(name: str) -> Standing:
    with connection.cursor() as cursor:
        cursor.execute(
            "select case when open_until is null then 'closed' when open_until > now() then 'open'"
            " else 'half_open' end, blocked, error from facts_extractorstate where name = %s",
            [name],
        )
        row = cursor.fetchone()
    return Standing(*row) if row else Standing("closed", "", "")


def enter(name: str, *, worker: str = "") -> Leave | None:
    """Leave for `worker` to ask; None while the provider is left alone. A probe has to be reported or handed back."""
    now_is = standing(name).state
    if now_is == "closed":
        return Leave(name)
    if now_is == "open":
        return None
    token = uuid4()
    changed = _execute(
        "update facts_extractorstate set probe = %s, probe_by = %s, probe_until = now() + make_interval(secs => %s)"
        " where name = %s and open_until <= now() and (probe is null or probe_until <= now())",
        [token, worker, PROBE_SECONDS, name],
    )
    return Leave(name, token) if changed else None


def hand_back(leave: Leave) -> None:
    """The leave was not used."""
    if leave.probe is not None:
        _execute(
            "update facts_extractorstate set probe = null where name = %s and probe = %s", [leave.name, leave.probe]
        )


def report(leave: Leave, code: str = "", *, retry_after: float | None = None) -> None:
    """How a call with `leave` ended: '' or the code of its failure. What is wrong with one answer says nothing here."""
    if code in BLOCKED:
        ExtractorState.objects.get_or_create(name=leave.name)
        changed = _execute(
            "update facts_extractorstate set open_until = now() + make_interval(secs => %s), blocked = %s, error = %s,"
            " failures = 0, probe = null, changed_at = now() where name = %s",
            [settings.EXTRACT_BREAKER_SECONDS, code, code, leave.name],
        )
    elif code in PROVIDER:
        changed = _failed(leave, code, max(settings.EXTRACT_BREAKER_SECONDS, retry_after or 0.0))
    elif leave.probe is not None:
        changed = _execute(
            "update facts_extractorstate set open_until = null, failures = 0, probe = null, blocked = '',"
            " changed_at = now() where name = %s and probe = %s",
            [leave.name, leave.probe],
        )
    else:
        _execute("update facts_extractorstate set failures = 0 where name = %s and failures > 0", [leave.name])
        changed = 0
    if changed:
        metrics.breaker_changed("extractor", is_open=standing(leave.name).state != "closed")


def reset(name: str, *, worker: str = "") -> None:
    """`worker` has started, perhaps with another key: ask again soon. What was wrong stays named until it is mended.

    A probe of its predecessor, who died with it, is free again.
    """
    if worker:
        _execute("update facts_extractorstate set probe = null where name = %s and probe_by = %s", [name, worker])
    _execute(
        "update facts_extractorstate set open_until = now(), probe = null where name = %s and blocked <> ''", [name]
    )


def _failed(leave: Leave, code: str, pause: float) -> int:
    if leave.probe is not None:
        return _execute(
            "update facts_extractorstate set open_until = now() + make_interval(secs => %s), error = %s, blocked = '',"
            " probe = null, changed_at = now() where name = %s and probe = %s",
            [pause, code, leave.name, leave.probe],
        )
    ExtractorState.objects.get_or_create(name=leave.name)
    # A failure from before it opened says nothing about now, and must not prolong the pause.
    return _execute(
        "update facts_extractorstate set failures = failures + 1, error = %s, changed_at = now(),"
        " open_until = case when failures + 1 >= %s then now() + make_interval(secs => %s) end"
        " where name = %s and open_until is null",
        [code, settings.EXTRACT_BREAKER_FAILURES, pause, leave.name],
    )


def _execute(sql: str, parameters: list[Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)
