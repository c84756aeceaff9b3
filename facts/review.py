"""A person decides: what waits is let in, put right or turned down; withheld turns are released.

Every function runs in the caller's workspace transaction: check, write, record.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.actors import Actor
from audit.services import record
from facts.doubts import MARKS_STALE
from facts.exceptions import NotPossible, OwnWork, UnknownFact
from facts.indexing import index_versions, unindex_versions
from facts.models import Fact, FactVersion, Source, Status
from facts.versions import (
    Wording,
    approve,
    subject_locked,
    supersede_current,
    transition,
    version_append,
    version_data,
)
from facts.visibility import LET_IN
from sessions.indexing import index_turns, unindex_turns
from sessions.models import Session, Turn


@dataclass(frozen=True)
class ReviewFilter:
    """What of the queue is looked at. `state`: `waiting`, `unshared` (known to its own agent only), `rejected`."""

    state: str = "waiting"
    code: str = ""
    source: str = ""
    agent_id: UUID | None = None
    subject_id: UUID | None = None
    written_with: str = ""


@dataclass(frozen=True)
class Reviewed:
    """A version with what a person needs to decide about it."""

    version: FactVersion
    replaces: FactVersion | None
    """The current version of its fact: what letting it in would put away."""
    beside: tuple[FactVersion, ...] = field(default=())
    """Current versions of other facts about the same thing, which would stand beside it."""

    @property
    def marks_stale(self) -> bool:
        """Whether it asks for the current version to count as no longer true."""
        return asks_stale(self.version)


def asks_stale(version: FactVersion) -> bool:
    return any(one["code"] == MARKS_STALE for one in version.findings)


def review_queue(workspace_id: UUID, wanted: ReviewFilter) -> QuerySet[FactVersion]:
    """The versions that `wanted` asks for, unordered."""
    versions = FactVersion.objects.filter(workspace_id=workspace_id)
    if wanted.state == "waiting":
        versions = versions.filter(status=Status.QUARANTINED)
    elif wanted.state == "rejected":
        versions = versions.filter(status=Status.REJECTED)
    else:
        versions = versions.filter(status=Status.CURRENT, source=Source.AGENT, approved_at__isnull=True)
    if wanted.code:
        versions = versions.filter(findings__contains=[{"code": wanted.code}])
    if wanted.source:
        versions = versions.filter(source=wanted.source)
    if wanted.agent_id:
        versions = versions.filter(agent_id=wanted.agent_id)
    if wanted.subject_id:
        versions = versions.filter(fact__subject_id=wanted.subject_id)
    if wanted.written_with:
        versions = versions.filter(written_with=wanted.written_with)
    return versions


def reviewed(versions: Sequence[FactVersion]) -> Iterator[Reviewed]:
    """Each of `versions`, which come with their facts, and what it would replace or stand beside: two queries."""
    facts = {version.fact_id: version.fact for version in versions}
    same = Q(pk__in=())
    for fact in facts.values():
        same |= Q(
            fact__subject_id=fact.subject_id,
            fact__type=fact.type,
            fact__entity_key=fact.entity_key,
            fact__attribute=fact.attribute,
        )
    standing = list(FactVersion.objects.filter(same, status=Status.CURRENT).select_related("fact", "agent"))
    for version in versions:
        fact = version.fact
        others = [one for one in standing if one.id != version.id and one.fact.subject_id == fact.subject_id]
        yield Reviewed(
            version,
            next((one for one in others if one.fact_id == fact.id), None),
            tuple(one for one in others if one.fact_id != fact.id and _same_thing(one.fact, fact)),
        )


def version_approve(*, version: FactVersion, actor: Actor, agent_id: UUID | None = None, note: str = "") -> FactVersion:
    """Let a version in for every agent. One that waited, or was turned down before, becomes current.

    A version that asks for a fact to count as stale makes it so. One that is current already, and was for its own agent
    alone, is shared. `agent_id` is that of a reviewer who is an agent. Raises OwnWork when it wrote the version itself,
    NotPossible for a version that neither waits nor was turned down nor can be shared.
    """
    version = _locked(version)
    _refuse_own(version, agent_id)
    if version.status == Status.CURRENT:
        if version.approved_at is None:
            approve(version)
            _record(actor, "fact.approved", version, "not_shared")
        return version
    if version.status not in (Status.QUARANTINED, Status.REJECTED):
        raise NotPossible("version", f"This version is {version.status}: it was let in before.")
    if asks_stale(version):
        supersede_current(version.fact, by=version.id, actor=actor, reason=MARKS_STALE, note=note)
        transition(version, Status.STALE, actor=actor, reason="reviewed", note=note)
    else:
        supersede_current(version.fact, by=version.id, actor=actor, reason="superseded", since=version.valid_from)
        transition(version, Status.CURRENT, actor=actor, reason="reviewed", note=note)
    approve(version)
    index_versions(subject=version.fact.subject, versions=[version])
    _record(actor, "fact.approved", version, "reviewed")
    return version


def version_edit(
    *,
    version: FactVersion,
    actor: Actor,
    content: str,
    value: Decimal | None = None,
    unit: str = "",
    agent_id: UUID | None = None,
    note: str = "",
) -> FactVersion:
    """Let a version in as the reviewer words it: theirs becomes current, the one that waited is turned down.

    Raises as `version_approve`.
    """
    version = _locked(version)
    _refuse_own(version, agent_id)
    if version.status not in (Status.QUARANTINED, Status.REJECTED):
        raise NotPossible("version", f"This version is {version.status}: correct the fact instead.")
    if version.status == Status.QUARANTINED:
        transition(version, Status.REJECTED, actor=actor, reason="corrected", note=note)
        _record(actor, "fact.rejected", version, "corrected")
    wording = Wording(
        content=content,
        value=value,
        unit=unit,
        mentions=tuple(version.mentions),
        confidence=1.0,
        source=Source.OPERATOR if agent_id is None else Source.AGENT,
        agent_id=agent_id,
        written_with=actor.credential,
        special_category=version.special_category,
        valid_from=version.valid_from,
        expires_at=version.expires_at,
    )
    edited = version_append(version.fact, wording, actor=actor, reason="corrected", note=note, approved=True)
    index_versions(subject=version.fact.subject, versions=[edited])
    record(
        actor,
        "fact.corrected",
        edited,
        subject=version.fact.subject_id,
        reason="corrected",
        data=version_data(edited),
        commit={"content": edited.content},
    )
    return edited


def version_reject(
    *, version: FactVersion, actor: Actor, reason: str, agent_id: UUID | None = None, note: str = ""
) -> FactVersion:
    """Turn a version down that waits, or one that only its own agent was shown so far. Twice changes nothing.

    The same statement by the same writer joins it from then on instead of waiting anew. Raises NotPossible for a
    version that others were shown, which is corrected or marked stale instead.
    """
    version = _locked(version)
    if version.status == Status.REJECTED:
        return version
    unshared = version.status == Status.CURRENT and version.source == Source.AGENT and version.approved_at is None
    if version.status != Status.QUARANTINED and not unshared:
        raise NotPossible("version", f"This version is {version.status}: correct the fact or mark it stale instead.")
    _reject(version, actor=actor, reason=reason, note=note)
    return version


def import_approve(*, workspace_id: UUID, written_with: str, actor: Actor) -> tuple[int, int]:
    """Let in what an import brought and still waits: (versions, turns). Versions in the order they came to hold."""
    waiting = FactVersion.objects.filter(
        workspace_id=workspace_id, written_with=written_with, status=Status.QUARANTINED
    ).order_by("fact__subject_id", "created_at", "id")
    versions = [version_approve(version=version, actor=actor) for version in waiting.select_related("fact__subject")]
    turns = Turn.objects.filter(
        workspace_id=workspace_id, written_with=written_with, withheld_reason="untrusted_source"
    )
    return len(versions), turns_release(turns=turns, actor=actor)


def turns_withhold(*, turns: QuerySet[Turn], actor: Actor, reason: str) -> int:
    """Keep turns from being surfaced and extracted from; returns how many. One entry for each session."""
    return _turns_change(
        turns.filter(withheld_at__isnull=True), "turns.withheld", actor, reason, at=timezone.now(), code=reason
    )


def turns_release(*, turns: QuerySet[Turn], actor: Actor, reason: str = "reviewed") -> int:
    """Let withheld turns be surfaced again; returns how many."""
    return _turns_change(turns.filter(withheld_at__isnull=False), "turns.released", actor, reason, at=None, code="")


def _turns_change(
    turns: QuerySet[Turn], action: str, actor: Actor, reason: str, *, at: datetime | None, code: str
) -> int:
    found: dict[UUID, list[UUID]] = {}
    for pk, session_id in turns.order_by("session_id", "index").values_list("id", "session_id"):
        found.setdefault(session_id, []).append(pk)
    sessions = Session.objects.select_related("subject").in_bulk(list(found))
    for session_id, ids in found.items():
        changed = Turn.objects.filter(pk__in=ids)
        changed.update(withheld_at=at, withheld_reason=code)
        session = sessions[session_id]
        # What is withheld is found by nobody; it is indexed when it is released.
        if at is None:
            index_turns(subject=session.subject, session=session, turns=list(changed.order_by("index")))
        else:
            unindex_turns(subject=session.subject, turns=ids)
        record(
            actor,
            action,
            session,
            subject=session.subject_id,
            session=session,
            reason=reason,
            data={"turns": len(ids)},
        )
    return sum(map(len, found.values()))


def _reject(version: FactVersion, *, actor: Actor, reason: str, note: str = "") -> None:
    """Turn down, whatever its status; what was let in is no longer found either."""
    was_let_in = version.status in LET_IN
    transition(version, Status.REJECTED, actor=actor, reason=reason, note=note)
    if was_let_in:
        unindex_versions(subject=version.fact.subject, versions=[version])
    _record(actor, "fact.rejected", version, reason)


def _locked(version: FactVersion) -> FactVersion:
    subject_id = Fact.objects.values_list("subject_id", flat=True).filter(pk=version.fact_id).first()
    if subject_id is None:
        raise UnknownFact("version", "There is no such version.")
    subject_locked(subject_id)
    return FactVersion.objects.select_related("fact__subject").get(pk=version.pk)


def _refuse_own(version: FactVersion, agent_id: UUID | None) -> None:
    if agent_id is not None and version.agent_id == agent_id:
        raise OwnWork("version", "What an agent wrote itself is for somebody else to review.")


def _same_thing(one: Fact, other: Fact) -> bool:
    return (one.type, one.entity_key, one.attribute) == (other.type, other.entity_key, other.attribute)


def _record(actor: Actor, action: str, version: FactVersion, reason: str) -> None:
    record(actor, action, version, subject=version.fact.subject_id, reason=reason, data=version_data(version))
