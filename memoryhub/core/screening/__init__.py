"""Finding in a text what should not be kept as it is, or should be looked at: sensitive data, and attempts to steer.

Everything here is pure and takes time in proportion to the text. What follows from a finding is decided elsewhere: for
sensitive data by the workspace's policy; a suspicious passage only sorts the work of those who review.
"""

from collections.abc import Collection, Iterable

from memoryhub.core.screening.findings import LABELS, SENSITIVE, SUSPICIOUS, Finding, Kind
from memoryhub.core.screening.sensitive import SENSITIVE_DETECTORS
from memoryhub.core.screening.suspicious import suspicious_findings

__all__ = ["LABELS", "SENSITIVE", "SUSPICIOUS", "Finding", "Kind", "redacted", "screen"]

# How many times at most what is left after redaction is looked through, so that no text takes long.
_ROUNDS = 8


def screen(text: str, *, kinds: Collection[Kind] | None = None) -> tuple[Finding, ...]:
    """What is found of `kinds` (None: all of them) in `text`, in order and apart: the earlier and longer one wins.

    With what is sensitive redacted, nothing more of that is found: a number that was hidden behind another is told too.
    """
    found = _sensitive(text, kinds)
    for _ in range(_ROUNDS):
        before, found = found, _apart([*found, *_found_behind(text, found, kinds)])
        if found == before:
            break
    if kinds is None or not SUSPICIOUS.isdisjoint(kinds):
        found += [one for one in suspicious_findings(text) if kinds is None or one.kind in kinds]
    return tuple(_apart(found))


def redacted(text: str, findings: Iterable[Finding]) -> str:
    """`text` with each finding replaced by what it was: `[redacted: payment card]`."""
    parts = []
    done = 0
    for one in findings:
        parts += [text[done : one.start], _label(one)]
        done = one.end
    return "".join([*parts, text[done:]])


def _label(finding: Finding) -> str:
    return f"[redacted: {LABELS[finding.kind]}]"


def _sensitive(text: str, kinds: Collection[Kind] | None) -> list[Finding]:
    return _apart(
        Finding(kind, start, end)
        for kind, detect in SENSITIVE_DETECTORS.items()
        if kinds is None or kind in kinds
        for start, end in detect(text)
    )


def _found_behind(text: str, found: list[Finding], kinds: Collection[Kind] | None) -> list[Finding]:
    """What is found in `text` once `found` is redacted, by its places in `text`, not in what was redacted."""
    if not found:
        return []
    begins: list[int] = []  # for each redacted character, where it is in `text`, or what the label stands for
    ends: list[int] = []
    done = 0
    for one in found:
        begins += [*range(done, one.start), *[one.start] * len(_label(one))]
        ends += [*range(done + 1, one.start + 1), *[one.end] * len(_label(one))]
        done = one.end
    begins += range(done, len(text))
    ends += range(done + 1, len(text) + 1)
    more = _sensitive(redacted(text, found), kinds)
    return [Finding(one.kind, begins[one.start], ends[one.end - 1]) for one in more]


def _apart(found: Iterable[Finding]) -> list[Finding]:
    apart: list[Finding] = []
    for one in sorted(found, key=lambda one: (one.start, -one.end)):
        if not apart or one.start >= apart[-1].end:
            apart.append(one)
    return apart
