"""How well retrieval did, from what was recorded: scores of what was considered, what was surfaced, what was cited.

Everything is counted by hundredths of the score, so that any threshold can be tried without asking again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Avg, Count, Q

from facts.models import Recall, RecalledItem, RecallKind, Status

MOST_RECALLS = 1_000
CENTS = 100

# Of the facts that were considered in the latest recalls: where each stood, and what became of it. A fact counts as
# cited later when the same fact was surfaced and cited for the same person in a recall after this one.
CONSIDERED = """
with chosen as materialized (
  select id, subject_id, at, candidates, coalesce((settings->>'top_k')::int, 50) as top_k
  from facts_recall
  where workspace_id = %(workspace)s and kind = %(kind)s and at >= %(since)s
    and (%(agent)s::uuid is null or agent_id = %(agent)s::uuid)
  order by at desc limit %(most)s
), considered as materialized (
  select chosen.id as recall_id, chosen.at, candidate.version_id, candidate.score, version.fact_id,
    row_number() over (partition by chosen.id order by candidate.score desc) <= top_k as among_best
  from chosen
  cross join lateral jsonb_to_recordset(candidates) as one(kind text, id text, score float)
  cross join lateral (select one.id::uuid as version_id, one.score) candidate
  left join facts_factversion version on version.id = candidate.version_id
  where one.kind = 'fact'
), cited as materialized (
  select version.fact_id, max(recall.at) as last_at
  from facts_recalleditem item
  join facts_recall recall on recall.id = item.recall_id
  join facts_factversion version on version.id = item.version_id
  where item.workspace_id = %(workspace)s and item.cited_at >= %(since)s
    and version.fact_id in (select fact_id from considered)
  group by version.fact_id
)
select least(100, greatest(0, floor(considered.score * 100 + 1e-9)))::int as cent, among_best,
  item.id is not null as surfaced, item.cited_at is not null as cited,
  coalesce(cited.last_at > considered.at, false) as cited_later, count(*)
from considered
left join facts_recalleditem item on item.recall_id = considered.recall_id and item.version_id = considered.version_id
left join cited on cited.fact_id = considered.fact_id
group by 1, 2, 3, 4, 5
"""


@dataclass(frozen=True)
class Considered:
    """How many facts stood at `cent` hundredths (rounded down) with one and the same fate.

    `among_best`: within the number of facts that the caller asked for, by score alone.
    """

    cent: int
    among_best: bool
    surfaced: bool
    cited: bool
    cited_later: bool
    count: int


@dataclass(frozen=True)
class Bin:
    """Facts with a score from `least` on, up to the next bin."""

    least: float
    considered: int
    surfaced: int
    cited: int


@dataclass(frozen=True)
class WhatIf:
    """What another threshold would have changed. `more`, and how many of them were cited later; `fewer`, and how many
    of them were cited. Room in the block is not counted."""

    threshold: float
    more: int
    more_cited_later: int
    fewer: int
    fewer_cited: int


@dataclass(frozen=True)
class Rates:
    """Of the recalls themselves. Shares are 0 to 1, None when there is nothing to take a share of."""

    recalls: int
    with_facts: int
    facts: int
    facts_cited: int
    facts_stale: int
    mean_ms: float | None

    @property
    def surfaced_rate(self) -> float | None:
        return self.with_facts / self.recalls if self.recalls else None

    @property
    def cited_rate(self) -> float | None:
        return self.facts_cited / self.facts if self.facts else None

    @property
    def stale_rate(self) -> float | None:
        return self.facts_stale / self.facts if self.facts else None


def considered(*, workspace_id: UUID, since: datetime, agent_id: UUID | None = None) -> list[Considered]:
    """What was considered in the latest MOST_RECALLS working memories since then. One query."""
    values: dict[str, Any] = {
        "workspace": workspace_id,
        "since": since,
        "agent": agent_id,
        "kind": RecallKind.WORKING_MEMORY,
        "most": MOST_RECALLS,
    }
    with connection.cursor() as cursor:
        cursor.execute(CONSIDERED, values)
        return [Considered(*row) for row in cursor.fetchall()]


def rates(*, workspace_id: UUID, since: datetime, agent_id: UUID | None = None) -> Rates:
    """How often working memory held facts, and how often they were cited, or past already. Two queries."""
    recalls = Recall.objects.filter(workspace_id=workspace_id, kind=RecallKind.WORKING_MEMORY, at__gte=since)
    if agent_id:
        recalls = recalls.filter(agent_id=agent_id)
    latest = recalls.order_by("-at").values("id")[:MOST_RECALLS]
    counted = Recall.objects.filter(id__in=latest).aggregate(n=Count("id"), ms=Avg("elapsed_ms"))
    items = RecalledItem.objects.filter(recall__in=latest, version__isnull=False).aggregate(
        recalls=Count("recall", distinct=True),
        facts=Count("id"),
        cited=Count("cited_at"),
        stale=Count("id", filter=~Q(status=Status.CURRENT)),
    )
    return Rates(counted["n"], items["recalls"], items["facts"], items["cited"], items["stale"], counted["ms"])


def bins(rows: Sequence[Considered], *, width: int = 5) -> list[Bin]:
    """The scores in bins of `width` hundredths, from 0 up; a score of 1 is in the last."""
    return [_bin(rows, least, width) for least in range(0, CENTS, width)]


def _bin(rows: Sequence[Considered], least: int, width: int) -> Bin:
    inside = [row for row in rows if least <= min(row.cent, CENTS - 1) < least + width]
    return Bin(
        least / CENTS,
        sum(row.count for row in inside),
        sum(row.count for row in inside if row.surfaced),
        sum(row.count for row in inside if row.cited),
    )


def what_if(rows: Sequence[Considered], threshold: float) -> WhatIf:
    """`threshold` in place of those that were asked with, over the same recalls. Exact for whole hundredths."""
    least = round(threshold * CENTS)
    more = [row for row in rows if not row.surfaced and row.among_best and row.cent >= least]
    fewer = [row for row in rows if row.surfaced and row.cent < least]
    return WhatIf(
        threshold,
        more=_sum(more),
        more_cited_later=_sum(row for row in more if row.cited_later),
        fewer=_sum(fewer),
        fewer_cited=_sum(row for row in fewer if row.cited),
    )


def _sum(rows: Iterable[Considered]) -> int:
    return sum(row.count for row in rows)
