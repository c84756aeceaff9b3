"""Writing semantic memory. Every function runs in the caller's workspace transaction: check, write, record."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Prefetch
from django.utils import timezone

from audit.actors import Actor
from audit.services import record
from facts.decision import Decision, Identity, Known, Outcome, Stated, attribute_key, decide, entity_key
from facts.exceptions import NotPossible, RecordingPaused, UnknownFact, VersionConflict
from facts.indexing import index_versions
from facts.models import Evidence, EvidenceKind, Fact, FactTransition, FactType, FactVersion, Source, Status
from sessions.models import Subject, Turn


@dataclass(frozen=True)
class FactInput:
    """One fact to write. `replaces` names a fact of the same subject by id; `turn` is where it was stated."""

    type: FactType
    entity: str
    content: str
    attribute: str = ""
    value: Decimal | None = None
    unit: str = ""
    mentions: tuple[str, ...] = ()
    confidence: float = 1.0
    turn: Turn | None = None
    replaces: UUID | None = None
    coexists: bool = False
    valid_from: datetime | None = None
    expires_at: datetime | None = None
    visible_to_id: UUID | None = None

    @property
    def identity(self) -> Identity:
        return Identity(self.type, entity_key(self.entity), attribute_key(self.attribute))


@dataclass(frozen=True)
class Written:
    """What became of one statement."""

    version: FactVersion
    outcome: Outcome
    reason: str


def facts_record(
    *,
    subject: Subject,
    facts: Sequence[FactInput],
    source: Source,
    actor: Actor,
    agent_id: UUID | None = None,
    extracted_by: str = "",
) -> list[Written]:
    """Write facts in order: each is added, confirms a known one, or supersedes it by a new version.

    Raises UnknownFact when `replaces` names no fact of this subject, RecordingPaused when an agent writes about
    somebody of whom nothing is kept now; nothing is written then.
    """
    # Writers of one subject's facts go one after the other: two equal statements become one fact.
    subject = Subject.objects.select_for_update().get(pk=subject.pk)
    if subject.recording_paused_at and source in (Source.AGENT, Source.TOOL):
        raise RecordingPaused("user_id", "Recording is paused for this person.")
    written = []
    for position, stated in enumerate(facts):
        known = _known(subject, stated, f"facts[{position}].replaces")
        decision = decide(
            [_as_known(fact) for fact in known],
            Stated(
                identity=stated.identity,
                content=stated.content,
                value=stated.value,
                unit=stated.unit,
                replaces=stated.replaces,
                coexists=stated.coexists,
            ),
        )
        target = next((fact for fact in known if fact.id == decision.fact_id), None)
        if decision.outcome is Outcome.CONFIRMED and target is not None:
            version = _latest(target)
            _add_evidence(version, stated.turn, EvidenceKind.CONFIRMS)
        else:
            fact = target or _fact_add(subject, stated)
            version = _version_add(
                fact,
                content=stated.content,
                value=stated.value,
                unit=stated.unit,
                mentions=stated.mentions,
                confidence=stated.confidence,
                source=source,
                agent_id=agent_id,
                turn=stated.turn,
                extracted_by=extracted_by,
                valid_from=stated.valid_from,
                expires_at=stated.expires_at,
                actor=actor,
                reason=decision.reason,
            )
        written.append(Written(version, decision.outcome, decision.reason))
        _record_written(actor, subject, version, decision, stated)
    subject.save(update_fields=["last_handle"])
    index_versions(subject=subject, versions=[one.version for one in written if one.outcome is not Outcome.CONFIRMED])
    return written


def fact_correct(
    *,
    fact: Fact,
    expected_version: int,
    actor: Actor,
    source: Source,
    reason: str = "corrected",
    note: str = "",
    content: str | None = None,
    value: Decimal | None = None,
    unit: str | None = None,
    mentions: tuple[str, ...] | None = None,
    confidence: float | None = None,
    agent_id: UUID | None = None,
) -> FactVersion:
    """Add a version that the actor vouches for; what is not given is taken over. Earlier versions are never changed.

    A number that the former version held is dropped when the content changes and no new `value` is given, since
    it may no longer be the one in the sentence. Raises VersionConflict when `fact` has moved past `expected_version`.
    """
    fact, latest = _locked(fact, expected_version)
    if latest.status == Status.QUARANTINED:
        raise NotPossible("fact", "This fact waits for review.")
    rewritten = content is not None and content != latest.content
    version = _version_add(
        fact,
        content=latest.content if content is None else content,
        value=value if value is not None or rewritten else latest.value,
        unit=unit if unit is not None else ("" if rewritten else latest.unit),
        mentions=tuple(latest.mentions) if mentions is None else mentions,
        confidence=latest.confidence if confidence is None else confidence,
        source=source,
        agent_id=agent_id,
        turn=None,
        extracted_by="",
        valid_from=None,
        # A version that is past its time is corrected because it holds after all.
        expires_at=latest.expires_at if latest.expires_at and latest.expires_at > timezone.now() else None,
        actor=actor,
        reason=reason,
        note=note,
    )
    index_versions(subject=fact.subject, versions=[version])
    record(
        actor,
        "fact.corrected",
        version,
        subject=fact.subject_id,
        reason=reason,
        data=_version_data(version),
        commit={"content": version.content},
    )
    return version


def fact_mark_stale(
    *, fact: Fact, actor: Actor, reason: str, note: str = "", expected_version: int | None = None
) -> FactVersion:
    """Mark the current version as no longer true. Marking a stale fact again changes nothing.

    Raises VersionConflict when `fact` has moved past `expected_version`, NotPossible when it waits for review.
    """
    fact, latest = _locked(fact, expected_version)
    current = fact.versions.filter(status=Status.CURRENT).first()
    if current is None:
        if latest.status == Status.STALE:
            return latest
        raise NotPossible("fact", f"This fact has no current version: its latest one is {latest.status}.")
    _transition(current, Status.STALE, actor=actor, reason=reason, note=note)
    record(
        actor,
        "fact.marked_stale",
        current,
        subject=fact.subject_id,
        reason=reason,
        data=_version_data(current),
    )
    return current


def fact_restore(
    *,
    fact: Fact,
    number: int,
    actor: Actor,
    reason: str = "restored",
    note: str = "",
    expected_version: int | None = None,
) -> FactVersion:
    """Make an earlier (or stale) version current again; the one that was current becomes superseded.

    Raises UnknownFact when there is no such version, VersionConflict as above, NotPossible for a version that waits
    for review or was rejected.
    """
    fact, _ = _locked(fact, expected_version)
    version = fact.versions.filter(number=number).first()
    if version is None:
        raise UnknownFact("version", "This fact has no such version.")
    if version.status in (Status.QUARANTINED, Status.REJECTED):
        raise NotPossible("version", f"This version is {version.status}.")
    if version.status == Status.CURRENT:
        return version
    for current in fact.versions.filter(status=Status.CURRENT):
        _transition(current, Status.SUPERSEDED, actor=actor, reason=reason)
    _transition(version, Status.CURRENT, actor=actor, reason=reason, note=note)
    record(
        actor,
        "fact.restored",
        version,
        subject=fact.subject_id,
        reason=reason,
        data=_version_data(version),
    )
    return version


def fact_pin(*, fact: Fact, pinned: bool, actor: Actor) -> Fact:
    """Pinned facts enter every working memory."""
    if fact.pinned != pinned:
        fact.pinned = pinned
        fact.save(update_fields=["pinned"])
        record(actor, "fact.pinned" if pinned else "fact.unpinned", fact, subject=fact.subject_id)
    return fact


def _known(subject: Subject, stated: FactInput, field: str) -> list[Fact]:
    """The subject's facts with the identity of `stated`, and the one it names."""
    identity = stated.identity
    facts = Fact.objects.filter(subject=subject).prefetch_related(
        Prefetch("versions", queryset=FactVersion.objects.order_by("-number"))
    )
    known = list(
        facts.filter(type=identity.type, entity_key=identity.entity_key, attribute=identity.attribute).order_by("id")
    )
    if stated.replaces is not None and all(fact.id != stated.replaces for fact in known):
        named = facts.filter(pk=stated.replaces).first()
        if named is None:
            raise UnknownFact(field, "This subject has no such fact.")
        known.append(named)
    return known


