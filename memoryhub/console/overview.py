"""The figures of the overview: what happened in the last 24 hours, what waits, and the promises as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import connection
from django.db.models import Count, F, Q
from django.db.models.functions import TruncHour

from audit.ids import first_id
from facts.models import (
    Evidence,
    EvidenceKind,
    Extraction,
    ExtractionState,
    FactTransition,
    FactVersion,
    Recall,
    RecalledItem,
    RecallKind,
    Status,
)
from memoryhub.core.charts import Line, line, nice_top
from memoryhub.core.search.models import Pending
from memoryhub.core.tenancy import tenant_tables
from sessions.models import Subject, Turn

WINDOW = timedelta(hours=24)


@dataclass(frozen=True)
class Figures:
    """Counts of the last 24 hours; times in milliseconds, None when nothing was asked for."""

    surfaced: int
    recalls: int
    degraded: int
    median_ms: float | None
    p95_ms: float | None
    learned: int
    confirmed: int
    superseded: int
    pending: int
    dead: int
    quarantined: int

    @property
    def degraded_percent(self) -> float:
        return 100 * self.degraded / self.recalls if self.recalls else 0.0


@dataclass(frozen=True)
class Promise:
    """A figure that must be zero. `of` says what was looked at."""

    name: str
    broken: int
    of: str


@dataclass(frozen=True)
class Hourly:
    """What happened in the hour that begins at `at`."""

    at: datetime
    surfaced: int
    written: int


@dataclass(frozen=True)
class Chart:
    """The hours as two lines in a drawing of 600 by 180."""

    hours: Sequence[Hourly]
    surfaced: Line
    written: Line
    top: int

    @property
    def total_surfaced(self) -> int:
        return sum(hour.surfaced for hour in self.hours)

    @property
    def total_written(self) -> int:
        return sum(hour.written for hour in self.hours)


def figures(*, workspace_id: UUID, now: datetime) -> Figures:
    since = now - WINDOW
    with connection.cursor() as cursor:
        cursor.execute(
            "select count(*), count(*) filter (where degraded <> '{}'),"
            " percentile_cont(0.5) within group (order by elapsed_ms),"
            " percentile_cont(0.95) within group (order by elapsed_ms)"
            " from facts_recall where workspace_id = %s and at >= %s and kind <> %s",
            [workspace_id, since, RecallKind.PREVIEW],
        )
        recalls, degraded, median, p95 = cursor.fetchone()
    # Ids of version 7 are made from the time, so the primary key serves as the index over it.
    recent = Q(id__gte=first_id(since))
    versions = FactVersion.objects.filter(recent, workspace_id=workspace_id)
    extractions = Extraction.objects.filter(workspace_id=workspace_id)
    return Figures(
        surfaced=RecalledItem.objects.filter(recent, workspace_id=workspace_id)
        .exclude(recall__kind=RecallKind.PREVIEW)
        .count(),
        recalls=recalls,
        degraded=degraded,
        median_ms=median,
        p95_ms=p95,
        learned=versions.filter(number=1).count(),
        confirmed=Evidence.objects.filter(recent, workspace_id=workspace_id, kind=EvidenceKind.CONFIRMS).count(),
        superseded=FactTransition.objects.filter(
            recent, workspace_id=workspace_id, to_status=Status.SUPERSEDED
        ).count(),
        pending=Pending.objects.filter(workspace_id=workspace_id).count()
        + extractions.filter(state__in=(ExtractionState.DUE, ExtractionState.RUNNING, ExtractionState.FAILED)).count(),
        dead=extractions.filter(state=ExtractionState.DEAD).count(),
        quarantined=FactVersion.objects.filter(workspace_id=workspace_id, status=Status.QUARANTINED).count(),
    )


def chart(*, workspace_id: UUID, now: datetime) -> Chart:
    """Items surfaced, and turns and versions written, in each of the last 24 hours."""
    last = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [last - timedelta(hours=back) for back in range(23, -1, -1)]
    recent = Q(id__gte=first_id(hours[0]), workspace_id=workspace_id)
    surfaced = _by_hour(RecalledItem.objects.filter(recent).exclude(recall__kind=RecallKind.PREVIEW), "recall__at")
    turns = _by_hour(Turn.objects.filter(recent), "recorded_at")
    versions = _by_hour(FactVersion.objects.filter(recent), "created_at")
    rows = [Hourly(at, surfaced.get(at, 0), turns.get(at, 0) + versions.get(at, 0)) for at in hours]
    top = nice_top(max(max(row.surfaced, row.written) for row in rows))
    frame = {"top": top, "left": 0, "right": 560, "above": 20, "bottom": 154}
    return Chart(rows, line([row.surfaced for row in rows], **frame), line([row.written for row in rows], **frame), top)


def promises(*, workspace_id: UUID, now: datetime) -> list[Promise]:
    """The promises of the hub as figures that must be zero, each looked at anew."""
    since = now - WINDOW
    recalls = Recall.objects.filter(workspace_id=workspace_id, at__gte=since)
    with connection.cursor() as cursor:
        cursor.execute(
            "select count(*) from facts_recall r where r.workspace_id = %s and r.at >= %s and not exists ("
            " select from audit_entry e where e.workspace_id = r.workspace_id and e.id >= %s"
            " and e.action in ('memory.surfaced', 'memory.previewed') and e.object_id = r.id::text)",
            [workspace_id, since, first_id(since - timedelta(minutes=5))],
        )
        [(without_receipt,)] = cursor.fetchall()
    # A table without its policy would show a forgotten filter other tenants' rows.
    tables = tenant_tables()
    restricted = Subject.objects.filter(workspace_id=workspace_id, restricted_at__isnull=False)
    surfaced_anyway = (
        RecalledItem.objects.filter(workspace_id=workspace_id, recall__subject__in=restricted)
        .filter(recall__at__gt=F("recall__subject__restricted_at"))
        .exclude(recall__kind=RecallKind.PREVIEW)
        .count()
    )
    dead = Extraction.objects.filter(workspace_id=workspace_id, state=ExtractionState.DEAD).count()
    return [
        Promise("Surfaced without a receipt", without_receipt, f"of {recalls.count():,} in the last 24 hours"),
        Promise("Restricted, yet surfaced", surfaced_anyway, f"of {restricted.count():,} restricted subjects"),
        Promise(
            "Tables open to another workspace",
            sum(not protected for protected in tables.values()),
            f"of {len(tables)} with a workspace",
        ),
        Promise("Accepted, then given up on", dead, "dead letters"),
    ]


def _by_hour(rows: object, field: str) -> dict[datetime, int]:
    return dict(
        rows.annotate(hour=TruncHour(field, tzinfo=UTC)).order_by().values_list("hour").annotate(n=Count("id"))  # type: ignore[attr-defined]
    )
