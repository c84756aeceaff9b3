"""Writing semantic memory. Every function runs in the caller's workspace transaction: check, write, record.

What an agent may not change by itself is not refused: it waits for a person as a quarantined version (facts/review.py),
and nothing else changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property, reduce
from operator import or_
from uuid import UUID

from django.db import connection
from django.db.models import Max, Prefetch, Q, QuerySet
from django.utils import timezone

from audit.actors import Actor, ActorKind
from audit.erasure.tombstones import refuse_erased
from audit.services import entries_together, record
from facts.decision import (
    Decision,
    Held,
    Identity,
    Known,
    Outcome,
    Past,
    Stated,
    attribute_key,
    contradiction,
    decide,
    entity_key,
)
from facts.doubts import ASKS_ERASURE, MARKS_STALE, RESTORES, Doubt, Heard, doubts_about
from facts.exceptions import NotPossible, RecordingPaused, TooManyFacts, UnknownFact
from facts.indexing import index_versions
from facts.models import Evidence, EvidenceKind, Fact, FactTally, FactTransition, FactType, FactVersion, Source, Status
from facts.provenance import Span, echoed_parts, echoed_parts_of, only_echoes, source_of
from facts.versions import (
    Rows,
    Wording,
    approve,
    evidence_add,
    fact_locked,
    is_person,
    subject_locked,
    supersede_current,
    transition,
    version_append,
    version_data,
)
from facts.visibility import LET_IN, Sight, policy_of, sight_of
from memoryhub.access.policy import WorkspacePolicy, read_policy
from memoryhub.access.screening import Screening, kinds_of
from sessions.models import Subject, Turn

A_DAY = timedelta(days=1)
REFUSED_AT = 2
"""What an agent posts beyond this many times the cap is refused: it keeps it, so that nothing is lost."""


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
    special_category: str = ""
    """Of GDPR art. 9, as labelled by an extractor; else empty."""

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
    actor: Actor,
    source: Source = Source.AGENT,
    agent_id: UUID | None = None,
    extracted_by: str = "",
    approved: bool = False,
    locked: bool = False,
) -> list[Written]:
    """Write facts in order: each is added, confirms a known one, supersedes it by a new version, or waits for review.

    `source` is the door: IMPORT, OPERATOR, else that of an agent or of the hub's extractor. What the extractor took out
    of turns says so by `extracted_by`, and `agent_id` is then the agent of their session. The source of each version
    follows from the door and the turn (facts/provenance.py), and so does the credential that it is kept under: the
    actor's, or the one that brought the turn in. `approved`: a person vouches for all of it. `locked`: the
    caller holds the lock on `subject` already, and knows that it is not being erased.

    Raises UnknownFact when `replaces` names no fact of this subject that the agent knows, RecordingPaused when an agent
    writes about somebody of whom nothing is kept now, Erased about somebody who is being erased, TooManyFacts when it
    wrote far more than it may in a day; nothing is written then.
    """
    if not locked:
        subject = subject_locked(subject.pk)
        refuse_erased(workspace_id=subject.workspace_id, user_id=subject.external_id, known_since=subject.created_at)
    door = source if source in (Source.IMPORT, Source.OPERATOR) else Source.AGENT
    if subject.recording_paused_at and door == Source.AGENT and not extracted_by:
        raise RecordingPaused("user_id", "Recording is paused for this person.")
    writer = _Writer(subject, actor, agent_id, door, extracted_by, approved)
    if extracted_by:  # all of one session
        writer.echoed = echoed_parts_of(list({one.turn.id: one.turn for one in facts if one.turn}.values()))
    with entries_together():
        writer.look_up(facts)
        written = [writer.write(stated, f"facts[{position}].") for position, stated in enumerate(facts)]
        writer.rows.write()
    subject.save(update_fields=["last_handle"])
    writer.count()
    new = [one.version for one in written if one.outcome in (Outcome.ADDED, Outcome.SUPERSEDED, Outcome.BACKDATED)]
    index_versions(subject=subject, versions=new)
    return written


class _Writer:
    """Writes the statements of one call, one after the other, under the subject's lock."""

    def __init__(
        self, subject: Subject, actor: Actor, agent_id: UUID | None, door: Source, extracted_by: str, approved: bool
    ) -> None:
        self.subject = subject
        self.actor = actor
        self.agent_id = agent_id
        self.door = door
        self.extracted_by = extracted_by
        self.approved = approved
        self.policy: WorkspacePolicy = read_policy(subject.workspace.policy)
        self.sight: Sight = sight_of(agent_id=agent_id, policy=self.policy)
        self.added = 0
        self.rows = Rows()
        self.echoed: dict[UUID, tuple[Span, ...]] = {}
        self._same: dict[Identity, list[Fact]] = {}

    def look_up(self, facts: Sequence[FactInput]) -> None:
        """Fetch together what is known of the same things; each is used until something is written that bears on it."""
        identities = {one.identity for one in facts}
        if len(identities) < 2:
            return
        found: dict[Identity, list[Fact]] = {identity: [] for identity in identities}
        things = [
            Q(type=one.type, entity_key=one.entity_key, attribute=one.attribute, subject=self.subject)
            for one in identities
        ]
        for fact in _with_versions(Fact.objects.filter(reduce(or_, things))).order_by("id"):
            found[Identity(fact.type, fact.entity_key, fact.attribute)].append(fact)
        self._same = found

    def write(self, stated: FactInput, place: str = "") -> Written:
        stated, redacted = _screened(stated, self.policy)
        self._write_what_bears_on(stated)
        source = source_of(door=self.door, extracted=bool(self.extracted_by), turn=stated.turn)
        found = self._facts(stated, source, place)
        # What an extractor says of a fact that the session's agent does not see says nothing.
        named = stated.replaces if any(fact.pk == stated.replaces for fact in found.known) else None
        echo = self._only_echo(stated)
        doubts = [] if self.approved else list(self._doubts(stated, source, echo))
        self._refuse_flood()
        decision = _decision(
            found,
            Stated(
                identity=stated.identity,
                content=stated.content,
                value=stated.value,
                unit=stated.unit,
                replaces=named,
                coexists=stated.coexists,
                source=Source.OPERATOR if self.approved else source,
                agent_id=self.agent_id,
                doubts=tuple(dict.fromkeys(doubt.code for doubt in doubts)),
                at=stated.turn.occurred_at if self.extracted_by and stated.turn is not None else None,
            ),
        )
        target = next((fact for fact in (*found.known, *found.waiting) if fact.id == decision.fact_id), None)
        decision = self._within_churn(decision, target)
        if decision.outcome is Outcome.CONFIRMED and target is not None:
            version = next((one for one in target.versions.all() if one.id == decision.version_id), standing(target))
            if not echo:
                evidence_add(version, stated.turn, EvidenceKind.CONFIRMS)
        elif decision.version_id is not None:
            version = FactVersion.objects.select_related("fact").get(pk=decision.version_id)
        else:
            home = target or self._home(stated, found)
            version = version_append(
                home or self._fact_add(stated),
                self._wording(stated, source, self._all_doubts(doubts, decision)),
                actor=self.actor,
                reason=decision.reason,
                turn=None if echo else stated.turn,
                waits=decision.outcome is Outcome.QUARANTINED,
                past=decision.outcome is Outcome.BACKDATED,
                approved=self.approved,
                first=home is None,
                rows=self.rows,
            )
            self.added += 1
        written = Written(version, decision.outcome, decision.reason)
        self._record(written, stated, redacted)
        return written

    def _write_what_bears_on(self, stated: FactInput) -> None:
        """Write what waits to be written, where `stated` may be about the same thing: the facts are then looked up."""
        same = (stated.type, stated.identity.entity_key, stated.identity.attribute)
        waiting = {(one.fact.type, one.fact.entity_key, one.fact.attribute) for one in self.rows.versions}
        if stated.replaces is not None or same in waiting:
            self.rows.write()
            self._same.clear()

    @staticmethod
    def _home(stated: FactInput, found: "_Found") -> Fact | None:
        """The fact in which something said of the same thing waits already: one thing has one fact."""
        alone = stated.identity.attribute and not stated.coexists and not found.known
        return found.waiting[0] if alone and found.waiting else None

    def count(self) -> None:
        """Keep how much the agent brought in about this person today."""
        if self.added and self.agent_id is not None and self.door == Source.AGENT:
            tally_add(self.subject, self.agent_id, self.added)

    @cached_property
    def written_before(self) -> int:
        """How many versions the agent brought in about this person today, before this call."""
        if self.agent_id is None or self.door != Source.AGENT:
            return 0
        return tally_of(self.subject, self.agent_id)

    def _facts(self, stated: FactInput, source: Source, place: str) -> "_Found":
        """What the subject's facts with the identity of `stated`, and the one it names, are to this writer."""
        identity = stated.identity
        same = self._same.get(identity)
        facts = (
            same
            if same is not None
            else list(
                _with_versions(Fact.objects.filter(subject=self.subject))
                .filter(type=identity.type, entity_key=identity.entity_key, attribute=identity.attribute)
                .order_by("id")
            )
        )
        if self.door == Source.OPERATOR:
            known = [fact for fact in facts if _let_in(fact)]
        else:
            known = [fact for fact in facts if _let_in(fact) and self.sight.shows(standing(fact))]
            if source == Source.USER and not any(standing(fact).status == Status.CURRENT for fact in known):
                # What the subject says is shown to everybody: it may take the place of what only one agent sees.
                known += [fact for fact in facts if _let_in(fact) and fact not in known]
        if stated.replaces is not None and all(fact.id != stated.replaces for fact in known):
            named = _with_versions(Fact.objects.filter(subject=self.subject, pk=stated.replaces)).first()
            if named is not None and _let_in(named) and self.sight.shows(standing(named)):
                known.append(named)
            elif not self.extracted_by:
                if named is not None and not _let_in(named) and _is_own(named, self.agent_id):
                    raise NotPossible(f"{place}replaces", "This fact waits for review.")
                raise UnknownFact(f"{place}replaces", "This subject has no such fact.")
        own = [fact for fact in facts if not _let_in(fact) and _is_own(fact, self.agent_id)]
        return _Found(tuple(known), tuple(own), tuple(_held(facts, self.agent_id)))

    def _only_echo(self, stated: FactInput) -> bool:
        """Whether the turn that is cited only repeats, of what is stated, what memory told before."""
        turn = stated.turn
        if turn is None or self.door != Source.AGENT:
            return False
        if turn.id not in self.echoed:
            self.echoed[turn.id] = echoed_parts(turn)
        return only_echoes(stated.content, turn.text, self.echoed[turn.id])

    def _doubts(self, stated: FactInput, source: Source, echo: bool) -> list[Doubt]:
        heard = Heard(
            content=stated.content,
            source=source,
            extracted=bool(self.extracted_by),
            confidence=stated.confidence,
            special_category=stated.special_category,
            labels=(stated.entity, stated.attribute, stated.unit, *stated.mentions),
            only_echo=echo,
            turn_withheld=stated.turn is not None and stated.turn.withheld_at is not None,
            written_today=self.written_before + self.added,
        )
        return list(doubts_about(heard, self.policy))

    def _refuse_flood(self) -> None:
        written = self.written_before + self.added
        if not self.extracted_by and written >= REFUSED_AT * self.policy.facts_per_day:
            raise TooManyFacts("user_id", "This agent wrote far more about this person today than it may.")

    def _within_churn(self, decision: Decision, target: Fact | None) -> Decision:
        """The decision, or to wait when the agent has changed the fact too often today."""
        if decision.outcome is not Outcome.SUPERSEDED or target is None or self.approved or self.agent_id is None:
            return decision
        if not _churned(list(target.versions.all()), self.agent_id, self.policy):
            return decision
        return replace(decision, outcome=Outcome.QUARANTINED, reason="too_many_versions", doubts=("too_many_versions",))

    @staticmethod
    def _all_doubts(doubts: Sequence[Doubt], decision: Decision) -> list[Doubt]:
        known = {doubt.code for doubt in doubts}
        return [*(Doubt(code) for code in decision.doubts if code not in known), *doubts]

    def _wording(self, stated: FactInput, source: Source, doubts: Sequence[Doubt]) -> Wording:
        # What was extracted is kept under the credential that brought the turn in.
        of_turn = stated.turn.written_with if self.extracted_by and stated.turn is not None else ""
        return Wording(
            content=stated.content,
            value=stated.value,
            unit=stated.unit,
            mentions=stated.mentions,
            confidence=stated.confidence,
            source=source,
            agent_id=self.agent_id,
            extracted_by=self.extracted_by,
            written_with=of_turn or self.actor.credential,
            special_category=stated.special_category,
            valid_from=stated.valid_from,
            expires_at=stated.expires_at,
            doubts=doubts,
        )

    def _fact_add(self, stated: FactInput) -> Fact:
        self.subject.last_handle += 1
        identity = stated.identity
        fact = Fact(
            workspace_id=self.subject.workspace_id,
            subject=self.subject,
            type=stated.type,
            entity=stated.entity,
            entity_key=identity.entity_key,
            attribute=identity.attribute,
            handle=self.subject.last_handle,
            visible_to_id=stated.visible_to_id,
        )
        self.rows.facts.append(fact)
        return fact

    def _record(self, written: Written, stated: FactInput, redacted: list[str]) -> None:
        version = written.version
        says_so_already = written.outcome is Outcome.CONFIRMED
        record(
            self.actor,
            f"fact.{written.outcome.value}",
            version,
            subject=self.subject.id,
            session=stated.turn.session_id if stated.turn else None,
            reason=written.reason,
            data=version_data(version)
            | ({"turn_ids": [stated.turn.id]} if stated.turn else {})
            | ({"found": redacted} if redacted else {}),
            commit=None if says_so_already else {"content": version.content},
        )


