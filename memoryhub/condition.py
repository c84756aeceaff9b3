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
from uuid import UUID

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models import Count, Min
from django.utils import timezone

from audit.models import INSTALLATION, Checkpoint
from audit.sealing.handover import handovers
from audit.sealing.services import lag
from audit.sealing.verifying import last_verdict
from facts.extraction.extractors import extractor_state
from facts.extraction.windows import waiting_work
from facts.models import Extraction, ExtractionState
from memoryhub.access.models import Workspace
from memoryhub.core.embedding import breaker_state, last_failure
from memoryhub.core.search.models import Pending
from memoryhub.core.tenancy import in_workspace

# Work that waits longer than this is named as degraded: whoever does it has stopped or cannot keep up.
LATE = {"indexing": 30.0, "extraction": 600.0, "tasks": 120.0, "audit": 30.0}  # seconds
FRESH = 2.0  # seconds for which one look at the queues serves every probe of a process


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much work waits, and for how many seconds the oldest piece of it has been due."""

    count: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class AuditState:
    """The log of the hub as a whole: of several workspaces always the worst."""

    sealed: int
    failed: tuple[str, ...]
    """The verdicts of the logs that did not pass their last check."""
    verified_at: datetime | None
    """When the log was checked whose last check is the longest ago; None while one was never checked."""
    behind: Mapping[str, int]
    """Checkpoints that each place outside lacks, and in `failing` the places that took nothing when last offered."""
    failing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Queues:
    """What waits in all workspaces, and how many windows are in which state of extraction."""

    waiting: Mapping[str, Waiting]
    extractions: Mapping[str, int]
    extractor: dict[str, Any]
    audit: AuditState


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
    log = queues.audit
    parts["audit"]["ok"] = parts["audit"]["ok"] and not log.failed and not log.failing
    parts["audit"] |= {"failed": list(log.failed), "anchors_failing": list(log.failing)}
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
    indexing, extraction, logs = _Tally(now), _Tally(now), _Logs()
    states: dict[str, int] = {state.value: 0 for state in ExtractionState}
    for workspace_id in Workspace.objects.values_list("id", flat=True):
        with in_workspace(workspace_id):
            indexing.add(Pending.objects.aggregate(count=Count("pk"), oldest=Min("since")))
            if settings.EXTRACTOR != "none":
                for count, oldest in waiting_work(workspace_id=workspace_id, now=now):
                    extraction.add({"count": count, "oldest": oldest})
            for state, count in Extraction.objects.values_list("state").annotate(count=Count("pk")):
                states[state] += count
            logs.add(workspace_id)
    with in_workspace(INSTALLATION):
        logs.add(INSTALLATION)
    return Queues(
        waiting={"indexing": indexing.total(), "extraction": extraction.total(), "tasks": _tasks(now)}
        | {"audit": logs.waiting()},
        extractions=states,
        extractor=extractor_state(),
        audit=logs.total(),
    )


class _Logs:
    """The audit logs, one after the other."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, float]] = []
        self._sealed = 0
        self._failed: list[str] = []
        self._verified: list[datetime | None] = []
        self._behind: dict[str, int] = {}
        self._failing: set[str] = set()

    def add(self, workspace_id: UUID) -> None:
        """Needs a transaction of the workspace."""
        self._waiting.append(lag(workspace_id))
        checkpoints = Checkpoint.objects.filter(workspace_id=workspace_id).order_by("-number")
        self._sealed += checkpoints.values_list("size", flat=True).first() or 0
        verdict = last_verdict(workspace_id)
        self._verified.append(verdict.at if verdict else None)
        if verdict and not verdict.ok:
            self._failed.append(verdict.verdict)
        for place, state, behind in handovers(workspace_id):
            self._behind[place.value] = self._behind.get(place.value, 0) + behind
            if state.failures:
                self._failing.add(place.value)

    def waiting(self) -> Waiting:
        return Waiting(sum(count for count, _ in self._waiting), max(0.0, *(oldest for _, oldest in self._waiting)))

    def total(self) -> AuditState:
        known = [at for at in self._verified if at is not None]
        return AuditState(
            sealed=self._sealed,
            failed=tuple(sorted(self._failed)),
            verified_at=min(known) if known and len(known) == len(self._verified) else None,
            behind=self._behind,
            failing=tuple(sorted(self._failing)),
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
