"""Searching one subject's memory: a query made ready outside the transaction, then facts and turns inside it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Left, Length, Right
from django.utils import timezone

from facts import indexing as fact_views
from facts.models import FactVersion, Status
from facts.retrieval.ranking import (
    FactTraits,
    Score,
    TurnTraits,
    asks_when,
    best,
    fact_features,
    fact_scores,
    share_of,
    tells_time,
    turn_features,
    turn_scores,
)
from facts.retrieval.results import FactHit, FactSearch, TurnHit
from memoryhub.core.degradation import Degraded, attempt
from memoryhub.core.embedding import Vectors, embed_query
from memoryhub.core.embedding.service import embedding_model
from memoryhub.core.search.query import Candidates, candidates
from memoryhub.core.search.words import lexemes
from sessions import indexing as turn_views
from sessions.models import Turn, TurnRole

CANDIDATES_SHOWN = 50
TIME_CHARACTERS = 2000
SURFACED = Q(status=Status.CURRENT) | Q(
    Exists(FactVersion.objects.filter(fact=OuterRef("fact"), status=Status.CURRENT)), status=Status.SUPERSEDED
)
"""What holds, and what it replaced. Stale facts are known to be wrong, and so is what came before them; quarantined and
rejected ones are nobody's to see."""

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
    min_score: float = 0.0,
) -> list[TurnHit]:
    """The turns of the subject that best bear on the query, best first."""
    found, traits = turn_candidates(workspace_id=workspace_id, subject_id=subject_id, query=query)
    scores = turn_scores(turn_features(found, traits), with_vectors=query.vector is not None)
    ranked = [(item, score) for item, score in best(scores, top_k) if score.value >= min_score]
    turns = Turn.objects.select_related("session").in_bulk([item for item, _ in ranked])
    return [TurnHit(turns[item], score.value, score.parts) for item, score in ranked if item in turns]


def turn_candidates(*, workspace_id: UUID, subject_id: UUID, query: Query) -> tuple[Candidates, dict[UUID, TurnTraits]]:
    """The candidate turns with their search features and their traits."""
    found = candidates(
        workspace_id=workspace_id,
        subject_id=subject_id,
        kind=turn_views.KIND,
        lexemes=query.lexemes,
        vector=query.vector,
        model=query.model,
        vector_views=(turn_views.PIECE, turn_views.CONTEXT, turn_views.DATED),
        word_views=(turn_views.CONTEXT,),
    )
    when = asks_when(query.text)
    asked = _names(query.text)
    # The turn before is found by its index: one more row each, by the unique index.
    rows = (
        Turn.objects.filter(workspace_id=workspace_id, pk__in=[candidate.item for candidate in found.items])
        .annotate(characters=Length("text"), end=Right("text", 2))
        .values_list("id", "session_id", "index", "role", "name", "characters", "end")
    )
    rows = list(rows)
    before = _ends_before(workspace_id, rows)
    told = (
        {
            pk: tells_time(start)
            for pk, start in Turn.objects.filter(pk__in=[row[0] for row in rows])
            .annotate(start=Left("text", TIME_CHARACTERS))
            .values_list("pk", "start")
        }
        if when
        else {}
    )
    traits = {
        pk: TurnTraits(
            group=session_id,
            is_user=role == TurnRole.USER,
            named=bool(asked & _names(name or role)),
            characters=characters,
            is_question=end.rstrip().endswith("?"),
            follows_question="?" in before.get((session_id, index - 1), ""),
            tells_time=told.get(pk, False),
        )
        for pk, session_id, index, role, name, characters, end in rows
    }
    return found, traits


def search_facts(
    *,
    workspace_id: UUID,
    subject_id: UUID,
    query: Query,
    top_k: int,
    threshold: float = 0.0,
    min_similarity: float | None = None,
    types: Sequence[str] = (),
    agent_id: UUID | None = None,
    now: datetime | None = None,
) -> FactSearch:
    """The fact versions of the subject that best bear on the query and may be shown to the agent.

    `threshold` is on the score, `min_similarity` on the raw cosine of query and sentence (where there are vectors).
    """
    found, versions, traits = fact_candidates(
        workspace_id=workspace_id, subject_id=subject_id, query=query, types=types, agent_id=agent_id, now=now
    )
    scores = fact_scores(fact_features(found, traits), traits, with_vectors=query.vector is not None)
    similarity = {candidate.item: candidate.cosines.get(fact_views.SENTENCE) for candidate in found.items}

    def hit(item: UUID, score: Score) -> FactHit:
        return FactHit(versions[item], score.value, score.parts, similarity[item])

    ranked = [hit(item, score) for item, score in best(scores, max(top_k, CANDIDATES_SHOWN))]
    passed = [
        one
        for one in ranked
        if one.score >= threshold
        and (min_similarity is None or query.vector is None or (one.similarity or -1.0) >= min_similarity)
    ]
    return FactSearch(hits=tuple(passed[:top_k]), candidates=tuple(ranked[:CANDIDATES_SHOWN]))