@dataclass(frozen=True)
class _Found:
    """`known` to the writer; `waiting`: nothing was let in of them yet, all of it its own; `held`: its versions."""

    known: tuple[Fact, ...]
    waiting: tuple[Fact, ...]
    held: tuple[Held, ...]


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
    it may no longer be the one in the sentence. An agent's correction of what a person or the subject stands behind
    waits for review. Raises VersionConflict when `fact` has moved past `expected_version`, NotPossible while nothing of
    it was let in.
    """
    fact, shown = fact_locked(fact, expected_version)
    policy = policy_of(fact.workspace_id)
    screening = Screening(policy)
    content = None if content is None else screening.text(content, "content")
    unit = None if unit is None else screening.text(unit, "unit")
    mentions = None if mentions is None else tuple(screening.text(one, "mentions") for one in mentions)
    note = screening.text(note, "note")
    rewritten = content is not None and content != shown.content
    wording = Wording(
        content=shown.content if content is None else content,
        value=value if value is not None or rewritten else shown.value,
        unit=unit if unit is not None else ("" if rewritten else shown.unit),
        mentions=tuple(shown.mentions) if mentions is None else mentions,
        confidence=shown.confidence if confidence is None else confidence,
        source=source,
        agent_id=agent_id,
        written_with=actor.credential,
        special_category=shown.special_category,
        # A version that is past its time is corrected because it holds after all.
        expires_at=shown.expires_at if shown.expires_at and shown.expires_at > timezone.now() else None,
    )
    if source != Source.OPERATOR and agent_id is not None:
        return _corrected_by_agent(fact, shown, wording, agent_id, policy, actor=actor, reason=reason, note=note)
    return _corrected(fact, wording, actor=actor, reason=reason, note=note)


def _corrected(fact: Fact, wording: Wording, *, actor: Actor, reason: str, note: str) -> FactVersion:
    version = version_append(fact, wording, actor=actor, reason=reason, note=note)
    index_versions(subject=fact.subject, versions=[version])
    record(
        actor,
        "fact.corrected",
        version,
        subject=fact.subject_id,
        reason=reason,
        data=version_data(version),
        commit={"content": version.content},
    )
    return version


def _corrected_by_agent(
    fact: Fact,
    shown: FactVersion,
    wording: Wording,
    agent_id: UUID,
    policy: WorkspacePolicy,
    *,
    actor: Actor,
    reason: str,
    note: str,
) -> FactVersion:
    """A correction that takes effect only where an agent's own word may."""
    versions = list(fact.versions.all())
    heard = Heard(
        wording.content,
        wording.source,
        labels=(wording.unit, *wording.mentions),
        written_today=tally_of(fact.subject, agent_id),
    )
    if heard.written_today >= REFUSED_AT * policy.facts_per_day:
        raise TooManyFacts("fact", "This agent wrote far more about this person today than it may.")
    doubts = list(doubts_about(heard, policy))
    if _churned(versions, agent_id, policy):
        doubts.insert(0, Doubt("too_many_versions"))
    if any(one.rejected and one.content == wording.content for one in _held([fact], agent_id)):
        doubts.insert(0, Doubt("rejected_before"))
    if code := contradiction(_known(fact, shown), _stated(fact, wording.source, agent_id, wording.content)):
        doubts.insert(0, Doubt(code))
    if not doubts:
        tally_add(fact.subject, agent_id, 1)
        return _corrected(fact, wording, actor=actor, reason=reason, note=note)
    return _waits(fact, replace(wording, doubts=doubts), agent_id, actor=actor, note=note)


