"""Features into scores. Pure: no database, no model, no clock of its own.

Turns and facts are scored alike: a linear fusion of a few features, squashed to 0..1 by a logistic function that was
fitted to relevance, so that one threshold means about the same everywhere. Coefficients live in coefficients.json;
benchmarks/fit_ranking.py fits them.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from uuid import UUID

from memoryhub.core.search.query import Candidates

COEFFICIENTS = Path(__file__).with_name("coefficients.json")

DECAY_PER_30_DAYS = 0.9
"""What a superseded version keeps of its score each 30 days."""

BEST_OF_GROUP = 3
LONG_CHARACTERS = 3000
WORDS_HALF = 5.0
"""The BM25 score of a fact that counts half."""

PARTS = {
    "piece": "semantic",
    "context": "semantic",
    "dated": "semantic",
    "sentence": "semantic",
    "about": "semantic",
    "words": "keyword",
    "coverage": "keyword",
    "session": "context",
    "named": "exact",
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


@dataclass(frozen=True, slots=True)
class TurnTraits:
    """What is known of a candidate turn beside its search features. `group` is its session."""

    group: UUID
    is_user: bool
    named: bool
    characters: int
    is_question: bool
    follows_question: bool
    tells_time: bool


@dataclass(frozen=True, slots=True)
class FactTraits:
    """What is known of a candidate version beside its search features: each match is a share, 0..1.

    `entity_share` is the share of the candidates that are about the same entity.
    """

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


def turn_features(found: Candidates, traits: Mapping[UUID, TurnTraits]) -> dict[UUID, dict[str, float]]:
    """The features of each candidate turn whose traits are known, scaled to 0..1 over the subject's turns."""
    scaled = {}
    for candidate in found.items:
        if candidate.item not in traits:
            continue
        words = _scaled(candidate.words.get("context", 0.0), found.ranges.get("words:context"))
        features = {"words": words}
        for view in ("piece", "context", "dated"):
            features[view] = _scaled(candidate.cosines.get(view), found.ranges.get(f"cosine:{view}"))
        scaled[candidate.item] = features
    groups: dict[UUID, list[float]] = {}
    for item, features in scaled.items():
        groups.setdefault(traits[item].group, []).append(features["words"] + features["piece"])
    best = {
        group: sum(sorted(scores, reverse=True)[:BEST_OF_GROUP]) / BEST_OF_GROUP for group, scores in groups.items()
    }
    highest = max(best.values(), default=0.0) or 1.0
    for item, features in scaled.items():
        of = traits[item]
        features |= {
            "session": best[of.group] / highest,
            "named": float(of.named),
            "user": float(of.is_user),
            "length": min(1.0, math.log1p(of.characters) / math.log1p(LONG_CHARACTERS)),
            "question": float(of.is_question),
            "after_question": float(of.follows_question),
            "when": float(of.tells_time),
        }
    return scaled


def fact_features(found: Candidates, traits: Mapping[UUID, FactTraits]) -> dict[UUID, dict[str, float]]:
    """The features of each candidate version whose traits are known. Absolute, so that a poor best stays poor."""
    features = {}
    for candidate in found.items:
        of = traits.get(candidate.item)
        if of is None:
            continue
        words = candidate.words.get("about", 0.0)
        # A name that half of the memory is about tells less than one that stands on few facts.
        features[candidate.item] = {
            "sentence": max(0.0, candidate.cosines.get("sentence", 0.0)),
            "about": max(0.0, candidate.cosines.get("about", 0.0)),
            "words": words / (words + WORDS_HALF),
            "coverage": candidate.coverage.get("about", 0.0),
            "entity": of.entity * (1 - of.entity_share),
            "attribute": of.attribute,
            "mention": of.mention,
            "type": of.type,
            "number": of.number,
        }
    return features


def turn_scores(features: Mapping[UUID, Mapping[str, float]], *, with_vectors: bool) -> dict[UUID, Score]:
    """Score turns. Without vectors another set of coefficients stands in."""
    weights = coefficients("turns" if with_vectors else "turns_words_only")
    return {item: _score(of, weights) for item, of in features.items()}


def fact_scores(
    features: Mapping[UUID, Mapping[str, float]], traits: Mapping[UUID, FactTraits], *, with_vectors: bool
) -> dict[UUID, Score]:
    """Score fact versions: relevance, lessened by low confidence and, for a superseded one, by time."""
    weights = coefficients("facts" if with_vectors else "facts_words_only")
    scores = {}
    for item, of in features.items():
        trait = traits[item]
        factor = (0.5 + 0.5 * trait.confidence) * decay(trait.superseded_days)
        scored = _score(of, weights)
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


def share_of(wanted: Sequence[str], asked: Iterable[str]) -> float:
    """The share of the lexemes of a name that stand in the query: 0..1, and 0 for a name without any."""
    asked = set(asked)
    return fmean([float(lexeme in asked) for lexeme in wanted]) if wanted else 0.0


@lru_cache
def coefficients(kind: str) -> Mapping[str, float]:
    """Feature → weight of the fusion, with `bias` for the logistic."""
    weights: Mapping[str, float] = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))[kind]
    return weights


def _score(features: Mapping[str, float], weights: Mapping[str, float]) -> Score:
    terms = {name: weights.get(name, 0.0) * value for name, value in features.items()}
    value = _logistic(weights["bias"] + sum(terms.values()))
    parts: dict[str, float] = {}
    for name, term in terms.items():
        part = PARTS.get(name)
        if part is not None and term > 0:
            parts[part] = parts.get(part, 0.0) + term
    total = sum(parts.values())
    return Score(value, {part: value * amount / total for part, amount in parts.items()} if total else {})


def _scaled(value: float | None, span: tuple[float, float] | None) -> float:
    if value is None or span is None or span[1] <= span[0]:
        return 0.0
    return (value - span[0]) / (span[1] - span[0])


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, value))))
