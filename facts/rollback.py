"""Taking back everything a key or a session wrote, in one reviewed action: first a plan, then exactly that plan.

What is taken back: versions it brought in are turned down, what they replaced holds again; what it marked stale or
brought back is as it was; turns it recorded are withheld. What a person stands behind is kept. Nothing is deleted, and
each item can be put back alone: versions by approving them, turns by releasing them.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from audit.actors import Actor
from audit.services import record
from facts.exceptions import PlanChanged
from facts.indexing import index_versions, unindex_versions
from facts.models import Fact, FactTransition, FactVersion, Source, Status
from facts.review import turns_withhold
from facts.versions import subject_locked, transition, version_data
from facts.visibility import LET_IN
from memoryhub.access.models import Workspace
from sessions.models import Session, Turn

REASON = "rolled_back"


@dataclass(frozen=True)
class Scope:
    """Whose writing: of the key with this public prefix, or in this session; from `since` up to `until`."""

    workspace_id: UUID
    key: str = ""
    session_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if bool(self.key) == (self.session_id is not None):
            raise ValueError("either a key or a session")


@dataclass(frozen=True)
class Change:
    """A version's status, now and after the roll back. `why`: `written` by them, `replaced` or `marked` by them."""

    version: FactVersion
    was: Status
    to: Status
    why: str