def fact_mark_stale(
    *, fact: Fact, actor: Actor, reason: str, note: str = "", expected_version: int | None = None
) -> FactVersion:
    """Mark the current version as no longer true. Marking a stale fact again changes nothing.

    What a person stands behind, and what another agent brought in, an agent can only ask for: a quarantined version
    that says so waits for review. Raises VersionConflict when `fact` has moved past `expected_version`, NotPossible
    while nothing of it was let in.
    """
    fact, current = fact_locked(fact, expected_version)
    if current.status != Status.CURRENT:
        if current.status == Status.STALE:
            return current
        raise NotPossible("fact", f"This fact has no current version: its latest one is {current.status}.")
    agent_id = _agent_of(actor)
    if agent_id is not None and (code := _not_its_own(fact, current, agent_id)):
        return _wishes(fact, current, agent_id, MARKS_STALE, code, actor=actor, note=note)
    transition(current, Status.STALE, actor=actor, reason=reason, note=note)
    record(
        actor,
        "fact.marked_stale",
        current,
        subject=fact.subject_id,
        reason=reason,
        data=version_data(current),
    )
    return current


def fact_ask_erasure(*, fact: Fact, actor: Actor, agent_id: UUID) -> FactVersion:
    """Ask a person to erase the fact, as an agent that may not: a quarantined version that says so waits for review.

    Letting it in puts the fact away. Raises NotPossible while nothing of it was let in.
    """
    fact, shown = fact_locked(fact, None)
    if shown.status not in LET_IN:
        raise NotPossible("fact", "This fact waits for a person to look at it already.")
    return _wishes(fact, shown, agent_id, MARKS_STALE, ASKS_ERASURE, actor=actor, note="")


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

    A person who does so vouches for it. Where an agent may not by itself, a quarantined copy of it waits for review.
    Raises UnknownFact when there is no such version for the actor, VersionConflict as above, NotPossible for a version
    that waits for review or was turned down.
    """
    fact, shown = fact_locked(fact, expected_version)
    agent_id = _agent_of(actor)
    sight = sight_of(agent_id=agent_id, policy=policy_of(fact.workspace_id)) if agent_id else None
    version = fact.versions.filter(number=number).first()
    own_waiting = version is not None and version.agent_id == agent_id and version.status not in LET_IN
    if version is None or (sight is not None and not sight.shows(version) and not own_waiting):
        raise UnknownFact("version", "This fact has no such version.")
    if version.status in (Status.QUARANTINED, Status.REJECTED):
        raise NotPossible("version", f"This version is {version.status}.")
    if version.status == Status.CURRENT:
        return version
    if agent_id is not None:
        code = contradiction(_known(fact, shown), _stated(fact, Source.AGENT, agent_id, version.content))
        if not code and version.status == Status.STALE and _turned_down(version):
            code = "contradicts_vouched"
        if code:
            return _wishes(fact, version, agent_id, RESTORES, code, actor=actor, note=note)
    supersede_current(fact, by=version.id, actor=actor, reason=reason)
    transition(version, Status.CURRENT, actor=actor, reason=reason, note=note)
    if is_person(actor):
        approve(version)
    record(
        actor,
        "fact.restored",
        version,
        subject=fact.subject_id,
        reason=reason,
        data=version_data(version),
    )
    return version


def fact_pin(*, fact: Fact, pinned: bool, actor: Actor) -> Fact:
    """Pinned facts enter every working memory: whoever pins one lets its current version in for every agent."""
    if fact.pinned != pinned:
        fact.pinned = pinned
        fact.save(update_fields=["pinned"])
        if pinned and (current := fact.versions.filter(status=Status.CURRENT).first()):
            approve(current)
        record(actor, "fact.pinned" if pinned else "fact.unpinned", fact, subject=fact.subject_id)
    return fact


def tally_of(subject: Subject, agent_id: UUID) -> int:
    """How many versions the agent brought in about the subject today."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"select versions from {FactTally._meta.db_table} "  # noqa: S608 - ours
            "where subject_id = %s and agent_id = %s and day = %s",
            [subject.pk, agent_id, timezone.now().date()],
        )
        row = cursor.fetchone()
    return row[0] if row else 0


