"""Numbers as the points of a line in an SVG. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """`points` for a polyline; `area` closes it along the bottom, for a polygon."""

    points: str
    area: str


def nice_top(highest: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, … that is not below `highest`; at least 1."""
    top = 1
    while top < highest:
        top = top * 5 // 2 if str(top).startswith("2") else top * 2
    return top


def line(values: Sequence[float], *, top: float, left: float, right: float, above: float, bottom: float) -> Line:
    """`values` spread evenly from `left` to `right`, 0 at `bottom` and `top` at `above` (SVG's y grows downwards)."""
    if not values:
        return Line("", "")
    step = (right - left) / (len(values) - 1) if len(values) > 1 else 0
    points = " ".join(
        f"{left + step * index:.1f},{bottom - (bottom - above) * value / (top or 1):.1f}"
        for index, value in enumerate(values)
    )
    return Line(points, f"{left:.1f},{bottom:.1f} {points} {left + step * (len(values) - 1):.1f},{bottom:.1f}")
