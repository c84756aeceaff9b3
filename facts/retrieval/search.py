"""Searching one subject's memory: a query made ready outside the transaction, then facts and turns inside it."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property, lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, OuterRef, Subquery
from django.db.models.functions import Left, Right
from django.utils import timezone
from pgvector import HalfVector

from facts import indexing as fact_index
from facts.models import Evidence, Fact, FactVersion, Status
from facts.retrieval.ranking import (
    FactTraits,
    Level,
    Score,
    TurnTraits,
    asks_when,
    best,
    fact_features,
    fact_scores,
    first_person,
    phrase_share,
    share_of,
    tells_time,
    turn_features,
    turn_scores,
)
from facts.retrieval.results import FactHit, FactSearch, TurnHit
from facts.visibility import Sight, version_shown
from memoryhub.core.degradation import Degraded, attempt
from memoryhub.core.embedding import Vectors, embed_query
from memoryhub.core.embedding.service import embedding_model
from memoryhub.core.search.query import Scan, Signals, scan
from memoryhub.core.search.words import lexemes, name_lexemes
from sessions import indexing as turn_index
from sessions.models import Turn, TurnRole

CANDIDATES_SHOWN = 50
TURN_CANDIDATES, FACT_CANDIDATES = 120, 40
"""How many of the best by words and meaning are looked at closely: fewer turns lose recall, more facts gain none."""
STATING_TURNS = 15
"""The facts of this many best turns are candidates too, whatever their own words."""
LOOKED_AT_CHARACTERS, END_CHARACTERS = 3000, 200
"""How much of a turn is read for its traits, and of the end of the turn before it."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True)
class Query:
    """A message ready to be searched for. `vector` is None without an embedder, or when it could not be had."""

    text: str
    text_config: str
    lexemes: tuple[str, ...]
    vector: Vectors | None
    model: str | None
    degraded: Degraded = field(default_factory=Degraded)

    @cached_property
    def names(self) -> frozenset[str]:
        return names(self.text)

    @cached_property
    def numbers(self) -> frozenset[Decimal]:
        return numbers(self.text)

    @cached_property
    def written(self) -> str | None:
        """The vector as the database reads it, written once for the searches of facts and of turns."""
        return HalfVector(self.vector).to_text() if self.vector is not None else None

    @property
    def in_first_person(self) -> bool:
        return first_person(self.names)


def prepare_query(text: str, *, text_config: str) -> Query:
    """Cut `text` into lexemes and embed it. Call it before the transaction opens: embedding may take its time."""
    degraded = Degraded()
    vector = attempt("semantic", lambda: embed_query(text), fallback=None, degraded=degraded)
    return Query(text, text_config, tuple(lexemes(text, text_config)), vector, embedding_model(), degraded)


def search_turns(
    *,
    workspace_id: UUID,
    subject_id: UUID,
    query: Query,
    top_k: int,
    sight: Sight,
    min_score: float = 0.0,
) -> list[TurnHit]:
    """The turns of the subject that best bear on the query and may be shown, best first."""
    found = scan_for(query, turn_index.KIND, workspace_id=workspace_id, subject_id=subject_id)
    found, traits = turn_traits(found, query, workspace_id=workspace_id, sight=sight)
    features = turn_features(traits, when=asks_when(query.text), own=query.in_first_person)
    scores = turn_scores(features, level=level_of(found), with_vectors=found.has_meaning)
    ranked = [(item, score) for item, score in best(scores, top_k) if score.value >= min_score]
    turns = Turn.objects.select_related("session").in_bulk([item for item, _ in ranked])
    return [TurnHit(turns[item], score.value, score.parts) for item, score in ranked if item in turns]


def scan_for(query: Query, kind: str, *, workspace_id: UUID, subject_id: UUID) -> Scan:
    """Every item of the kind beside the query."""
    return scan(
        workspace_id=workspace_id,
        subject_id=subject_id,
        kind=kind,
        lexemes=query.lexemes,
        vector=query.written,
        model=query.model,
    )


def level_of(found: Scan) -> Level:
    return Level(found.best_similarity, found.best_coverage)


