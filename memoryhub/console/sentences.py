"""Where in a turn a fact is said: the sentence that shares most of its words. Pure.

Evidence names the turn. Which sentence of it says the fact is told by its words here, for the eye alone.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

AROUND = 240
"""Characters of the turn that are shown before and after the sentence."""
LOOKED_AT = 200_000
"""Characters of a turn that are searched."""
_SENTENCE = re.compile(r"[^\s.!?。！？\n](?:[^.!?。！？\n]|[.!?](?=\S))*[.!?。！？]*")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Quote:
    """A part of a turn with the sentence in it. `cut_before` and `cut_after`: the turn goes on there."""

    before: str
    said: str
    after: str
    cut_before: bool = False
    cut_after: bool = False


def quote(text: str, about: Iterable[str]) -> Quote:
    """The sentence of `text` that shares most with `about` (the fact's words), with what stands around it.

    Where nothing is shared, `said` is empty and the beginning of the text is shown.
    """
    found = _place(text, about)
    if found is None:
        shown = text[: 2 * AROUND]
        return Quote(shown, "", "", cut_after=len(shown) < len(text))
    start, end = found
    first, last = max(0, start - AROUND), min(len(text), end + AROUND)
    return Quote(text[first:start], text[start:end], text[end:last], first > 0, last < len(text))


def _place(text: str, about: Iterable[str]) -> tuple[int, int] | None:
    wanted = _telling(" ".join(about))
    best, place = 0.0, None
    for sentence in _SENTENCE.finditer(text, 0, LOOKED_AT):
        shared = sum(weight for word, weight in _telling(sentence[0]).items() if word in wanted)
        # Of two that say as much, the shorter one says it.
        points = shared - len(sentence[0]) / 1_000_000
        if shared and points > best:
            best, place = points, sentence.span()
    return place


def _telling(text: str) -> dict[str, float]:
    """The words of a text by their first letters, so that "prefers" meets "prefer"; numbers tell most."""
    return {
        word[:5]: 3.0 if any(letter.isdigit() for letter in word) else 1.0 if len(word) > 3 else 0.1
        for word in _WORD.findall(text.casefold())
    }
