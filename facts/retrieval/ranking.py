"""Features into scores. Pure: no database, no model, no clock of its own.

Turns and facts are scored alike: a linear fusion of a few features, squashed to 0..1 by a logistic function that was
fitted to relevance, so that one threshold means about the same everywhere. Coefficients live in coefficients.json;
benchmarks/fit_ranking.py fits them.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from uuid import UUID

from memoryhub.core.search.query import Signals
from memoryhub.core.search.words import lexemes

COEFFICIENTS = Path(__file__).with_name("coefficients.json")

DECAY_PER_30_DAYS = 0.9
"""What a superseded version keeps of its score each 30 days."""

NEARBY_TURNS = 4
"""How far apart in a session two turns may be to belong together."""
SHORT_WORDS = 20
"""Fewer words than this say little by themselves ("Sure, sounds great!")."""
LONG_WORDS, VERY_LONG_WORDS = 100, 400
"""A message of the person that grows from the one to the other is rather pasted material than something told."""

PARTS = {
    "meaning": "semantic",
    "words": "keyword",
    "phrase": "keyword",
    "nearby": "context",
    "source_words": "context",
    "source_meaning": "context",
    "asked": "exact",
    "when": "exact",
    "entity": "exact",
    "attribute": "exact",
    "mention": "exact",
    "type": "exact",
    "number": "exact",
}
"""Which part of a score, as people see it, a feature belongs to. The others only shift a score as a whole."""

_WHEN = re.compile(
    r"^\s*when\b|\b(what|which) (date|day|month|year|time)\b|\bhow long\b|\bhow many (days|weeks|months|years)\b", re.I
)
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_TIME = re.compile(
    r"\b(yesterday|today|tonight|tomorrow|last|next|ago|weekend|recently|weeks?|months?|years?"
    rf"|{_DAYS}|{_MONTHS}|\d{{4}}|\d+(st|nd|rd|th))\b",
    re.I,
)


# Who speaks of themselves asks for what the subject said.
_FIRST_PERSON = frozenset(["i", "me", "my", "mine", "myself", "we", "us", "our", "ours"])


Cut = Callable[[str, str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Level:
    """How well the query's best item answers it at all, 0..1 each: a best that is poor must not score high."""

    similarity: float = 0.0
    coverage: float = 0.0


@dataclass(frozen=True, slots=True)
class TurnTraits:
    """What is known of a candidate turn. `group` is its session, `index` its place in it."""

    signals: Signals
    group: UUID
    index: int
    is_user: bool
    named: bool
    """The query names the speaker."""
    words: int
    asks: bool
    answers: bool
    """The turn before asks something."""
    tells_time: bool
    """Need not be looked for where the query does not ask for a time."""
    phrase: float
    """The share of the query's pairs of neighbouring lexemes that stand side by side in the turn, 0..1."""


@dataclass(frozen=True, slots=True)
class FactTraits:
    """What is known of a candidate version: each match is a share, 0..1.

    `source` holds the best words and the best meaning of the turns that state it, None where no turn does.
    `entity_share` is the share of the candidates that are about the same entity.
    """

    signals: Signals
    source: Signals | None
    tells_time: bool
    phrase: float
    entity: float
    entity_share: float
    attribute: float
    mention: float
    type: float
    number: float
    confidence: float
    superseded_days: float | None
    """Days since it was superseded; None while it holds."""


@dataclass(frozen=True, slots=True)
class Score:
    """A score in 0..1 and its parts (`semantic`, `keyword`, `exact`, `context`), which add up to it."""

    value: float
    parts: Mapping[str, float]


def asks_when(query: str) -> bool:
    """Whether the query wants a point or a span of time."""
    return bool(_WHEN.search(query))


def tells_time(text: str) -> bool:
    """Whether the text names a point or a span of time."""
    return bool(_TIME.search(text))


def first_person(words: Iterable[str]) -> bool:
    """Whether one of the query's words, case folded, is the asker's own "I"."""
    return not _FIRST_PERSON.isdisjoint(words)


def phrase_share(query: Sequence[str], text: str, config: str, cut: Cut = lexemes) -> float:
    """The share of the pairs of neighbouring lexemes of `query` that stand side by side in `text`, 0..1.

    `cut` cuts the text into lexemes; give one that remembers for texts that come again.
    """
    pairs = set(pairwise(query))
    if not pairs:
        return 0.0
    # Stemming is the cost here. A stem hardly ever differs from its word by more than its last letter, so that a text
    # without the beginnings of both words need not be cut up.
    folded = text.casefold()
    if not any(one[: max(3, len(one) - 1)] in folded and two[: max(3, len(two) - 1)] in folded for one, two in pairs):
        return 0.0
    return len(pairs & set(pairwise(cut(text, config)))) / len(pairs)