def turn_traits(found: Scan, query: Query, *, workspace_id: UUID, sight: Sight) -> tuple[Scan, dict[UUID, TurnTraits]]:
    """What the ranking wants to know of the best turns of a scan that may be shown; and the scan without the others."""
    items = found.best(TURN_CANDIDATES)
    asked, when = query.names, asks_when(query.text)
    rows = _turn_rows(workspace_id, items, sight)
    hidden = [row[0] for row in rows if not row[-1]]
    if hidden:
        found, items = _past_hidden(found, hidden, TURN_CANDIDATES, lambda more: _seen_turns(workspace_id, more, sight))
        known = {row[0] for row in rows}
        rows += _turn_rows(workspace_id, [item for item in items if item not in known], sight)
    shown = {row[0]: row for row in rows if row[-1]}
    items = [item for item in items if item in shown]
    signals = dict(zip(items, found.signals(items), strict=True))
    traits = {
        pk: TurnTraits(
            signals=signals[pk],
            group=session_id,
            index=index,
            is_user=role == TurnRole.USER,
            named=not asked.isdisjoint(names(name or role)),
            words=len(text.split()),
            asks="?" in text,
            answers="?" in (end or ""),
            tells_time=when and tells_time(text),
            phrase=phrase_share(query.lexemes, text, query.text_config),
        )
        for pk, session_id, index, role, name, text, end, _ in (shown[item] for item in items)
    }
    return found, traits


def _turn_rows(workspace_id: UUID, items: Sequence[UUID], sight: Sight) -> list[tuple[Any, ...]]:
    """What the ranking looks at of each turn, and at last whether it may be shown."""
    before = Turn.objects.filter(session=OuterRef("session"), index=OuterRef("index") - 1)
    return list(
        Turn.objects.filter(workspace_id=workspace_id, pk__in=items)
        .annotate(
            start=Left("text", LOOKED_AT_CHARACTERS),
            before=Subquery(before.annotate(end=Right("text", END_CHARACTERS)).values("end")),
            shown=ExpressionWrapper(sight.turns(), output_field=BooleanField()),
        )
        .values_list("id", "session_id", "index", "role", "name", "start", "before", "shown")
    )


def _seen_turns(workspace_id: UUID, items: Sequence[UUID], sight: Sight) -> set[UUID]:
    shown = Turn.objects.filter(sight.turns(), workspace_id=workspace_id, pk__in=items)
    return set(shown.values_list("id", flat=True))


def _past_hidden(
    found: Scan, hidden: Sequence[UUID], wanted: int, seen: Callable[[Sequence[UUID]], set[UUID]]
) -> tuple[Scan, list[UUID]]:
    """The scan without what may not be shown, as far as it was looked at, and the best `wanted` of what may.

    Whoever writes much that is hidden must not crowd out what is not: where less than half of what is wanted would be
    left, more is looked at, each time four times as much.
    """
    looked_at = wanted
    found = found.without(hidden)
    items = found.best(looked_at - len(hidden))
    while len(items) < wanted / 2 and len(found.keys) > len(items):
        looked_at *= 4
        more = found.best(looked_at)
        may = seen(more)
        found = found.without([item for item in more if item not in may])
        items = found.best(min(wanted, len(may)))
    return found, items


def search_facts(
    *,
    workspace_id: UUID,
    subject_id: UUID,
    query: Query,
    top_k: int,
    threshold: float = 0.0,
    min_similarity: float | None = None,
    sight: Sight,
    types: Sequence[str] = (),
    now: datetime | None = None,
) -> FactSearch:
    """The fact versions of the subject that best bear on the query and may be shown.

    The versions hold their ids, number and status alone: `loaded` brings the rest of those that are shown.
    `threshold` is on the score, `min_similarity` on the raw cosine of query and sentence (where there are vectors).
    """
    found, rows, traits = fact_candidates(
        workspace_id=workspace_id, subject_id=subject_id, query=query, sight=sight, types=types, now=now
    )
    features = fact_features(traits, when=asks_when(query.text))
    scores = fact_scores(features, traits, level=level_of(found), with_vectors=found.has_meaning)
    similarity = {item: of.signals.similarity for item, of in traits.items()}

    def hit(item: UUID, score: Score) -> FactHit:
        return FactHit(rows[item].version(), score.value, score.parts, similarity[item])

    ranked = [hit(item, score) for item, score in best(scores, max(top_k, CANDIDATES_SHOWN))]
    passed = [
        one
        for one in ranked
        if one.score >= threshold
        and (min_similarity is None or one.similarity is None or one.similarity >= min_similarity)
    ]
    return FactSearch(hits=tuple(passed[:top_k]), candidates=tuple(ranked[:CANDIDATES_SHOWN]))