def _as_known(fact: Fact) -> Known:
    latest = _latest(fact)
    return Known(
        fact_id=fact.id,
        identity=Identity(fact.type, fact.entity_key, fact.attribute),
        content=latest.content,
        value=latest.value,
        unit=latest.unit,
        is_current=latest.status == Status.CURRENT,
    )


def _latest(fact: Fact) -> FactVersion:
    """The current version, or the highest when none is current, of a fact with prefetched versions."""
    versions = list(fact.versions.all())
    return next((version for version in versions if version.status == Status.CURRENT), versions[0])


def _fact_add(subject: Subject, stated: FactInput) -> Fact:
    subject.last_handle += 1
    identity = stated.identity
    return Fact.objects.create(
        workspace_id=subject.workspace_id,
        subject=subject,
        type=stated.type,
        entity=stated.entity,
        entity_key=identity.entity_key,
        attribute=identity.attribute,
        handle=subject.last_handle,
        visible_to_id=stated.visible_to_id,
    )


def _version_add(
    fact: Fact,
    *,
    content: str,
    value: Decimal | None,
    unit: str,
    mentions: tuple[str, ...],
    confidence: float,
    source: Source,
    agent_id: UUID | None,
    turn: Turn | None,
    extracted_by: str,
    valid_from: datetime | None,
    expires_at: datetime | None,
    actor: Actor,
    reason: str,
    note: str = "",
) -> FactVersion:
    """Append a version and make it current."""
    numbers = list(fact.versions.order_by("-number").values_list("number", flat=True)[:1])
    begins = valid_from or (turn.occurred_at if turn else timezone.now())
    for current in FactVersion.objects.filter(fact=fact, status=Status.CURRENT):
        _transition(current, Status.SUPERSEDED, actor=actor, reason=reason, since=max(begins, current.valid_from))
    version = FactVersion.objects.create(
        workspace_id=fact.workspace_id,
        fact=fact,
        number=(numbers[0] if numbers else 0) + 1,
        content=content,
        value=value,
        unit=unit,
        mentions=list(mentions),
        confidence=confidence,
        source=source,
        agent_id=agent_id,
        session_id=turn.session_id if turn else None,
        extracted_by=extracted_by,
        valid_from=begins,
        expires_at=expires_at,
    )
    FactTransition.objects.create(
        workspace_id=fact.workspace_id,
        version=version,
        to_status=Status.CURRENT,
        actor_kind=actor.kind,
        actor_id=actor.id,
        reason=reason,
        note=note,
    )
    _add_evidence(version, turn, EvidenceKind.STATES)
    return version


