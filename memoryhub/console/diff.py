"""What changed between two texts, word by word. Pure."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

COMPARED = 1_500
"""Words that are compared with each other; where more differ, the whole stretch is shown as replaced."""
_TOKENS = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text that stands in both, only in the older one (`gone`) or only in the newer one (`new`)."""

    kind: Literal["same", "gone", "new"]
    text: str


def word_diff(before: str, after: str) -> tuple[Run, ...]:
    """From `before` to `after`: without what is new it reads as the one, without what is gone as the other."""
    old, new = _TOKENS.findall(before), _TOKENS.findall(after)
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    middle_old, middle_new = old[start : len(old) - end], new[start : len(new) - end]
    runs = [
        Run("same", "".join(old[:start])),
        *_between(middle_old, middle_new),
        Run("same", "".join(old[-end or len(old) :])),
    ]
    return tuple(_joined([run for run in runs if run.text]))


def _between(old: list[str], new: list[str]) -> list[Run]:
    if max(len(old), len(new)) > COMPARED:
        return [Run("gone", "".join(old)), Run("new", "".join(new))]
    runs = []
    for what, old_from, old_to, new_from, new_to in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            runs.append(Run("same", "".join(old[old_from:old_to])))
        else:
            runs += [Run("gone", "".join(old[old_from:old_to])), Run("new", "".join(new[new_from:new_to]))]
    return runs


def _joined(runs: list[Run]) -> list[Run]:
    """Words replaced one after the other are told as one replacement: white space between them belongs to both."""
    joined: list[Run] = []
    at = 0
    while at < len(runs):
        if runs[at].kind == "same":
            joined.append(runs[at])
            at += 1
            continue
        gone = new = ""
        while at < len(runs) and (runs[at].kind != "same" or (runs[at].text.isspace() and at + 1 < len(runs))):
            run = runs[at]
            gone += run.text if run.kind != "new" else ""
            new += run.text if run.kind != "gone" else ""
            at += 1
        joined += [one for one in (Run("gone", gone), Run("new", new)) if one.text]
    return joined