def loaded(hits: Sequence[FactHit], sight: Sight) -> tuple[FactHit, ...]:
    """`hits` with all of their versions, facts and sessions, in one query."""
    versions = FactVersion.objects.select_related("fact", "session").in_bulk([hit.version.id for hit in hits])
    return tuple(
        replace(hit, version=version, told_in=sight.told_in(version))
        for hit in hits
        if (version := versions.get(hit.version.id)) is not None
    )


class CandidateRow(NamedTuple):
    """What of a version the ranking looks at: many are looked at for the few that are shown."""

    id: UUID
    fact_id: UUID
    number: int
    status: str
    status_at: datetime
    content: str
    value: Decimal | None
    mentions: list[str]
    confidence: float
    type: str
    entity: str
    entity_key: str
    attribute: str
    turns: list[UUID]
    """The turns that state or confirm it."""
    shown: bool
    """Whether it may be shown to whoever asks."""

    def version(self) -> FactVersion:
        """The version, holding what identifies it; anything else would be fetched when asked for."""
        return FactVersion.from_db("default", ROW_VERSION, self[: len(ROW_VERSION)])


ROW_VERSION = ("id", "fact_id", "number", "status", "status_at")

_EVIDENCE, _VERSION, _FACT = (model._meta.db_table for model in (Evidence, FactVersion, Fact))
# One statement, written out: put together by the ORM it was three, which cost more than what they do.
# What holds is surfaced, and what it replaced, for those who are shown both. Stale facts are known to be wrong, and so
# is what came before them; quarantined and rejected ones are nobody's to see.
_CANDIDATES = f"""
    with item as (
      select unnest(%(items)s::uuid[]) as id
      union
      select version_id from {_EVIDENCE} where workspace_id = %(workspace)s and turn_id = any(%(turns)s::uuid[]))
    select v.id, v.fact_id, v.number, v.status, v.status_at, v.content, v.value, v.mentions, v.confidence,
           f.type, f.entity, f.entity_key, f.attribute,
           array(select e.turn_id from {_EVIDENCE} e where e.version_id = v.id),
           coalesce({version_shown("v")}, false)
      from item join {_VERSION} v using (id) join {_FACT} f on f.id = v.fact_id
     where v.workspace_id = %(workspace)s
       and (v.status = 'current' or v.status = 'superseded' and exists (
             select from {_VERSION} c where c.fact_id = v.fact_id and c.status = 'current'
                and c.content <> v.content and {version_shown("c")}))
       and (v.expires_at is null or v.expires_at > %(now)s)
       and (f.visible_to_id is null or f.visible_to_id = %(agent)s)
       and (%(types)s::text[] is null or f.type = any(%(types)s::text[]))"""  # noqa: S608 - our own tables' names
_SHOWN = f"""
    select v.id from {_VERSION} v
     where v.workspace_id = %(workspace)s and v.id = any(%(items)s::uuid[]) and {version_shown("v")}"""  # noqa: S608