def fact_candidates(
    *,
    workspace_id: UUID,
    subject_id: UUID,
    query: Query,
    types: Sequence[str] = (),
    agent_id: UUID | None = None,
    now: datetime | None = None,
) -> tuple[Candidates, dict[UUID, FactVersion], dict[UUID, FactTraits]]:
    """The candidate versions that may be surfaced, with their search features and their traits."""
    now = now or timezone.now()
    found = candidates(
        workspace_id=workspace_id,
        subject_id=subject_id,
        kind=fact_views.KIND,
        lexemes=query.lexemes,
        vector=query.vector,
        model=query.model,
        vector_views=(fact_views.SENTENCE, fact_views.ABOUT),
        word_views=(fact_views.ABOUT,),
    )
    rows = (
        FactVersion.objects.filter(
            Q(fact__visible_to__isnull=True) | Q(fact__visible_to=agent_id),
            Q(expires_at__isnull=True) | Q(expires_at__gt=now),
            SURFACED,
            workspace_id=workspace_id,
            pk__in=[candidate.item for candidate in found.items],
        )
        .select_related("fact", "session")
        .defer("session__metadata")
    )
    if types:
        rows = rows.filter(fact__type__in=list(types))
    versions = {version.id: version for version in rows}
    asked = frozenset(query.lexemes)
    numbers = _numbers(query.text)
    about = Counter(version.fact.entity_key for version in versions.values())
    traits = {
        item: _fact_traits(version, query, asked, numbers, now, about[version.fact.entity_key] / len(versions))
        for item, version in versions.items()
    }
    return found, versions, traits


def _fact_traits(
    version: FactVersion,
    query: Query,
    asked: frozenset[str],
    numbers: frozenset[Decimal],
    now: datetime,
    entity_share: float,
) -> FactTraits:
    fact = version.fact
    config = query.text_config

    def match(name: str) -> float:
        return share_of(lexemes(name, config), asked)

    return FactTraits(
        entity=match(fact.entity),
        entity_share=entity_share,
        attribute=match(fact.attribute.replace("_", " ")),
        mention=max((match(mention) for mention in version.mentions), default=0.0),
        type=match(fact.type),
        number=float(version.value is not None and version.value.normalize() in numbers),
        confidence=version.confidence,
        superseded_days=(now - version.status_at).total_seconds() / 86_400
        if version.status == Status.SUPERSEDED
        else None,
    )


def _ends_before(workspace_id: UUID, rows: Sequence[tuple]) -> Mapping[tuple[UUID, int], str]:
    """The last characters of the turn before each row, by (session, index)."""
    indexes: dict[UUID, list[int]] = {}
    for _, session_id, index, *_ in rows:
        if index:
            indexes.setdefault(session_id, []).append(index - 1)
    if not indexes:
        return {}
    wanted = Q()
    for session_id, at in indexes.items():
        wanted |= Q(session_id=session_id, index__in=at)
    ends = Turn.objects.filter(wanted, workspace_id=workspace_id).annotate(end=Right("text", 200))
    return {(session_id, index): end for session_id, index, end in ends.values_list("session_id", "index", "end")}


def _names(text: str) -> frozenset[str]:
    """The words of a text as names are compared: folded, without the possessive."""
    return frozenset(re.findall(r"[^\W_]+", re.sub(r"['\u2019]s\b", "", text).casefold()))


def _numbers(text: str) -> frozenset[Decimal]:
    """The numbers a query names, such as 500 or 1,200.50."""
    found = set()
    for written in _NUMBER.findall(text):
        for plain in {written.replace(",", ""), written.replace(".", "").replace(",", ".")}:
            try:
                found.add(Decimal(plain).normalize())
            except InvalidOperation:
                continue
    return frozenset(found)
