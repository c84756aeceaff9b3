"""The rows behind a fact: appending versions, changing their status, adding evidence. Services decide, this writes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils import timezone

from audit.actors import Actor, ActorKind
from audit.erasure.tombstones import Erased
from facts.doubts import Doubt
from facts.exceptions import NotPossible, UnknownFact, VersionConflict
from facts.models import Evidence, EvidenceKind, Fact, FactTransition, FactVersion, Source, Status
from facts.visibility import LET_IN
from memoryhub.core.ids import uuid7
from sessions.models import Subject, Turn


@dataclass(frozen=True)
class Wording:
    """What a version says, and who says it."""

    content: str
    value: Decimal | None
    unit: str
    mentions: tuple[str, ...]
    confidence: float
    source: Source
    agent_id: UUID | None = None
    extracted_by: str = ""
    written_with: str = ""
    special_category: str = ""
    valid_from: datetime | None = None
    expires_at: datetime | None = None
    doubts: Sequence[Doubt] = field(default=())


class Rows:
    """New rows that are written together, each kind by one statement, in the order in which they refer to others."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.versions: list[FactVersion] = []
        self.transitions: list[FactTransition] = []
        self.evidence: list[Evidence] = []

    def write(self) -> None:
        Fact.objects.bulk_create(self.facts)
        FactVersion.objects.bulk_create(self.versions)
        FactTransition.objects.bulk_create(self.transitions)
        Evidence.objects.bulk_create(self.evidence, ignore_conflicts=True)
        self.facts, self.versions, self.transitions, self.evidence = [], [], [], []


def version_append(
    fact: Fact,
    wording: Wording,
    *,
    actor: Actor,
    reason: str,
    note: str = "",
    turn: Turn | None = None,
    waits: bool = False,
    past: bool = False,
    approved: bool = False,
    first: bool = False,
    rows: Rows | None = None,
) -> FactVersion:
    """Append a version. It becomes current, and the one that was is superseded; or it `waits` and changes nothing.

    `past`: it held before others that are there already, and is superseded from the start.

    `turn` is where it was said. `approved`: a person lets it in for every agent. `first`: the fact was made for it.
    `rows`: where new rows go, for the caller to write; else they are written at once.
    """
    numbers = [] if first else list(fact.versions.order_by("-number").values_list("number", flat=True)[:1])
    begins = wording.valid_from or (turn.occurred_at if turn else timezone.now())
    ends = _followed_at(fact, begins) if past else None
    version_id = uuid7()
    new = rows if rows is not None else Rows()
    if not waits and not past and not first:
        supersede_current(fact, by=version_id, actor=actor, reason=reason, since=begins)
    version = FactVersion(
        id=version_id,
        workspace_id=fact.workspace_id,
        fact=fact,
        number=(numbers[0] if numbers else 0) + 1,
        content=wording.content,
        value=wording.value,
        unit=wording.unit,
        mentions=list(wording.mentions),
        confidence=wording.confidence,
        source=wording.source,
        agent_id=wording.agent_id,
        session_id=turn.session_id if turn else None,
        extracted_by=wording.extracted_by,
        written_with=wording.written_with,
        special_category=wording.special_category,
        findings=[doubt.as_json() for doubt in wording.doubts],
        valid_from=begins,
        expires_at=wording.expires_at,
        status=Status.QUARANTINED if waits else Status.SUPERSEDED if past else Status.CURRENT,
        status_at=ends or timezone.now(),
        approved_at=timezone.now() if approved else None,
    )
    new.versions.append(version)
    new.transitions.append(
        FactTransition(
            workspace_id=fact.workspace_id,
            version=version,
            to_status=version.status,
            actor_kind=actor.kind,
            actor_id=actor.id,
            reason=reason,
            note=note,
            written_with=actor.credential,
        )
    )
    new.evidence += _evidence(version, turn, EvidenceKind.STATES)
    if rows is None:
        new.write()
    return version


def _followed_at(fact: Fact, begins: datetime) -> datetime | None:
    """When the version that follows one of that time began to hold."""
    later = FactVersion.objects.filter(fact=fact, status__in=LET_IN, valid_from__gt=begins).order_by("valid_from")
    return later.values_list("valid_from", flat=True).first()