def tally_add(subject: Subject, agent_id: UUID, versions: int) -> None:
    """Count. The caller holds the subject's lock."""
    table = FactTally._meta.db_table
    row = FactTally(
        workspace_id=subject.workspace_id, subject=subject, agent_id=agent_id, day=timezone.now().date(), versions=0
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"insert into {table} as t (id, workspace_id, subject_id, agent_id, day, versions) "  # noqa: S608 - ours
            "values (%s, %s, %s, %s, %s, %s) on conflict (subject_id, agent_id, day) "
            "do update set versions = t.versions + excluded.versions",
            [row.id, row.workspace_id, row.subject_id, agent_id, row.day, versions],
        )


def _screened(stated: FactInput, policy: WorkspacePolicy) -> tuple[FactInput, list[str]]:
    """The statement as it may be kept, without what the workspace redacts; and the classes of what was found."""
    screening = Screening(policy)
    cleaned = replace(
        stated,
        content=screening.text(stated.content, "content"),
        entity=screening.text(stated.entity, "entity")[:200],
        attribute=screening.text(stated.attribute, "attribute"),
        unit=screening.text(stated.unit, "unit")[:40],
        mentions=tuple(screening.text(one, "mentions")[:200] for one in stated.mentions),
    )
    if cleaned.content != stated.content:
        # The number in a sentence from which something was redacted may be that.
        cleaned = replace(cleaned, value=None)
    return cleaned, kinds_of(screening.findings)


