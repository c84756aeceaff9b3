"""A text as its reader would take it: compatibility forms, case and invisible characters folded away."""

import re
import unicodedata
from dataclasses import dataclass

# Drawn as nothing: zero width, soft hyphen, word joiner, tags, variation selectors, direction controls.
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\U000e0000-\U000e0fff]"
)
_RUNS = re.compile(r"[\x00-\x7f]+|[^\x00-\x7f]")
# Letters of other alphabets that look like ours, as they are used to slip past a filter.
_LOOKALIKES = str.maketrans("аеорсухіјѕԁһӏοενκτρυ", "aeopcyxijsdhloevktpu")


@dataclass(frozen=True, slots=True)
class Folded:
    """`text` to match in; `places[i]` is where its character i stood in the original."""

    text: str
    places: tuple[int, ...] | None
    """None: every character stands where it stood."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The place in the original of a match."""
        if self.places is None:
            return start, end
        return self.places[start], self.places[end - 1] + 1


def fold(text: str) -> Folded:
    """Lower case NFKC without invisible characters and accents, look-alike letters replaced, one to one by place."""
    if text.isascii():
        return Folded(text.lower(), None)
    letters: list[str] = []
    places: list[int] = []
    for run in _RUNS.finditer(text):
        place = run.start()
        if run[0].isascii():
            letters.append(run[0].lower())
            places.extend(range(place, run.end()))
        elif not INVISIBLE.match(run[0]):
            for part in unicodedata.normalize("NFKD", run[0]).casefold():
                if not unicodedata.combining(part):
                    letters.append(part)
                    places.append(place)
    return Folded("".join(letters).translate(_LOOKALIKES), tuple(places))
