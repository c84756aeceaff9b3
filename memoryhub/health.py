"""How the hub is: for load balancers (/healthz, /readyz) and for Prometheus (/metrics). Says nothing of anybody.

Degraded is not down: without its embedder, or with work waiting, the hub still answers, so /readyz stays 200 and names
the part. Only without a database, or with one that was not migrated, is there nothing to serve.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models import Count, Min
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from facts.extraction.extractors import extractor_state
from facts.extraction.windows import waiting_work
from facts.models import Extraction, ExtractionState
from memoryhub.access.models import Workspace
from memoryhub.core.embedding import breaker_state, last_failure
from memoryhub.core.observability import metrics
from memoryhub.core.search.models import Pending
from memoryhub.core.tenancy import in_workspace

# Work that waits longer than this is named as degraded: whoever does it has stopped or cannot keep up.
LATE = {"indexing": 30.0, "extraction": 600.0, "tasks": 120.0}  # seconds
FRESH = 2.0  # seconds for which one look at the queues serves every probe of a process
FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")


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


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process answers at all. Asks nothing of the database."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when requests can be served, 503 when not; every part with its state, the degraded ones named."""
    parts = readiness()
    serving = parts["database"]["ok"] and parts["migrations"]["ok"]
    degraded = sorted(name for name, part in parts.items() if not part["ok"])
    status = "unavailable" if not serving else "degraded" if degraded else "ok"
    return JsonResponse(
        {"status": status, "degraded": degraded, "parts": parts},
        status=200 if serving else 503,
    )


@require_safe
@never_cache
def metrics_view(request: HttpRequest) -> HttpResponse:
    """Figures for Prometheus, to whoever has the token; without a token set, to callers on this host alone."""
    if not may_read_metrics(request):
        return HttpResponse(
            "Set METRICS_TOKEN and send it as a bearer token, or ask from this host without a proxy.\n",
            content_type="text/plain",
            status=403,
        )
    body, content_type = metrics.render(request.headers.get("Accept", ""))
    return HttpResponse(body, content_type=content_type)


def may_read_metrics(request: HttpRequest) -> bool:
    """A proxy on this host makes every caller look local, so a forwarded request needs the token."""
    token: str = settings.METRICS_TOKEN
    if token:
        scheme, _, offered = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and secrets.compare_digest(offered.strip().encode(), token.encode())
    return _is_loopback(request.META.get("REMOTE_ADDR", "")) and not any(key in request.META for key in FORWARDED)


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


@metrics.scraped("memoryhub_waiting", "Work that waits, by queue.", ("queue",))
def _waiting_figure() -> metrics.Samples:
    return {(name,): waiting.count for name, waiting in queues_now().waiting.items()}


@metrics.scraped("memoryhub_waiting_oldest_seconds", "How long the oldest piece of waiting work is due.", ("queue",))
def _oldest_figure() -> metrics.Samples:
    return {(name,): waiting.oldest_s for name, waiting in queues_now().waiting.items()}


@metrics.scraped("memoryhub_extractions", "Windows of turns to extract from, by state.", ("state",))
def _extraction_figure() -> metrics.Samples:
    return {(state,): count for state, count in queues_now().extractions.items()}


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:  # over a Unix socket there is no address, and usually a proxy before it
        return False
