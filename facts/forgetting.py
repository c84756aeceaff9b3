"""What a session, a period or a fact consists of, over turns and facts: what has to go when it is erased.

Erasing itself is the stores' work (audit/erasure). Here is decided which rows belong together: what was learned from
the turns that go and from no other goes with them; what others state as well stays, without them as its evidence.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from audit.erasure import tombstones
from audit.registry import Part, Scope, Stone
from facts.decision import attribute_key, entity_key
from facts.extraction.interface import ExtractedFact
from facts.models import Evidence, Fact, FactVersion, Recall, Source
from sessions.models import Session, Subject, Turn

SENTENCE = re.compile(r"(?<=[.!?…])\s+|\n+")
WORD = re.compile(r"\w+")
ENOUGH = 0.6
"""Of the words that the best sentence shares with a fact: how many another must share to count as stating it too."""
SHORTEST = 12
MOST_WORDINGS = 20


class PersonalMemory:
    """The domain's side of an erasure: see audit.registry.Memory."""

    def seal(self, scope: Scope) -> bool:
        subject = Subject.objects.select_for_update().filter(pk=scope.subject_id).first()
        if subject is None:
            return False
        if scope.kind == "subject":
            now = timezone.now()
            for what in ("restricted_at", "recording_paused_at", "extraction_paused_at", "surfacing_paused_at"):
                if getattr(subject, what) is None:
                    setattr(subject, what, now)
            subject.save()
            return True
        if scope.session_id:
            return Session.objects.filter(subject=subject, pk=scope.session_id).exists()
        return scope.fact_id is None or Fact.objects.filter(subject=subject, pk=scope.fact_id).exists()

    def hold_back(self, subject_id: UUID, *, on: bool) -> bool:
        subject = Subject.objects.select_for_update().filter(pk=subject_id).first()
        if subject is None:
            return False
        if bool(subject.held_back_at) != on:
            subject.held_back_at = timezone.now() if on else None
            subject.save(update_fields=["held_back_at"])
        return True

    def part_of(self, scope: Scope) -> Part:
        if scope.fact_id:
            return _part_of_fact(scope, scope.fact_id)
        turns = Turn.objects.filter(session__subject=scope.subject_id)
        recalls = Recall.objects.filter(subject=scope.subject_id)
        if scope.session_id:
            session = Session.objects.filter(subject=scope.subject_id, pk=scope.session_id).first()
            if session is None:
                return Part()
            turns = turns.filter(session=session)
            recalls = recalls.filter(Q(session=session) | Q(session_external_id=session.external_id))
            sessions = {session.id}
        else:
            turns, recalls = turns.filter(_dated("occurred_at", scope)), recalls.filter(_dated("at", scope))
            kept = Turn.objects.filter(session=OuterRef("pk")).exclude(_dated("occurred_at", scope))
            touched = Session.objects.filter(subject=scope.subject_id, pk__in=turns.values("session"))
            sessions = set(touched.filter(~Exists(kept)).values_list("id", flat=True))
        return _with_facts(scope, set(turns.values_list("id", flat=True)), sessions, set(_ids(recalls)))

    def ids(self, scope: Scope, part: Part | None) -> list[UUID]:
        if part is not None:
            return sorted(part.ids)
        subject = scope.subject_id
        found: list[UUID] = [subject]
        found += _ids(Session.objects.filter(subject=subject))
        found += _ids(Turn.objects.filter(session__subject=subject))
        found += _ids(Fact.objects.filter(subject=subject))
        found += _ids(FactVersion.objects.filter(fact__subject=subject))
        return found

    def stones(self, scope: Scope, part: Part | None, at: datetime) -> list[Stone]:
        subject = Subject.objects.filter(pk=scope.subject_id).first()
        if subject is None:
            return []
        workspace = subject.workspace_id
        sessions = Session.objects.filter(subject=subject)
        if part is not None:
            sessions = sessions.filter(pk__in=part.sessions)
        stones = [
            Stone(tombstones.of_session(workspace, name)) for name in sessions.values_list("external_id", flat=True)
        ]
        if scope.kind == "subject":
            stones.append(Stone(tombstones.of_user(workspace, subject.external_id), until=at))
        if scope.kind == "period":
            stones.append(Stone(tombstones.of_period(workspace, subject.id), scope.since, scope.until or at))
        if part is not None:
            for fact in Fact.objects.filter(subject=subject, pk__in=part.facts):
                stones.append(Stone(fact_digest(subject.id, fact.type, fact.entity, fact.attribute), until=at))
        return stones

    def names(self, scope: Scope, part: Part | None) -> list[str]:
        sessions = Session.objects.filter(subject=scope.subject_id)
        if part is not None:
            return list(sessions.filter(pk__in=part.sessions).values_list("external_id", flat=True))
        people = Subject.objects.filter(pk=scope.subject_id).values_list("external_id", flat=True)
        return [*people, *sessions.values_list("external_id", flat=True)[:MOST_WORDINGS]]

    def distinct(self, texts: Sequence[str], scope: Scope, part: Part) -> list[str]:
        kept = Turn.objects.filter(session__subject=scope.subject_id).exclude(pk__in=part.turns | set(part.redacted))
        held = FactVersion.objects.filter(fact__subject=scope.subject_id).exclude(pk__in=part.versions)
        asked = Recall.objects.filter(subject=scope.subject_id).exclude(pk__in=part.recalls)
        return [
            text
            for text in texts
            if scope.kind == "fact"
            or not (
                kept.filter(Q(text__contains=text) | Q(metadata__icontains=text)).exists()
                or held.filter(content__contains=text).exists()
                or asked.filter(Q(message__contains=text) | Q(session_external_id=text)).exists()
                or Fact.objects.filter(subject=scope.subject_id, entity__contains=text)
                .exclude(pk__in=part.facts)
                .exists()
            )
        ]