def fact_candidates(
    *,
    workspace_id: UUID,
    subject_id: UUID,
    query: Query,
    sight: Sight,
    types: Sequence[str] = (),
    now: datetime | None = None,
) -> tuple[Scan, dict[UUID, CandidateRow], dict[UUID, FactTraits]]:
    """The candidate versions that may be surfaced, and what the ranking wants to know of them.

    A fact is found by its own words and meaning, and by those of the turns that state it.
    """
    now = now or timezone.now()
    found = scan_for(query, fact_index.KIND, workspace_id=workspace_id, subject_id=subject_id)
    of_turns = scan_for(query, turn_index.KIND, workspace_id=workspace_id, subject_id=subject_id)
    values: dict[str, Any] = {
        "workspace": workspace_id,
        "items": found.best(FACT_CANDIDATES),
        "turns": of_turns.best(STATING_TURNS),
        "types": [str(one) for one in types] or None,
        "now": now,
        **sight.parameters(),
    }
    rows = _candidate_rows(values)
    if hidden := [row.id for row in rows if not row.shown]:

        def seen(items: Sequence[UUID]) -> set[UUID]:
            with connection.cursor() as cursor:
                cursor.execute(_SHOWN, {**values, "items": list(items)})
                return {row[0] for row in cursor.fetchall()}

        found, items = _past_hidden(found, hidden, FACT_CANDIDATES, seen)
        if set(items) - set(values["items"]):
            rows = _candidate_rows(values | {"items": items})
    versions = {row.id: row for row in rows if row.shown}
    shares = Counter(row.entity_key for row in versions.values())
    sources = _sources(of_turns, versions.values())
    signals = found.signals(list(versions))
    traits = {
        version.id: _fact_traits(
            version, signal, sources.get(version.id), query, now, shares[version.entity_key] / len(versions)
        )
        for version, signal in zip(versions.values(), signals, strict=True)
    }
    return found, versions, traits


def _candidate_rows(values: Mapping[str, Any]) -> list[CandidateRow]:
    with connection.cursor() as cursor:
        cursor.execute(_CANDIDATES, values)
        return [CandidateRow(*row) for row in cursor.fetchall()]


def _sources(of_turns: Scan, versions: Iterable[CandidateRow]) -> dict[UUID, Signals]:
    """The best signals of the turns that state or confirm each version."""
    pairs = [(version.id, turn) for version in versions for turn in version.turns]
    best_of: dict[UUID, Signals] = {}
    for (version, _), one in zip(pairs, of_turns.signals([turn for _, turn in pairs]), strict=True):
        known = best_of.get(version, one)
        best_of[version] = Signals(
            coverage=max(known.coverage, one.coverage), closeness=max(known.closeness, one.closeness)
        )
    return best_of


def _fact_traits(
    row: CandidateRow,
    signals: Signals,
    source: Signals | None,
    query: Query,
    now: datetime,
    entity_share: float,
) -> FactTraits:
    asked = frozenset(query.lexemes)

    def match(name: str) -> float:
        return share_of(name_lexemes(name, query.text_config), asked)

    return FactTraits(
        signals=signals,
        source=source,
        tells_time=sentence_tells_time(row.content),
        phrase=phrase_share(query.lexemes, row.content, query.text_config, name_lexemes),
        entity=match(row.entity),
        entity_share=entity_share,
        attribute=match(row.attribute.replace("_", " ")),
        mention=max((match(mention) for mention in row.mentions), default=0.0),
        type=match(row.type),
        number=float(row.value is not None and row.value.normalize() in query.numbers),
        confidence=row.confidence,
        superseded_days=(now - row.status_at).total_seconds() / 86_400 if row.status == Status.SUPERSEDED else None,
    )


@lru_cache(maxsize=8_192)
def sentence_tells_time(content: str) -> bool:
    """The same sentences are candidates again and again."""
    return tells_time(content)


def names(text: str) -> frozenset[str]:
    """The words of a text as names are compared: folded, without the possessive."""
    return frozenset(re.findall(r"[^\W_]+", re.sub(r"['\u2019]s\b", "", text).casefold()))


def numbers(text: str) -> frozenset[Decimal]:
    """The numbers a query names, such as 500 or 1,200.50."""
    found = set()
    for written in _NUMBER.findall(text):
        for plain in {written.replace(",", ""), written.replace(".", "").replace(",", ".")}:
            try:
                found.add(Decimal(plain).normalize())
            except InvalidOperation:
                continue
    return frozenset(found)
