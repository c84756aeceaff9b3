"""What the pages read. Each function runs in the workspace's transaction and asks a fixed number of queries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from django.db.models import (
    Case,
    Count,
    Exists,
    IntegerField,
    Max,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)

from audit.actors import ActorKind
from audit.requests.selectors import RequestFilter, holds_on, requests_found
from facts.models import Evidence, EvidenceKind, Fact, FactType, FactVersion, Recall, RecallKind, Status
from memoryhub.access.models import Agent, User
from sessions.models import Session, Subject, Turn

SUBJECTS_SHOWN = 50
TURNS_SHOWN = 100
FACTS_WITHOUT_CONTENT = 200
STANDING = (Status.CURRENT, Status.QUARANTINED)


@dataclass(frozen=True)
class SubjectRow:
    """A subject in the list, with what its row tells."""

    subject: Subject
    facts: int
    sessions: int
    last_surfaced_at: datetime | None


@dataclass(frozen=True)
class SubjectPage:
    """`after` is the subject from which the next page goes on; None on the last."""

    rows: list[SubjectRow]
    after: UUID | None


def subject_page(*, workspace_id: UUID, query: str = "", state: str = "", after: UUID | None = None) -> SubjectPage:
    """Subjects, the newest first; those whose external id contains `query`, or whose own id it is.

    `state` is `restricted` or `paused`, or '' for all.
    """
    found = Subject.objects.filter(workspace_id=workspace_id)
    if query:
        matches = Q(external_id__icontains=query)
        own_id = _uuid(query)
        found = found.filter(matches | Q(pk=own_id) if own_id else matches)
    if state == "restricted":
        found = found.filter(restricted_at__isnull=False)
    elif state == "paused":
        found = found.exclude(
            recording_paused_at__isnull=True, extraction_paused_at__isnull=True, surfacing_paused_at__isnull=True
        )
    last = Subject.objects.filter(workspace_id=workspace_id, pk=after).first() if after else None
    if last is not None:
        found = found.filter(Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, id__lt=last.id))
    subjects = list(found.order_by("-created_at", "-id")[: SUBJECTS_SHOWN + 1])
    shown, more = subjects[:SUBJECTS_SHOWN], len(subjects) > SUBJECTS_SHOWN
    ids = [subject.id for subject in shown]
    facts = _counts(Fact.objects.filter(subject__in=ids))
    sessions = _counts(Session.objects.filter(subject__in=ids))
    surfaced = dict(
        Recall.objects.filter(subject__in=ids)
        .exclude(kind=RecallKind.PREVIEW)
        .order_by()
        .values_list("subject")
        .annotate(last=Max("at"))
    )
    rows = [SubjectRow(one, facts.get(one.id, 0), sessions.get(one.id, 0), surfaced.get(one.id)) for one in shown]
    return SubjectPage(rows, shown[-1].id if more else None)


@dataclass(frozen=True)
class SubjectSummary:
    """The figures above a subject's tabs."""

    facts: int
    past_facts: int
    sessions: int
    first_session_at: datetime | None
    last_surfaced: Recall | None
    held: bool
    """A legal hold keeps everything of theirs."""
    held_sessions: frozenset[UUID]
    open_requests: int

    @property
    def held_in_part(self) -> bool:
        return bool(self.held_sessions)


def subject_summary(subject: Subject) -> SubjectSummary:
    facts = Fact.objects.filter(subject=subject).aggregate(
        all=Count("id"), standing=Count("id", filter=Exists(_standing()))
    )
    sessions = Session.objects.filter(subject=subject).order_by("started_at")
    first = sessions.values_list("started_at", flat=True).first()
    surfaced = (
        Recall.objects.filter(subject=subject)
        .exclude(kind=RecallKind.PREVIEW)
        .select_related("agent")
        .defer("block", "candidates", "message")
        .order_by("-at")
        .first()
    )
    held = list(holds_on(workspace_id=subject.workspace_id, subject_id=subject.id).values_list("session_id", flat=True))
    asked = RequestFilter(subject_id=subject.id)
    return SubjectSummary(
        facts=facts["all"],
        past_facts=facts["all"] - facts["standing"],
        sessions=sessions.count(),
        first_session_at=first,
        last_surfaced=surfaced,
        held=None in held,
        held_sessions=frozenset(one for one in held if one),
        open_requests=requests_found(workspace_id=subject.workspace_id, wanted=asked, today=date.max).count(),
    )