def supersede_current(
    fact: Fact, *, by: UUID, actor: Actor, reason: str, since: datetime | None = None, note: str = ""
) -> None:
    """The current version of `fact`, if there is one, makes way for the version `by`."""
    for current in FactVersion.objects.filter(fact=fact, status=Status.CURRENT):
        from_when = max(since, current.valid_from) if since else None
        transition(current, Status.SUPERSEDED, actor=actor, reason=reason, note=note, since=from_when, by=by)


def transition(
    version: FactVersion,
    status: Status,
    *,
    actor: Actor,
    reason: str,
    note: str = "",
    since: datetime | None = None,
    by: UUID | None = None,
) -> None:
    """Change a version's status and keep the change: `since` when it holds, if that was not just now, and `by` what."""
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
        written_with=actor.credential,
        superseded_by=by,
        at=now,
    )
    version.status = status
    version.status_at = since or now
    version.save(update_fields=["status", "status_at"])


def approve(version: FactVersion) -> None:
    """A person lets the version in for every agent."""
    if version.approved_at is None:
        version.approved_at = timezone.now()
        version.save(update_fields=["approved_at"])


def evidence_add(version: FactVersion, turn: Turn | None, kind: EvidenceKind) -> None:
    """Not of a turn that is withheld."""
    Evidence.objects.bulk_create(_evidence(version, turn, kind), ignore_conflicts=True)


def _evidence(version: FactVersion, turn: Turn | None, kind: EvidenceKind) -> list[Evidence]:
    if turn is None or turn.withheld_at is not None:
        return []
    return [Evidence(workspace_id=version.workspace_id, version=version, turn=turn, kind=kind)]


def subject_locked(subject_id: UUID) -> Subject:
    """Writers of one subject's facts go one after the other. New sessions of the subject need not wait for them.

    With its workspace. Raises Erased when the subject was erased meanwhile.
    """
    rows = Subject.objects.select_for_update(no_key=True, of=("self",)).select_related("workspace")
    subject = rows.filter(pk=subject_id).first()
    if subject is None:
        raise Erased("user_id", "This person was erased.")
    return subject


def fact_locked(fact: Fact, expected_version: int | None) -> tuple[Fact, FactVersion]:
    """The fact, locked, with the version that stands: the current one, else the latest that was ever let in.

    Checked against the version that the caller saw. What waits for review, or was turned down, does not count.
    Raises NotPossible when nothing else is there, VersionConflict when the fact has moved past `expected_version`.
    """
    subject_locked(fact.subject_id)
    fact = Fact.objects.select_for_update(of=("self",)).select_related("subject").get(pk=fact.pk)
    versions = list(fact.versions.order_by("-number"))
    if not versions:
        raise UnknownFact("fact", "This fact has no version.")
    let_in = [version for version in versions if version.status in LET_IN]
    if not let_in:
        waits = any(version.status == Status.QUARANTINED for version in versions)
        raise NotPossible("fact", "This fact waits for review." if waits else "This fact was turned down.")
    if expected_version is not None and let_in[0].number != expected_version:
        raise VersionConflict("expected_version", f"The fact is at version {let_in[0].number} by now: read it again.")
    return fact, next((version for version in let_in if version.status == Status.CURRENT), let_in[0])


def is_person(actor: Actor) -> bool:
    """Whether a person acts: at the console, or with a shell on the host."""
    return actor.kind in (ActorKind.USER, ActorKind.COMMAND)


def version_data(version: FactVersion) -> dict[str, Any]:
    """What the log keeps of a version: ids, numbers and codes."""
    return {
        "fact_id": version.fact_id,
        "version_id": version.id,
        "version": version.number,
        "source": version.source,
        "status": version.status,
        "confidence": version.confidence,
    } | ({"findings": list(dict.fromkeys(_class(one) for one in version.findings))[:20]} if version.findings else {})


def _class(finding: dict[str, Any]) -> str:
    """`suspicious:link` where something was found in the content, else the code alone."""
    return f"{finding['code']}:{finding['kind']}" if finding.get("kind") else str(finding["code"])
