"""Reading what was surfaced: recalls by page, one recall with everything in it, and who was shown a fact.

Each function runs in the caller's workspace transaction and asks a fixed number of queries.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, F, Max, Min, Q, QuerySet

from audit.ids import first_id
from audit.models import Entry
from audit.services import receipt
from facts.models import FactVersion, Recall, RecalledItem, RecallKind
from facts.rebuilding import Rebuilt, rebuilt

PAGE = 50
SESSIONS_SHOWN = 100
ENTRY_WITHIN = timedelta(minutes=5)
"""A recall's entry is written at the end of the same transaction."""


@dataclass(frozen=True)
class RecallFilter:
    """Which recalls. Dates are a half-open range; `kind` empty means all but previews."""

    agent_id: UUID | None = None
    subject_id: UUID | None = None
    fact_id: UUID | None = None
    version: int | None = None
    session_id: str = ""
    """The caller's id of the session."""
    kind: str = ""
    degraded: bool = False
    cited: bool = False
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class RecallRow:
    """A recall in a list: nothing of its content."""

    recall: Recall
    facts: int
    turns: int
    cited: int


@dataclass(frozen=True)
class RecallPage:
    """Newest first. `next` is the recall after which the next page begins; None on the last."""

    rows: list[RecallRow]
    next: UUID | None


def recalls(workspace_id: UUID, wanted: RecallFilter) -> QuerySet[Recall]:
    """The recalls that `wanted` asks for, unordered."""
    found = Recall.objects.filter(workspace_id=workspace_id)
    found = found.filter(kind=wanted.kind) if wanted.kind else found.exclude(kind=RecallKind.PREVIEW)
    if wanted.agent_id:
        found = found.filter(agent_id=wanted.agent_id)
    if wanted.subject_id:
        found = found.filter(subject_id=wanted.subject_id)
    if wanted.session_id:
        found = found.filter(session_external_id=wanted.session_id)
    if wanted.degraded:
        found = found.exclude(degraded=[])
    if wanted.since:
        found = found.filter(at__gte=wanted.since)
    if wanted.until:
        found = found.filter(at__lt=wanted.until)
    if wanted.fact_id or wanted.cited:
        items = RecalledItem.objects.filter(workspace_id=workspace_id)
        if wanted.fact_id:
            items = items.filter(version__fact_id=wanted.fact_id)
            if wanted.version:
                items = items.filter(version__number=wanted.version)
        if wanted.cited:
            items = items.filter(cited_at__isnull=False)
        found = found.filter(pk__in=items.values("recall_id"))
    return found


def recall_page(
    *, workspace_id: UUID, wanted: RecallFilter, after: UUID | None = None, limit: int = PAGE
) -> RecallPage:
    """One page of recalls, the newest first, without messages and blocks."""
    found = recalls(workspace_id, wanted).select_related("agent", "subject")
    last = Recall.objects.filter(workspace_id=workspace_id, pk=after).only("at").first() if after else None
    if last is not None:
        # The first condition alone bounds the index.
        found = found.filter(at__lte=last.at).filter(Q(at__lt=last.at) | Q(id__lt=last.id))
    rows = list(found.defer("message", "block", "candidates", "settings").order_by("-at", "-id")[: limit + 1])
    shown = rows[:limit]
    counts = {
        recall_id: (facts, turns, cited)
        for recall_id, facts, turns, cited in RecalledItem.objects.filter(recall__in=[one.id for one in shown])
        .order_by()
        .values_list("recall")
        .annotate(facts=Count("version"), turns=Count("turn"), cited=Count("cited_at"))
    }
    return RecallPage(
        [RecallRow(one, *counts.get(one.id, (0, 0, 0))) for one in shown],
        shown[-1].id if len(rows) > limit else None,
    )


@dataclass(frozen=True)
class Candidate:
    """Something that was considered. `fate` is a code of FATES; `version` is None where it was erased since."""

    version: FactVersion | None
    kind: str
    id: str
    score: float
    scores: Mapping[str, float]
    fate: str


FATES = {
    "surfaced": "surfaced",
    "under_threshold": "under the threshold",
    "beyond_top_k": "not among the best",
    "other_version": "surfaced as another version",
    "no_room": "no room in the token budget",
    "not_shown": "not shown for this message",
}


