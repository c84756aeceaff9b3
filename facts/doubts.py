"""Why a statement waits for a person: its source, the workspace's policy, and what sorts the work. Pure.

A doubt is a code of audit/reasons.py, with its place in the content where it has one; never the value found there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from facts.models import Source
from memoryhub.access.policy import Treatment, WorkspacePolicy
from memoryhub.core.screening import SUSPICIOUS, screen

CONTENT_CHARACTERS = 4_000
"""What a fact may say: it is one sentence."""
MARKS_STALE, RESTORES, ASKS_ERASURE = "marks_stale", "restores", "asks_erasure"
"""Not statements but wishes: that a version count as stale, that an earlier one come back, that a fact be erased."""
WAITS_BECAUSE = (
    "untrusted_source",
    "contradicts_pinned",
    "contradicts_vouched",
    "contradicts_subject",
    "of_another",
    MARKS_STALE,
    RESTORES,
    ASKS_ERASURE,
    "rejected_before",
    "withheld",
    "echo",
    "suspicious",
    "sensitive_data",
    "special_category",
    "low_confidence",
    "too_long",
    "too_many",
    "too_many_versions",
)
"""Every code that a doubt can have."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """One reason to wait. What was found in the content has a kind and a place there, in characters."""

    code: str
    kind: str = ""
    start: int | None = None
    end: int | None = None

    def as_json(self) -> dict[str, Any]:
        placed = {"kind": self.kind, "start": self.start, "end": self.end} if self.kind else {}
        return {"code": self.code, **placed}

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> "Doubt":
        return cls(stored["code"], stored.get("kind", ""), stored.get("start"), stored.get("end"))


@dataclass(frozen=True, slots=True)
class Heard:
    """A statement and how it came in. `written_today`: what its writer brought about this person today already."""

    content: str
    source: Source
    extracted: bool = False
    confidence: float = 1.0
    special_category: str = ""
    labels: tuple[str, ...] = ()
    """What else of it is shown: what it is about, its unit, whom it mentions."""
    only_echo: bool = False
    turn_withheld: bool = False
    written_today: int = 0


def doubts_about(heard: Heard, policy: WorkspacePolicy) -> Iterator[Doubt]:
    """The doubts about a statement, the weightiest first."""
    if heard.source == Source.OPERATOR:
        return
    if heard.source in (Source.TOOL, Source.IMPORT):
        yield Doubt("untrusted_source")
    if heard.turn_withheld and heard.extracted:
        yield Doubt("withheld")
    if heard.only_echo:
        yield Doubt("echo")
    if heard.special_category and policy.special_categories != Treatment.ALLOW:
        yield Doubt("special_category")
    if heard.extracted and heard.confidence < policy.confidence_for_review:
        yield Doubt("low_confidence")
    for one in screen(heard.content, kinds=SUSPICIOUS | policy.screened_kinds):
        if one.kind in SUSPICIOUS:
            yield Doubt("suspicious", one.kind.value, one.start, one.end)
        elif policy.treatment(one.kind) is Treatment.QUARANTINE:
            yield Doubt("sensitive_data", one.kind.value, one.start, one.end)
    if any(screen(label, kinds=SUSPICIOUS) for label in heard.labels):
        yield Doubt("suspicious")
    if len(heard.content) > CONTENT_CHARACTERS:
        yield Doubt("too_long")
    if heard.written_today >= policy.facts_per_day:
        yield Doubt("too_many")
