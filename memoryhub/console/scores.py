"""Scores as bars: the parts of a score add up to it, so a bar is as long as the score. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

PART_NAMES = {"semantic": "meaning", "keyword": "words", "exact": "exact"}
OTHER = "other"


@dataclass(frozen=True)
class ScorePart:
    """A part of a score, with where its piece of the bar begins and how wide it is, in percent."""

    name: str
    value: float
    begins: float
    width: float


def score_parts(scores: Mapping[str, float]) -> tuple[ScorePart, ...]:
    """The parts in the order they are always shown in; what has no name of its own is told as one."""
    values = {name: scores.get(part, 0.0) for part, name in PART_NAMES.items()}
    rest = sum(value for part, value in scores.items() if part not in PART_NAMES)
    if rest > 0:
        values[OTHER] = rest
    parts = []
    begins = 0.0
    for name, value in values.items():
        parts.append(ScorePart(name, value, round(100 * begins, 2), round(100 * value, 2)))
        begins += value
    return tuple(parts)


def percent(value: float | None) -> float | None:
    """Where a figure of 0 to 1 stands on a bar of 100."""
    return None if value is None else round(min(max(value, 0.0), 1.0) * 100, 1)