@dataclass(frozen=True)
class ShownItem:
    item: RecalledItem
    pinned: bool
    """It entered because it is pinned: it has no score."""


@dataclass(frozen=True)
class RecallDetail:
    """One surfacing with everything that is kept of it."""

    recall: Recall
    items: list[ShownItem]
    candidates: list[Candidate]
    entry: Entry | None
    rebuilt: Rebuilt | None
    """The block; None for recalls that gave none."""

    @property
    def receipt(self) -> str:
        return receipt(self.entry) if self.entry else ""

    @property
    def threshold(self) -> float | None:
        return self.recall.settings.get("score_threshold")

    @property
    def left_out(self) -> list[Candidate]:
        return [one for one in self.candidates if one.fate != "surfaced"]

    @property
    def erased(self) -> int:
        """Items that were surfaced and are gone since."""
        return max(0, self.recall.item_count - len(self.items))


def recall_with_everything(recall: Recall) -> RecallDetail:
    """`recall` (loaded with its subject and agent) with its items, candidates, entry and block. Five queries."""
    items = list(
        RecalledItem.objects.filter(recall=recall)
        .select_related("version__fact", "version__session", "turn__session")
        .defer("turn__content", "turn__metadata", "turn__digest", "turn__tool_input", "turn__tool_result")
        .order_by("rank")
    )
    versions = FactVersion.objects.select_related("fact", "session").in_bulk(
        [_uuid(one["id"]) for one in recall.candidates if one["kind"] == "fact" and _uuid(one["id"])]
    )
    entry = entry_of(recall)
    omitted = int(entry.data.get("omitted", 0)) if entry else 0
    pinned_now = {item.id for item in items if item.version and not item.score and item.version.fact.pinned}
    return RecallDetail(
        recall=recall,
        items=[ShownItem(item, item.id in pinned_now) for item in items],
        candidates=_candidates(recall, items, versions, omitted),
        entry=entry,
        rebuilt=rebuilt(recall, items) if recall.block_hash else None,
    )


def entry_of(recall: Recall) -> Entry | None:
    """The entry of the audit log that says that this was surfaced."""
    return (
        Entry.objects.filter(
            workspace_id=recall.workspace_id,
            subject_id=recall.subject_id,
            id__gte=first_id(recall.at - ENTRY_WITHIN),
            id__lt=first_id(recall.at + ENTRY_WITHIN),
            action__in=("memory.surfaced", "memory.previewed"),
            object_id=str(recall.id),
        )
        .order_by("id")
        .first()
    )


def _candidates(
    recall: Recall, items: Sequence[RecalledItem], versions: Mapping[UUID, FactVersion], omitted: int
) -> list[Candidate]:
    """What was considered, best first, and what became of each."""
    surfaced = {str(item.version_id or item.turn_id) for item in items}
    facts_surfaced = {item.version.fact_id for item in items if item.version}
    threshold = recall.settings.get("score_threshold")
    top_k = recall.settings.get("top_k")
    better: set[Any] = set()
    found = []
    for one in recall.candidates:
        version = versions.get(_uuid(one["id"])) if one["kind"] == "fact" else None  # type: ignore[arg-type]
        fact_id = version.fact_id if version else one["id"]
        if one["id"] in surfaced:
            fate = "surfaced"
        elif threshold is not None and one["score"] < threshold:
            fate = "under_threshold"
        elif fact_id in facts_surfaced:
            fate = "other_version"
        elif top_k is not None and len(better) >= top_k:
            fate = "beyond_top_k"
        elif omitted:
            fate = "no_room"
        else:
            fate = "not_shown"
        better.add(fact_id)
        found.append(Candidate(version, one["kind"], one["id"], one["score"], one.get("scores", {}), fate))
    return found


@dataclass(frozen=True)
class ShownTo:
    """A session that was shown a fact: by which agent, which versions, how often, and whether they were cited."""

    agent_name: str
    session_external_id: str
    session_id: UUID | None
    versions: tuple[int, ...]
    times: int
    cited: int
    first_at: datetime
    last_at: datetime
    last_recall_id: UUID


