"""What a search finds. Scores are in 0..1; `scores` holds their parts (`semantic`, `keyword`, `exact`, …)."""

from collections.abc import Mapping
from dataclasses import dataclass

from facts.models import FactVersion
from sessions.models import Turn


@dataclass(frozen=True, slots=True)
class FactHit:
    """A version, with its fact and the session it was learned in loaded."""

    version: FactVersion
    score: float
    scores: Mapping[str, float]
    similarity: float | None = None
    """Raw cosine of the query and the content; None without vectors."""
    told_in: str | None = None
    """The caller's id of the session it was learned in, where that is the agent's own."""


@dataclass(frozen=True, slots=True)
class TurnHit:
    """A turn, with its session loaded."""

    turn: Turn
    score: float
    scores: Mapping[str, float]
    told_in: str | None = None
    """As of a fact."""


@dataclass(frozen=True, slots=True)
class FactSearch:
    """`hits` passed the threshold and top-k, best first; `candidates` are the best 50 whatever their score."""

    hits: tuple[FactHit, ...] = ()
    candidates: tuple[FactHit, ...] = ()