def facts_of(subject: Subject, *, type: str = "", status: str = "", source: str = "") -> QuerySet[Fact]:
    """The subject's facts for showing: those that stand before past ones, by type, the newest first.

    Each comes with all its versions (newest first) and their evidence. `status` and `source` are those of the version
    that stands, or of the latest; `status="past"` means that none stands.
    """
    latest = FactVersion.objects.filter(fact=OuterRef("pk")).order_by(_standing_first(), "-number")
    facts = (
        Fact.objects.filter(subject=subject)
        .annotate(
            stands=Exists(_standing()),
            shown_status=Subquery(latest.values("status")[:1]),
            shown_source=Subquery(latest.values("source")[:1]),
            held_since=Subquery(latest.values("valid_from")[:1]),
            type_order=Case(
                *(When(type=value, then=Value(place)) for place, value in enumerate(TYPE_ORDER)),
                output_field=IntegerField(),
            ),
        )
        .order_by("-stands", "-pinned", "type_order", "-held_since", "-id")
    )
    if type:
        facts = facts.filter(type=type)
    if status == "past":
        facts = facts.filter(stands=False)
    elif status:
        facts = facts.filter(shown_status=status)
    if source:
        facts = facts.filter(shown_source=source)
    return facts.prefetch_related(Prefetch("versions", queryset=_versions(with_text=False)))


TYPE_ORDER = (
    FactType.CONSTRAINT,
    FactType.PREFERENCE,
    FactType.GOAL,
    FactType.DECISION,
    FactType.ENTITY,
)


@dataclass(frozen=True)
class FactWithoutContent:
    """What may be told of a fact to somebody who must not read it."""

    handle: str
    type: str
    status: str
    source: str
    confidence: float
    versions: int
    since: datetime


def facts_without_content(subject: Subject) -> list[FactWithoutContent]:
    """The subject's newest facts, as the version that stands, or the latest, without a word of it."""
    latest = FactVersion.objects.filter(fact=OuterRef("pk")).order_by(_standing_first(), "-number")
    rows = (
        Fact.objects.filter(subject=subject)
        .annotate(
            status=Subquery(latest.values("status")[:1]),
            source=Subquery(latest.values("source")[:1]),
            confidence=Subquery(latest.values("confidence")[:1]),
            since=Subquery(latest.values("valid_from")[:1]),
            count=Count("versions"),
        )
        .order_by("-handle")
        .values_list("handle", "type", "status", "source", "confidence", "count", "since")[:FACTS_WITHOUT_CONTENT]
    )
    return [FactWithoutContent(f"F{handle}", *rest) for handle, *rest in rows]


@dataclass(frozen=True)
class ShownFact:
    """A fact as a row: the version that stands (or the latest), and the past ones beneath it."""

    fact: Fact
    version: FactVersion
    past: list[FactVersion]
    confirmed: int
    stated: Evidence | None
    waiting: list[FactVersion]
    """Versions that wait for review, beside the one that stands."""

    @property
    def stands(self) -> bool:
        return self.version.status in STANDING


def shown_fact(fact: Fact) -> ShownFact:
    """From a fact with prefetched versions, newest first."""
    versions = list(fact.versions.all())
    # What waits stands only where nothing else does.
    version = next((one for status in STANDING for one in versions if one.status == status), versions[0])
    evidence = list(version.evidence.all())
    return ShownFact(
        fact=fact,
        version=version,
        past=[one for one in versions if one is not version and one.status != Status.QUARANTINED],
        waiting=[one for one in versions if one is not version and one.status == Status.QUARANTINED],
        confirmed=sum(one.kind == EvidenceKind.CONFIRMS for one in evidence),
        stated=next((one for one in evidence if one.kind == EvidenceKind.STATES), None),
    )


def fact_with_history(*, workspace_id: UUID, fact_id: UUID) -> Fact | None:
    """A fact with its versions, their evidence (the turns' text included) and their changes of status."""
    return (
        Fact.objects.filter(workspace_id=workspace_id, pk=fact_id)
        .select_related("subject", "visible_to")
        .prefetch_related(Prefetch("versions", queryset=_versions(with_text=True).prefetch_related("transitions")))
        .first()
    )