@dataclass(frozen=True)
class Reach:
    """How far a version got: recalls, sessions and agents that were given it, and how often it was cited."""

    number: int
    recalls: int
    sessions: int
    agents: int
    cited: int
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True)
class BlastRadius:
    """Who was shown a fact, previews by people apart. `sessions` are the latest SESSIONS_SHOWN, by agent."""

    by_version: Mapping[int, Reach]
    sessions: list[ShownTo]
    sessions_in_all: int
    agents: int
    recalls: int
    previews: int


def blast_radius(fact_id: UUID, *, version: int | None = None) -> BlastRadius:
    """Which sessions were shown the fact, or one `version` of it, and how far each version got. Three queries."""
    items = RecalledItem.objects.filter(version__fact_id=fact_id).order_by()
    given = items.exclude(recall__kind=RecallKind.PREVIEW)
    by_version = {
        row["version__number"]: Reach(
            row["version__number"], row["n"], row["sessions"], row["agents"], row["cited"], row["first"], row["last"]
        )
        for row in given.values("version__number").annotate(
            n=Count("recall", distinct=True),
            sessions=Count("recall__session_external_id", distinct=True, filter=~Q(recall__session_external_id="")),
            agents=Count("recall__agent", distinct=True),
            cited=Count("cited_at"),
            first=Min("recall__at"),
            last=Max("recall__at"),
        )
    }
    chosen = given.filter(version__number=version) if version else given
    totals = items.aggregate(
        previews=Count("recall", distinct=True, filter=Q(recall__kind=RecallKind.PREVIEW)),
        recalls=Count("recall", distinct=True, filter=_chosen(version)),
        agents=Count("recall__agent", distinct=True, filter=_chosen(version)),
        sessions=Count(
            "recall__session_external_id",
            distinct=True,
            filter=_chosen(version) & ~Q(recall__session_external_id=""),
        ),
    )
    return BlastRadius(
        by_version=by_version,
        sessions=_sessions(chosen),
        sessions_in_all=totals["sessions"],
        agents=totals["agents"],
        recalls=totals["recalls"],
        previews=totals["previews"],
    )


def _chosen(version: int | None) -> Q:
    given = ~Q(recall__kind=RecallKind.PREVIEW)
    return given & Q(version__number=version) if version else given


def _sessions(items: QuerySet[RecalledItem]) -> list[ShownTo]:
    rows = (
        items.values(agent_name=F("recall__agent__name"), session=F("recall__session_external_id"))
        .annotate(
            # None where the first recall came before the session's first turn, so the latest known.
            sessions=ArrayAgg("recall__session_id", distinct=True, filter=Q(recall__session__isnull=False), default=[]),
            numbers=ArrayAgg("version__number", distinct=True),
            times=Count("recall", distinct=True),
            cited=Count("cited_at"),
            first=Min("recall__at"),
            last=Max("recall__at"),
            recalls=ArrayAgg("recall_id", order_by="-recall__at"),
        )
        .order_by("-last", "session")[:SESSIONS_SHOWN]
    )
    found = [
        ShownTo(
            agent_name=row["agent_name"] or "",
            session_external_id=row["session"],
            session_id=row["sessions"][0] if row["sessions"] else None,
            versions=tuple(row["numbers"]),
            times=row["times"],
            cited=row["cited"],
            first_at=row["first"],
            last_at=row["last"],
            last_recall_id=row["recalls"][0],
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: one.agent_name)


def recalls_of_session(
    *,
    subject_id: UUID,
    session_external_id: str,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int,
) -> list[Recall]:
    """What was surfaced in a session after `since` and up to `until`, in the order it was; the last `limit`."""
    found = Recall.objects.filter(subject_id=subject_id, session_external_id=session_external_id)
    if since:
        found = found.filter(at__gt=since)
    if until:
        found = found.filter(at__lte=until)
    found = (
        found.exclude(kind=RecallKind.PREVIEW)
        .select_related("agent")
        .defer("block", "candidates", "settings")
        .order_by("-at", "-id")[:limit]
    )
    return list(reversed(found))


def facts_surfaced(recall_ids: Iterable[UUID]) -> dict[UUID, list[RecalledItem]]:
    """The surfaced versions of each recall, in their order. One query."""
    found: dict[UUID, list[RecalledItem]] = {}
    for item in (
        RecalledItem.objects.filter(recall__in=list(recall_ids), version__isnull=False)
        .select_related("version__fact")
        .order_by("recall_id", "rank")
    ):
        found.setdefault(item.recall_id, []).append(item)
    return found


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