def standing(fact: Fact) -> FactVersion:
    """Of a fact with prefetched versions: the current one, else the last of those let in to hold, else the latest."""
    versions = list(fact.versions.all())
    let_in = [version for version in versions if version.status in LET_IN]
    current = [version for version in let_in if version.status == Status.CURRENT]
    # A version may be added to the past of others: the highest number is not always the last that held.
    held_last = sorted(let_in, key=lambda version: (version.valid_from, version.number), reverse=True)
    return (current or held_last or versions)[0]


def _let_in(fact: Fact) -> bool:
    return any(version.status in LET_IN for version in fact.versions.all())


def _is_own(fact: Fact, agent_id: UUID | None) -> bool:
    return agent_id is not None and all(version.agent_id == agent_id for version in fact.versions.all())


def _with_versions(facts: QuerySet[Fact]) -> QuerySet[Fact]:
    versions = FactVersion.objects.select_related("fact").order_by("-number")
    return facts.prefetch_related(Prefetch("versions", queryset=versions))


def _held(facts: Sequence[Fact], agent_id: UUID | None) -> list[Held]:
    """The statements of this agent among those facts that wait or were turned down, by a person or as a plan."""
    return [
        Held(version.id, fact.id, version.content, version.value, version.unit, version.status == Status.REJECTED)
        for fact in facts
        for version in fact.versions.all()
        if agent_id is not None
        and version.agent_id == agent_id
        and version.status in (Status.QUARANTINED, Status.REJECTED)
        and not any(one["code"] == MARKS_STALE for one in version.findings)
    ]