def turn_features(traits: Mapping[UUID, TurnTraits], *, when: bool, own: bool) -> dict[UUID, dict[str, float]]:
    """The features of each candidate turn, 0..1. `when`: the query asks for a time; `own`: in the first person."""
    base = {item: of.signals.words + of.signals.meaning for item, of in traits.items()}
    places = {(of.group, of.index): base[item] for item, of in traits.items()}
    anybody_named = any(of.named for of in traits.values())
    features = {}
    for item, of in traits.items():
        around = (
            places.get((of.group, of.index + step), 0.0) for step in range(-NEARBY_TURNS, NEARBY_TURNS + 1) if step
        )
        features[item] = {
            "words": of.signals.words,
            "meaning": of.signals.meaning,
            "nearby": max(around) / 2,
            "asked": float(of.named if anybody_named else own and of.is_user),
            "when": float(when and of.tells_time),
            "phrase": of.phrase,
            "substance": min(of.words, SHORT_WORDS) / SHORT_WORDS,
            "user_long": of.is_user * _between(LONG_WORDS, of.words, VERY_LONG_WORDS),
            "asks": float(of.asks),
            "answers": float(of.answers),
        }
    return features


def fact_features(traits: Mapping[UUID, FactTraits], *, when: bool) -> dict[UUID, dict[str, float]]:
    """The features of each candidate version, 0..1. `when`: the query asks for a time.

    Words and meaning count as they are, not beside the best: where nothing is known, nothing should be shown.
    """
    return {
        item: {
            "words": of.signals.coverage,
            "meaning": of.signals.closeness,
            # A fact that no turn states stands for itself.
            "source_words": (of.source or of.signals).coverage,
            "source_meaning": (of.source or of.signals).closeness,
            "when": float(when and of.tells_time),
            "phrase": of.phrase,
            # A name that half of the memory is about tells less than one that stands on few facts.
            "entity": of.entity * (1 - of.entity_share),
            "attribute": of.attribute,
            "mention": of.mention,
            "type": of.type,
            "number": of.number,
        }
        for item, of in traits.items()
    }


def turn_scores(features: Mapping[UUID, Mapping[str, float]], *, level: Level, with_vectors: bool) -> dict[UUID, Score]:
    """Score turns. Without vectors another set of coefficients stands in."""
    weights = coefficients("turns" if with_vectors else "turns_words_only")
    return {item: _score(of, level, weights) for item, of in features.items()}


def fact_scores(
    features: Mapping[UUID, Mapping[str, float]],
    traits: Mapping[UUID, FactTraits],
    *,
    level: Level,
    with_vectors: bool,
) -> dict[UUID, Score]:
    """Score fact versions: relevance, lessened by low confidence and, for a superseded one, by time."""
    weights = coefficients("facts" if with_vectors else "facts_words_only")
    scores = {}
    for item, of in features.items():
        trait = traits[item]
        factor = (0.5 + 0.5 * trait.confidence) * decay(trait.superseded_days)
        scored = _score(of, level, weights)
        scores[item] = Score(scored.value * factor, {part: value * factor for part, value in scored.parts.items()})
    return scores


def decay(superseded_days: float | None) -> float:
    """The share of its score that a version keeps: 1 while it holds, then 0.9 for each 30 days."""
    if superseded_days is None:
        return 1.0
    return DECAY_PER_30_DAYS ** (max(0.0, superseded_days) / 30)


def best(scores: Mapping[UUID, Score], top_k: int) -> list[tuple[UUID, Score]]:
    """The `top_k` best, best first; equal scores in order of id, so that the same query gives the same answer."""
    return sorted(scores.items(), key=lambda pair: (-pair[1].value, pair[0]))[:top_k]


def share_of(wanted: Sequence[str], asked: frozenset[str]) -> float:
    """The share of the lexemes of a name that stand in the query: 0..1, and 0 for a name without any."""
    return sum(lexeme in asked for lexeme in wanted) / len(wanted) if wanted else 0.0


@lru_cache
def coefficients(kind: str) -> Mapping[str, float]:
    """Feature → weight of the fusion; `bias`, `level_similarity` and `level_coverage` place a query's scores."""
    weights: Mapping[str, float] = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))[kind]
    return weights


def _score(features: Mapping[str, float], level: Level, weights: Mapping[str, float]) -> Score:
    terms = {name: weights.get(name, 0.0) * value for name, value in features.items()}
    start = (
        weights["bias"] + weights["level_similarity"] * level.similarity + weights["level_coverage"] * level.coverage
    )
    value = _logistic(start + sum(terms.values()))
    parts: dict[str, float] = {}
    for name, term in terms.items():
        part = PARTS.get(name)
        if part is not None and term > 0:
            parts[part] = parts.get(part, 0.0) + term
    total = sum(parts.values())
    return Score(value, {part: value * (amount / total) for part, amount in parts.items()} if total else {})


def _between(low: float, value: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, value))))