@dataclass(frozen=True)
class Plan:
    """What rolling back would do. `kept` are their versions that a person stands behind."""

    scope: Scope
    changes: tuple[Change, ...] = ()
    kept: tuple[FactVersion, ...] = ()
    turns: int = 0
    turns_digest: str = ""
    sessions: int = 0
    people: int = 0
    facts: Mapping[UUID, Fact] = field(default_factory=dict, compare=False, repr=False)

    @property
    def rejected(self) -> int:
        return sum(change.to == Status.REJECTED for change in self.changes)

    @property
    def restored(self) -> int:
        return len(self.changes) - self.rejected

    @property
    def is_empty(self) -> bool:
        return not (self.changes or self.turns)

    @property
    def digest(self) -> str:
        """SHA-256 over everything the plan would do: the same plan, the same digest."""
        told = {
            "scope": [
                str(self.scope.workspace_id),
                self.scope.key,
                str(self.scope.session_id or ""),
                self.scope.since.isoformat() if self.scope.since else "",
                self.scope.until.isoformat() if self.scope.until else "",
            ],
            "changes": sorted([str(one.version.id), one.was.value, one.to.value] for one in self.changes),
            "kept": sorted(str(version.id) for version in self.kept),
            "turns": self.turns_digest,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Past:
    """A version as the rule sees it. `status_without`: the one it would have without what they did to it."""

    version_id: UUID
    number: int
    status: Status
    written_by_them: bool
    vouched: bool
    status_without: Status


def statuses_without(versions: Sequence[Past]) -> dict[UUID, Status]:
    """The statuses of one fact's versions as if they had never written: only those that differ from what they are.

    Theirs are turned down, but for what a person vouches for. If then no version is current, the latest that would be
    so without them is. Pure.
    """
    after = {
        one.version_id: Status.REJECTED if one.written_by_them and not one.vouched else one.status for one in versions
    }
    others = [one for one in versions if after[one.version_id] != Status.REJECTED]
    if not any(after[one.version_id] == Status.CURRENT and one.status_without == Status.CURRENT for one in others):
        held = [one for one in others if one.status_without == Status.CURRENT]
        if held:
            back = max(held, key=lambda one: one.number)
            for one in others:
                if after[one.version_id] == Status.CURRENT:
                    after[one.version_id] = one.status_without
            after[back.version_id] = Status.CURRENT
    return {one.version_id: after[one.version_id] for one in versions if after[one.version_id] != one.status}


def roll_back_plan(scope: Scope) -> Plan:
    """What rolling back would do now. Nothing is changed."""
    in_fact = dict(_their_versions(scope).values_list("id", "fact_id"))
    written = set(in_fact)
    made = dict(_their_transitions(scope, written).values_list("id", "version__fact_id"))
    theirs, touched = set(made), {*in_fact.values(), *made.values()}
    facts = Fact.objects.filter(workspace_id=scope.workspace_id).select_related("subject").in_bulk(list(touched))
    changes: list[Change] = []
    kept: list[FactVersion] = []
    for fact_id, versions in _by_fact(touched):
        fact = facts[fact_id]
        past = [_past(version, fact, written, theirs) for version in versions]
        by_id = {version.id: version for version in versions}
        for version_id, status in statuses_without(past).items():
            why = "written" if version_id in written else "replaced" if status == Status.CURRENT else "marked"
            version = by_id[version_id]
            changes.append(Change(version, Status(version.status), status, why))
        kept += [by_id[one.version_id] for one in past if one.written_by_them and one.vouched]
    turns = list(_their_turns(scope).order_by("id").values_list("id", "session_id"))
    people = {facts[change.version.fact_id].subject_id for change in changes}
    sessions = {session for _, session in turns}
    people |= set(Session.objects.filter(pk__in=sessions).values_list("subject_id", flat=True))
    return Plan(
        scope,
        tuple(sorted(changes, key=lambda one: (facts[one.version.fact_id].id, one.version.number))),
        tuple(kept),
        len(turns),
        hashlib.sha256(b"".join(pk.bytes for pk, _ in turns)).hexdigest(),
        len(sessions),
        len(people),
        facts,
    )


def roll_back(*, scope: Scope, digest: str, actor: Actor, reason: str, note: str = "") -> Plan:
    """Carry out the plan that has this digest, one entry for each item and one for the whole; returns the plan.

    Raises PlanChanged when by now another plan would be made: it is shown again, and decided again.
    """
    # Their subjects' writers wait meanwhile, in one order for everybody.
    for subject_id in sorted({fact.subject_id for fact in roll_back_plan(scope).facts.values()}, key=str):
        subject_locked(subject_id)
    plan = roll_back_plan(scope)
    if plan.digest != digest:
        raise PlanChanged("plan", "What would be taken back has changed: look at it again.")
    for change in sorted(plan.changes, key=lambda one: one.to == Status.CURRENT):
        _carry_out(change, plan.facts[change.version.fact_id], actor=actor, note=note)
    turns_withhold(turns=_their_turns(scope), actor=actor, reason=REASON)
    record(
        actor,
        "memory.rolled_back",
        ("workspace", scope.workspace_id),
        workspace_id=scope.workspace_id,
        reason=reason,
        data={
            "key": scope.key or None,
            "session_id": scope.session_id,
            "since": scope.since,
            "until": scope.until,
            "plan": plan.digest,
            "rejected": plan.rejected,
            "restored": plan.restored,
            "kept": len(plan.kept),
            "withheld": plan.turns,
        },
    )
    return plan


def session_named(workspace: Workspace, named: str) -> Session | None:
    """A session by the hub's id or by the caller's."""
    sessions = Session.objects.filter(workspace=workspace)
    try:
        return sessions.filter(pk=UUID(named)).first() or sessions.filter(external_id=named).first()
    except ValueError:
        return sessions.filter(external_id=named).first()


def _carry_out(change: Change, fact: Fact, *, actor: Actor, note: str) -> None:
    version = change.version
    version.fact = fact
    was_let_in = version.status in LET_IN
    transition(version, change.to, actor=actor, reason=REASON, note=note)
    if change.to == Status.REJECTED and was_let_in:
        unindex_versions(subject=fact.subject, versions=[version])
    if change.to in LET_IN and not was_let_in:
        index_versions(subject=fact.subject, versions=[version])
    record(
        actor,
        "fact.rejected" if change.to == Status.REJECTED else "fact.restored",
        version,
        subject=fact.subject_id,
        reason=REASON,
        data=version_data(version),
    )


def _their_versions(scope: Scope) -> QuerySet[FactVersion]:
    versions = FactVersion.objects.filter(_within("created_at", scope), workspace_id=scope.workspace_id)
    if scope.key:
        return versions.filter(written_with=scope.key)
    return versions.filter(Q(session=scope.session_id), ~Q(source=Source.OPERATOR))


def _their_transitions(scope: Scope, written: set[UUID]) -> QuerySet[FactTransition]:
    """The changes of status that they made, or that made way for what they wrote."""
    made = FactTransition.objects.filter(workspace_id=scope.workspace_id)
    made_way = Q(superseded_by__in=written)
    return made.filter(made_way | (Q(written_with=scope.key) & _within("at", scope)) if scope.key else made_way)


def _their_turns(scope: Scope) -> QuerySet[Turn]:
    turns = Turn.objects.filter(
        _within("recorded_at", scope), workspace_id=scope.workspace_id, withheld_at__isnull=True
    )
    return turns.filter(written_with=scope.key) if scope.key else turns.filter(Q(session=scope.session_id))


def _within(column: str, scope: Scope) -> Q:
    within = Q()
    if scope.since:
        within &= Q(**{f"{column}__gte": scope.since})
    if scope.until:
        within &= Q(**{f"{column}__lt": scope.until})
    return within


def _by_fact(facts: Iterable[UUID]) -> Iterable[tuple[UUID, list[FactVersion]]]:
    grouped: dict[UUID, list[FactVersion]] = {}
    versions = FactVersion.objects.filter(fact__in=list(facts)).prefetch_related("transitions").order_by("number")
    for version in versions:
        grouped.setdefault(version.fact_id, []).append(version)
    return grouped.items()


def _past(version: FactVersion, fact: Fact, written: set[UUID], theirs: set[UUID]) -> Past:
    by_others = [one for one in version.transitions.all() if one.id not in theirs]
    last = max(by_others, key=lambda one: (one.at, str(one.id)), default=None)
    vouched = version.source == Source.OPERATOR or version.approved_at is not None
    return Past(
        version_id=version.id,
        number=version.number,
        status=Status(version.status),
        written_by_them=version.id in written,
        vouched=vouched or (fact.pinned and version.status == Status.CURRENT),
        status_without=Status(last.to_status) if last is not None else Status(version.status),
    )
