"""Finding in a text what should not be kept as it is, or should be looked at: sensitive data, and attempts to steer.

Everything here is pure and takes time in proportion to the text. What follows from a finding is decided elsewhere: for
sensitive data by the workspace's policy; a suspicious passage only sorts the work of those who review.
"""

from collections.abc import Collection, Iterable

from memoryhub.core.screening.findings import LABELS, SENSITIVE, SUSPICIOUS, Finding, Kind
from memoryhub.core.screening.sensitive import SENSITIVE_DETECTORS
from memoryhub.core.screening.suspicious import suspicious_findings

__all__ = ["LABELS", "SENSITIVE", "SUSPICIOUS", "Finding", "Kind", "redacted", "screen"]


def screen(text: str, *, kinds: Collection[Kind] | None = None) -> tuple[Finding, ...]:
    """What is found of `kinds` (None: all of them) in `text`, in order and apart: the earlier and longer one wins."""
    found: list[Finding] = []
    for kind, detect in SENSITIVE_DETECTORS.items():
        if kinds is None or kind in kinds:
            found.extend(Finding(kind, start, end) for start, end in detect(text))
    if kinds is None or not SUSPICIOUS.isdisjoint(kinds):
        found.extend(one for one in suspicious_findings(text) if kinds is None or one.kind in kinds)
    return tuple(_apart(found))


def redacted(text: str, findings: Iterable[Finding]) -> str:
    """`text` with each finding replaced by what it was: `[redacted: payment card]`."""
    parts = []
    done = 0
    for one in findings:
        parts += [text[done : one.start], f"[redacted: {LABELS[one.kind]}]"]
        done = one.end
    return "".join([*parts, text[done:]])


def _apart(found: list[Finding]) -> Iterable[Finding]:
    end = 0
    for one in sorted(found, key=lambda one: (one.start, -one.end)):
        if one.start >= end:
            yield one
            end = one.end