def fact_digest(subject_id: UUID, type_: str, entity: str, attribute: str) -> bytes:
    """By what a fact is recognised that was erased: what it is about, whatever it says of it."""
    return tombstones.of_fact(subject_id, type_, entity_key(entity), attribute_key(attribute))


def not_erased(facts: Iterable[tuple[ExtractedFact, Turn]], *, subject: Subject) -> list[ExtractedFact]:
    """Those of the extracted facts that were not erased after they were said."""
    told = [
        (fact, fact_digest(subject.id, fact.type, fact.entity, fact.attribute), max(turn.occurred_at, turn.recorded_at))
        for fact, turn in facts
    ]
    erased = tombstones.erased_until((digest for _, digest, _ in told), workspace_id=subject.workspace_id)
    return [fact for fact, digest, at in told if digest not in erased or at >= erased[digest]]


def sentences_stating(text: str, content: str) -> list[str]:
    """The sentences of `text` that share most with `content`; none where nothing is shared. Pure."""
    wanted = _words(content)
    shared = {sentence: len(wanted & _words(sentence)) for sentence in _sentences(text)}
    best = max(shared.values(), default=0)
    return [sentence for sentence, count in shared.items() if best and count >= max(1.0, ENOUGH * best)]


def _sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in SENTENCE.split(text) if sentence.strip()]


def _words(text: str) -> set[str]:
    return {word for word in WORD.findall(text.casefold()) if len(word) > 3 or word.isdigit()}


def _part_of_fact(scope: Scope, fact_id: UUID) -> Part:
    """A fact with every version, and the turns that state it: those that are its evidence or hold the same words."""
    versions = list(FactVersion.objects.filter(fact=fact_id, fact__subject=scope.subject_id))
    if not versions:
        return Part()
    contents = list(dict.fromkeys(version.content for version in versions))
    turns = {one.turn_id: one.turn for one in Evidence.objects.filter(version__in=versions).select_related("turn")}
    spans = {pk: [s for c in contents for s in sentences_stating(turn.text, c)] for pk, turn in turns.items()}
    wordings = [text for text in (*contents, *(s for found in spans.values() for s in found)) if len(text) >= SHORTEST]
    for wording in list(dict.fromkeys(wordings))[:MOST_WORDINGS]:
        same = Turn.objects.filter(session__subject=scope.subject_id, text__icontains=wording)
        for turn in same.exclude(pk__in=list(spans)):
            turns[turn.id] = turn
            spans[turn.id] = [one for one in _sentences(turn.text) if wording.casefold() in one.casefold()]
    redacted = {pk: () if scope.statement == "turn" else tuple(dict.fromkeys(found)) for pk, found in spans.items()}
    ids = {version.id for version in versions}
    told = recalls_telling(scope.subject_id, ids, set())
    for sentence in dict.fromkeys(sentence for found in spans.values() for sentence in found):
        told |= set(_ids(Recall.objects.filter(subject=scope.subject_id, message__contains=sentence)))
    return Part(
        facts=frozenset({fact_id}),
        versions=frozenset(ids),
        blanked=frozenset(told),
        redacted=redacted,
        silent=frozenset(redacted),
    )


def _with_facts(scope: Scope, turns: set[UUID], sessions: set[UUID], recalls: set[UUID]) -> Part:
    """The part that these turns make, with what was learned from them alone."""
    of_person = FactVersion.objects.filter(fact__subject=scope.subject_id)
    others = Evidence.objects.filter(version=OuterRef("pk")).exclude(turn__in=turns)
    stated = of_person.filter(Q(evidence__turn__in=turns)).filter(~Exists(others))
    learned = of_person.filter(session__in=sessions).exclude(source=Source.OPERATOR).filter(~Exists(others))
    versions = {*_ids(stated.distinct()), *_ids(learned)}
    kept = FactVersion.objects.filter(fact=OuterRef("pk")).exclude(pk__in=versions)
    touched = Fact.objects.filter(subject=scope.subject_id, versions__in=versions).distinct()
    return Part(
        sessions=frozenset(sessions),
        turns=frozenset(turns),
        facts=frozenset(_ids(touched.filter(~Exists(kept)))),
        versions=frozenset(versions),
        recalls=frozenset(recalls),
        blanked=frozenset(recalls_telling(scope.subject_id, versions, turns) - recalls),
    )


def recalls_telling(subject_id: UUID, versions: Collection[UUID], turns: Collection[UUID]) -> set[UUID]:
    """The recalls that gave one of these out, or considered it."""
    given = Recall.objects.filter(subject=subject_id)
    shown = given.filter(Q(items__version__in=versions) | Q(items__turn__in=turns)).distinct()
    with connection.cursor() as cursor:
        cursor.execute(
            "select r.id from facts_recall r where r.subject_id = %s and exists (select from "
            "jsonb_array_elements(r.candidates) c where (c->>'id') = any(%s))",
            [subject_id, [str(one) for one in (*versions, *turns)]],
        )
        considered = {row[0] for row in cursor.fetchall()}
    return set(_ids(shown)) | considered


def _dated(column: str, scope: Scope) -> Q:
    dated = Q()
    if scope.since:
        dated &= Q(**{f"{column}__gte": scope.since})
    if scope.until:
        dated &= Q(**{f"{column}__lt": scope.until})
    return dated


def _ids(rows: object) -> list[UUID]:
    return list(rows.values_list("id", flat=True))  # type: ignore[attr-defined]