def _add_evidence(version: FactVersion, turn: Turn | None, kind: EvidenceKind) -> None:
    if turn is not None:
        Evidence.objects.bulk_create(
            [Evidence(workspace_id=version.workspace_id, version=version, turn=turn, kind=kind)], ignore_conflicts=True
        )


def _transition(
    version: FactVersion, status: Status, *, actor: Actor, reason: str, note: str = "", since: datetime | None = None
) -> None:
    """Change a version's status and keep the change. `since` is when it began to hold, if that was not just now."""
    now = timezone.now()
    FactTransition.objects.create(
        workspace_id=version.workspace_id,
        version=version,
        from_status=version.status,
        to_status=status,
        actor_kind=actor.kind,
        actor_id=actor.id,
        reason=reason,
        note=note,
        at=now,
    )
    version.status = status
    version.status_at = since or now
    version.save(update_fields=["status", "status_at"])


def _locked(fact: Fact, expected_version: int | None) -> tuple[Fact, FactVersion]:
    """The fact, locked, with its latest version; checked against the version the caller saw."""
    fact = Fact.objects.select_for_update(of=("self",)).select_related("subject").get(pk=fact.pk)
    latest = fact.versions.order_by("-number").first()
    if latest is None:
        raise UnknownFact("fact", "This fact has no version.")
    if expected_version is not None and latest.number != expected_version:
        raise VersionConflict("expected_version", f"The fact is at version {latest.number} by now: read it again.")
    return fact, latest


def _record_written(
    actor: Actor, subject: Subject, version: FactVersion, decision: Decision, stated: FactInput
) -> None:
    record(
        actor,
        f"fact.{decision.outcome.value}",
        version,
        subject=subject.id,
        session=stated.turn.session_id if stated.turn else None,
        reason=decision.reason,
        data=_version_data(version) | ({"turn_ids": [stated.turn.id]} if stated.turn else {}),
        commit=None if decision.outcome is Outcome.CONFIRMED else {"content": version.content},
    )


def _version_data(version: FactVersion) -> dict[str, Any]:
    """What the log keeps of a version: ids, numbers and codes."""
    return {
        "fact_id": version.fact_id,
        "version_id": version.id,
        "version": version.number,
        "source": version.source,
        "status": version.status,
        "confidence": version.confidence,
    }
