"""The state of the hub's parts: what /readyz, /metrics and the console's system page tell.

Degraded is not down: without its embedder, or with work waiting, the hub still answers. Only without a database, or
with one that was not migrated, is there nothing to serve.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models import Count, Min
from django.utils import timezone

from facts.extraction.extractors import extractor_state
from facts.extraction.windows import waiting_work
from facts.models import Extraction, ExtractionState
from memoryhub.access.models import Workspace
from memoryhub.core.embedding import breaker_state, last_failure
from memoryhub.core.search.models import Pending
from memoryhub.core.tenancy import in_workspace

# Work that waits longer than this is named as degraded: whoever does it has stopped or cannot keep up.
LATE = {"indexing": 30.0, "extraction": 600.0, "tasks": 120.0}  # seconds
FRESH = 2.0  # seconds for which one look at the queues serves every probe of a process


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much work waits, and for how many seconds the oldest piece of it has been due."""

    count: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Queues:
    """What waits in all workspaces, and how many windows are in which state of extraction."""

    waiting: Mapping[str, Waiting]
    extractions: Mapping[str, int]
    extractor: dict[str, Any]


def readiness() -> dict[str, dict[str, Any]]:
    """The state of each part, with `ok` in each. At most a handful of short queries."""
    missing = _missing_migrations()
    if missing is None:
        return {"database": {"ok": False}, "migrations": {"ok": False}, "embedder": embedder_state()}
    parts: dict[str, dict[str, Any]] = {
        "database": {"ok": True},
        "migrations": {"ok": not missing, "missing": missing},
        "embedder": embedder_state(),
    }
    if missing:
        return parts
    queues = queues_now()
    for name, waiting in queues.waiting.items():
        parts[name] = {
            "ok": waiting.oldest_s <= LATE[name],
            "waiting": waiting.count,
            "oldest_s": round(waiting.oldest_s, 1),
        }
    parts["extraction"]["dead_letters"] = queues.extractions.get(ExtractionState.DEAD.value, 0)
    parts["extractor"] = queues.extractor
    return parts


def queues_now() -> Queues:
    """What waits, at most FRESH seconds old, so that probes cost next to nothing however many there are."""
    global _last_look
    looked_at, queues = _last_look or (0.0, None)
    if queues is None or time.monotonic() - looked_at > FRESH:
        queues = look_at_queues()
        _last_look = (time.monotonic(), queues)
    return queues


_last_look: tuple[float, Queues] | None = None


def look_at_queues() -> Queues:
    """Row-level security shows one workspace at a time, so the workspaces are asked one after the other."""
    now = timezone.now()
    indexing, extraction = _Tally(now), _Tally(now)
    states: dict[str, int] = {state.value: 0 for state in ExtractionState}
    for workspace_id in Workspace.objects.values_list("id", flat=True):
        with in_workspace(workspace_id):
            indexing.add(Pending.objects.aggregate(count=Count("pk"), oldest=Min("since")))
            if settings.EXTRACTOR != "none":
                for count, oldest in waiting_work(workspace_id=workspace_id, now=now):
                    extraction.add({"count": count, "oldest": oldest})
            for state, count in Extraction.objects.values_list("state").annotate(count=Count("pk")):
                states[state] += count
    return Queues(
        waiting={"indexing": indexing.total(), "extraction": extraction.total(), "tasks": _tasks(now)},
        extractions=states,
        extractor=extractor_state(),
    )


class _Tally:
    def __init__(self, now: datetime) -> None:
        self.now = now
        self.count = 0
        self.oldest: datetime | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        self.count += row["count"]
        if row["oldest"] and (self.oldest is None or row["oldest"] < self.oldest):
            self.oldest = row["oldest"]

    def total(self) -> Waiting:
        return Waiting(self.count, max((self.now - self.oldest).total_seconds(), 0.0) if self.oldest else 0.0)


def _tasks(now: datetime) -> Waiting:
    from django_q.models import OrmQ

    # A task's lock is the moment from which a worker may take it: when it was queued, or when its retry is due.
    tally = _Tally(now)
    tally.add(OrmQ.objects.filter(lock__lte=now).aggregate(count=Count("pk"), oldest=Min("lock")))
    return tally.total()


@cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    loader = MigrationLoader(None)
    replaced = {key for migration in loader.disk_migrations.values() for key in migration.replaces}
    return frozenset(loader.disk_migrations.keys() - replaced)


def _missing_migrations() -> int | None:
    """How many migrations the database lacks; None when it cannot be asked."""
    try:
        # A transaction, so that a pooled connection goes back clean whatever happens.
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("set local statement_timeout = '2s'")
            cursor.execute("select to_regclass('django_migrations') is not null")
            if not cursor.fetchone()[0]:
                return len(_known_migrations())
            cursor.execute("select app, name from django_migrations")
            return len(_known_migrations() - {(app, name) for app, name in cursor.fetchall()})
    except DatabaseError:
        return None


def embedder_state() -> dict[str, Any]:
    """Which embedder is configured, and whether this process asks it at the moment. `none` is a choice, not a loss."""
    if settings.EMBEDDER == "none":
        return {"ok": True, "name": "none"}
    state = breaker_state()
    parts = {"ok": state == "closed", "name": settings.EMBEDDER, "breaker": state}
    cause = last_failure()
    return parts | {"cause": cause} if cause else parts