def sessions_of(subject: Subject) -> QuerySet[Session]:
    """The subject's sessions, the latest first, each with how many versions were learned in it."""
    learned = (
        FactVersion.objects.filter(session=OuterRef("pk"))
        .order_by()
        .values("session")
        .annotate(n=Count("id"))
        .values("n")
    )
    return (
        Session.objects.filter(subject=subject)
        .select_related("agent")
        .annotate(learned_count=Subquery(learned, output_field=IntegerField()))
        .order_by("-last_turn_at", "-id")
    )


@dataclass(frozen=True)
class TurnPage:
    """Turns in order. `earlier` and `later` are the indexes that the neighbouring pages begin at, or None.

    `follows_at` is when the turn before the first one was recorded.
    """

    turns: list[Turn]
    earlier: int | None
    later: int | None
    follows_at: datetime | None


def turn_page(session: Session, *, start: int = 0) -> TurnPage:
    """Turns of `session` from index `start` on, each with the versions it states or confirms."""
    evidence = Evidence.objects.select_related("version__fact").order_by("created_at", "id")
    turns = list(
        session.turns.filter(index__gte=start)
        .order_by("index")
        .defer("digest", "text")
        .prefetch_related(Prefetch("evidence", queryset=evidence))[: TURNS_SHOWN + 1]
    )
    later = turns[TURNS_SHOWN].index if len(turns) > TURNS_SHOWN else None
    before = list(
        session.turns.filter(index__lt=start).order_by("-index").values_list("index", "recorded_at")[:TURNS_SHOWN]
    )
    earlier, follows_at = (before[-1][0], before[0][1]) if before else (None, None)
    return TurnPage(turns[:TURNS_SHOWN], earlier, later, follows_at)


def actor_names(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Names for (kind, id) as the log and the transitions keep them; what is gone keeps the first part of its id."""
    pairs = set(pairs)
    names = {(kind, key): key[:8] if kind in (ActorKind.AGENT, ActorKind.USER) else key for kind, key in pairs}
    agents = [key for kind, key in pairs if kind == ActorKind.AGENT and _uuid(key)]
    users = [key for kind, key in pairs if kind == ActorKind.USER and _uuid(key)]
    names |= {(ActorKind.AGENT.value, str(pk)): name for pk, name in _named(Agent.objects, agents, "name")}
    names |= {(ActorKind.USER.value, str(pk)): name for pk, name in _named(User.objects, users, "username")}
    return names


def subjects_named(ids: Iterable[UUID | None]) -> dict[UUID, str]:
    """The external ids of the subjects that still exist."""
    wanted = {one for one in ids if one}
    return dict(Subject.objects.filter(pk__in=wanted).values_list("id", "external_id")) if wanted else {}


def _named(manager: object, ids: Sequence[str], field: str) -> Iterable[tuple[UUID, str]]:
    return manager.filter(pk__in=ids).values_list("id", field) if ids else ()  # type: ignore[attr-defined]


def _counts(rows: QuerySet) -> dict[UUID, int]:
    return dict(rows.order_by().values_list("subject").annotate(n=Count("id")))


def _standing() -> QuerySet[FactVersion]:
    return FactVersion.objects.filter(fact=OuterRef("pk"), status__in=STANDING)


def _standing_first() -> Case:
    return Case(
        *(When(status=status, then=Value(place)) for place, status in enumerate(STANDING)),
        default=Value(len(STANDING)),
        output_field=IntegerField(),
    )


def _versions(*, with_text: bool) -> QuerySet[FactVersion]:
    evidence = Evidence.objects.select_related("turn__session").order_by("created_at", "id")
    evidence = evidence.defer(
        "turn__content", "turn__metadata", "turn__digest", "turn__tool_input", "turn__tool_result"
    )
    if not with_text:
        evidence = evidence.defer(
            "turn__content", "turn__metadata", "turn__digest", "turn__tool_input", "turn__tool_result", "turn__text"
        )
    return (
        FactVersion.objects.select_related("agent", "session")
        .order_by("-number")
        .prefetch_related(Prefetch("evidence", queryset=evidence), "removed_evidence")
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None
