"""The figures of the overview: what happened in the last 24 hours, what waits, and the promises as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, Q
from django.db.models.functions import TruncHour

from audit.ids import first_id
from facts.models import (
    EvidenceKind,
    ExtractionState,
    FactVersion,
    RecalledItem,
    RecallKind,
    Status,
)
from memoryhub.core.charts import Line, line, nice_top
from memoryhub.core.tenancy import tenant_tables
from sessions.models import Turn

WINDOW = timedelta(hours=24)
TOLD = 20
"""How many of the latest blocks are measured."""


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
    unindexed: int
    unread: int
    dead: int
    quarantined: int

    @property
    def pending(self) -> int:
        return self.unindexed + self.unread

    @property
    def degraded_percent(self) -> float:
        return 100 * self.degraded / self.recalls if self.recalls else 0.0


@dataclass(frozen=True)
class BlockSize:
    """Tokens of a block, and of the conversations it stands for: means over `blocks` of them."""

    blocks: int
    tokens: int
    history: int

    @property
    def times(self) -> float:
        return self.history / self.tokens if self.tokens else 0.0


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
    """One query, however much there is to count."""
    since = now - WINDOW
    # Ids of version 7 are made from the time, so the primary key serves as the index over it.
    values: dict[str, Any] = {
        "workspace": workspace_id,
        "since": since,
        "first": first_id(since),
        "preview": RecallKind.PREVIEW,
        "confirms": EvidenceKind.CONFIRMS,
        "superseded": Status.SUPERSEDED,
        "quarantined": Status.QUARANTINED,
        "waiting": [ExtractionState.DUE, ExtractionState.RUNNING, ExtractionState.FAILED],
        "dead": ExtractionState.DEAD,
    }
    with connection.cursor() as cursor:
        cursor.execute(
            """
            with recalls as materialized (
              select degraded, elapsed_ms from facts_recall
              where workspace_id = %(workspace)s and at >= %(since)s and kind <> %(preview)s)
            select
              (select count(*) from facts_recalleditem i join facts_recall r on r.id = i.recall_id
                where i.workspace_id = %(workspace)s and i.id >= %(first)s and r.kind <> %(preview)s),
              (select count(*) from recalls),
              (select count(*) from recalls where degraded <> '{}'),
              (select percentile_cont(0.5) within group (order by elapsed_ms) from recalls),
              (select percentile_cont(0.95) within group (order by elapsed_ms) from recalls),
              (select count(*) from facts_factversion
                where workspace_id = %(workspace)s and id >= %(first)s and number = 1),
              (select count(*) from facts_evidence
                where workspace_id = %(workspace)s and id >= %(first)s and kind = %(confirms)s),
              (select count(*) from facts_facttransition
                where workspace_id = %(workspace)s and id >= %(first)s and to_status = %(superseded)s),
              (select count(*) from search_pending where workspace_id = %(workspace)s),
              (select count(*) from facts_extraction
                where workspace_id = %(workspace)s and state = any(%(waiting)s)),
              (select count(*) from facts_extraction where workspace_id = %(workspace)s and state = %(dead)s),
              (select count(*) from facts_factversion
                where workspace_id = %(workspace)s and status = %(quarantined)s)
            """,
            values,
        )
        [counts] = cursor.fetchall()
    return Figures(*counts)


def block_size(*, workspace_id: UUID, now: datetime) -> BlockSize | None:
    """What the latest blocks took, beside what replaying these people's conversations would; None without any.

    At most TOLD blocks are looked at. Replayed history is estimated as blocks are (`estimate_tokens`, for ASCII).
    """
    since = now - WINDOW
    with connection.cursor() as cursor:
        cursor.execute(
            """
            with latest as materialized (
              select id, subject_id, at from facts_recall
              where workspace_id = %(workspace)s and at >= %(since)s and kind = 'working_memory'
                and subject_id is not null
              order by at desc limit %(most)s),
            blocks as (
              select l.subject_id, e.tokens from latest l cross join lateral (
                select (data ->> 'tokens_estimated')::int as tokens from audit_entry e
                where e.workspace_id = %(workspace)s and e.subject_id = l.subject_id and e.id >= %(first)s
                  and e.action = 'memory.surfaced' and e.object_id = l.id::text limit 1) e
              where e.tokens is not null),
            histories as (
              select s.subject_id, sum(octet_length(t.text)) / 3.6 as tokens
              from memory_sessions_session s join memory_sessions_turn t on t.session_id = s.id
              where s.subject_id in (select subject_id from blocks) group by s.subject_id)
            select count(*), coalesce(avg(b.tokens), 0), coalesce(avg(h.tokens), 0)
            from blocks b join histories h using (subject_id)
            """,
            {"workspace": workspace_id, "since": since, "first": first_id(since), "most": TOLD},
        )
        [(blocks, tokens, history)] = cursor.fetchall()
    return BlockSize(blocks, round(tokens), round(history)) if blocks else None


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
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select
              (select count(*) from facts_recall where workspace_id = %(workspace)s and at >= %(since)s),
              (select count(*) from facts_recall r
                where r.workspace_id = %(workspace)s and r.at >= %(since)s and not exists (
                  select from audit_entry e where e.workspace_id = r.workspace_id and e.id >= %(before)s
                    and e.action in ('memory.surfaced', 'memory.previewed') and e.object_id = r.id::text)),
              (select count(*) from audit_erasure
                where workspace_id = %(workspace)s and kind = 'subject' and sealed_at is not null),
              (select count(*) from audit_erasure x join audit_entry e
                on e.workspace_id = x.workspace_id and e.subject_id = x.subject_id and e.at > x.sealed_at
                where x.workspace_id = %(workspace)s and x.kind = 'subject' and e.action = 'memory.surfaced'),
              (select count(*) from memory_sessions_subject
                where workspace_id = %(workspace)s and restricted_at is not null),
              (select count(*) from memory_sessions_subject s
                join facts_recall r on r.subject_id = s.id and r.at > s.restricted_at and r.kind <> 'preview'
                join facts_recalleditem i on i.recall_id = r.id
                where s.workspace_id = %(workspace)s and s.restricted_at is not null),
              (select count(*) from facts_recalleditem
                where workspace_id = %(workspace)s and id >= %(first)s),
              -- The policies hide other tenants' rows: what an item names and cannot be seen is one of theirs.
              (select count(*) from facts_recalleditem i join facts_recall r on r.id = i.recall_id
                left join facts_factversion v on v.id = i.version_id
                left join facts_fact f on f.id = v.fact_id
                left join memory_sessions_turn t on t.id = i.turn_id
                left join memory_sessions_session s on s.id = t.session_id
                where i.workspace_id = %(workspace)s and i.id >= %(first)s
                  and coalesce(f.subject_id, s.subject_id) is distinct from r.subject_id),
              (select count(*) from facts_extraction where workspace_id = %(workspace)s and state = 'dead')
            """,
            {
                "workspace": workspace_id,
                "since": since,
                "first": first_id(since),
                "before": first_id(since - timedelta(minutes=5)),
            },
        )
        [row] = cursor.fetchall()
    recalls, unreceipted, erased, erased_surfaced, restricted, restricted_surfaced, items, foreign, dead = row
    # A table without its policy would show a forgotten filter other tenants' rows.
    tables = tenant_tables()
    return [
        Promise("Surfaced without a receipt", unreceipted, f"of {recalls:,} in the last 24 hours"),
        Promise("Erased, yet surfaced", erased_surfaced, f"of {erased:,} erased people"),
        Promise("Restricted, yet surfaced", restricted_surfaced, f"of {restricted:,} restricted subjects"),
        Promise("Of another workspace or person, yet surfaced", foreign, f"of {items:,} items in the last 24 hours"),
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