def _decision(found: "_Found", stated: Stated) -> Decision:
    """What the statement does. What it would take the place of may have been confirmed after it was said."""
    known = [_as_known(fact) for fact in found.known]
    decision = decide(known, stated, found.held)
    if decision.outcome is not Outcome.SUPERSEDED or stated.at is None:
        return decision
    target = next(fact for fact in found.known if fact.id == decision.fact_id)
    confirmed = Evidence.objects.filter(version=standing(target)).aggregate(at=Max("turn__occurred_at"))["at"]
    if confirmed is None or confirmed <= stated.at:
        return decision
    later = [replace(one, decided_at=confirmed) if one.fact_id == target.id else one for one in known]
    return decide(later, stated, found.held)


def _as_known(fact: Fact) -> Known:
    return _known(fact, standing(fact))


def _known(fact: Fact, version: FactVersion) -> Known:
    return Known(
        fact_id=fact.id,
        identity=Identity(fact.type, fact.entity_key, fact.attribute),
        content=version.content,
        value=version.value,
        unit=version.unit,
        is_current=version.status == Status.CURRENT,
        source=Source(version.source),
        agent_id=version.agent_id,
        pinned=fact.pinned,
        vouched=version.source == Source.OPERATOR or version.approved_at is not None,
        turned_down=version.status == Status.STALE and _turned_down(version),
        decided_at=version.valid_from
        if version.status == Status.CURRENT
        else max(version.status_at, version.valid_from),
        past=tuple(
            Past(one.id, one.content, one.value, one.unit)
            for one in fact.versions.all()
            if one.status in LET_IN and one.status != Status.CURRENT
        ),
    )


def _turned_down(version: FactVersion) -> bool:
    """Whether it was a person who marked this version stale."""
    last = FactTransition.objects.filter(version=version).order_by("-at", "-id").first()
    return last is not None and last.to_status == Status.STALE and last.actor_kind == ActorKind.USER


def _stated(fact: Fact, source: Source, agent_id: UUID | None, content: str) -> Stated:
    return Stated(Identity(fact.type, fact.entity_key, fact.attribute), content, source=source, agent_id=agent_id)


def _churned(versions: Sequence[FactVersion], agent_id: UUID, policy: WorkspacePolicy) -> bool:
    """Whether the agent has brought in as many versions of one fact within a day as it may."""
    since = timezone.now() - A_DAY
    recent = sum(version.agent_id == agent_id and version.created_at > since for version in versions)
    return recent >= policy.versions_per_fact_per_day


def _agent_of(actor: Actor) -> UUID | None:
    return UUID(actor.id) if actor.kind == ActorKind.AGENT else None


def may_put_away(fact: Fact, version: FactVersion, agent_id: UUID) -> bool:
    """Whether an agent may put a version away by itself: it brought it in, and nobody vouches for it."""
    return not _not_its_own(fact, version, agent_id)


def _not_its_own(fact: Fact, version: FactVersion, agent_id: UUID) -> str:
    """Why the agent may not put a version away by itself, as a code; '' when it brought it in and nobody vouches."""
    if fact.pinned:
        return "contradicts_pinned"
    if version.source == Source.OPERATOR or version.approved_at is not None:
        return "contradicts_vouched"
    return "" if version.agent_id == agent_id else "of_another"


def _wishes(
    fact: Fact, version: FactVersion, agent_id: UUID, wish: str, code: str, *, actor: Actor, note: str
) -> FactVersion:
    """A version that asks a person for something to be done with `version`, whose words it repeats."""
    wording = Wording(
        content=version.content,
        value=version.value,
        unit=version.unit,
        mentions=tuple(version.mentions),
        confidence=version.confidence,
        source=Source.AGENT,
        agent_id=agent_id,
        written_with=actor.credential,
        special_category=version.special_category,
        valid_from=version.valid_from,
        expires_at=version.expires_at,
        doubts=(Doubt(wish), Doubt(code)),
    )
    return _waits(fact, wording, agent_id, actor=actor, note=note)


def _waits(fact: Fact, wording: Wording, agent_id: UUID, *, actor: Actor, note: str) -> FactVersion:
    """Keep a version for review; the one that says the same and waits already, or was turned down, is it."""
    code = wording.doubts[0].code
    alike = [
        version
        for version in fact.versions.filter(agent_id=agent_id, status__in=(Status.QUARANTINED, Status.REJECTED))
        if version.content == wording.content
        and version.value == wording.value
        and version.unit == wording.unit
        and (code == MARKS_STALE) == any(one["code"] == MARKS_STALE for one in version.findings)
        and (version.status == Status.QUARANTINED or code not in (MARKS_STALE, RESTORES))
    ]
    if alike:
        version = alike[0]
    else:
        version = version_append(fact, wording, actor=actor, reason=code, note=note, waits=True)
        tally_add(fact.subject, agent_id, 1)
    record(
        actor,
        "fact.quarantined",
        version,
        subject=fact.subject_id,
        reason=code,
        data=version_data(version),
        commit={"content": version.content},
    )
    return version
