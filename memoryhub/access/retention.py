"""How long a workspace keeps what, by kind: the part of its policy that ends memory by time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LONGEST = 36_500
Days = Annotated[int, Field(ge=1, le=LONGEST)]


@dataclass(frozen=True)
class KeptKind:
    """One kind of thing that is kept for a time. `says` tells from when the days count and what goes along."""

    label: str
    says: str
    swept: bool = True
    """Whether the daily sweep removes it."""


KINDS: Mapping[str, KeptKind] = {
    "turns": KeptKind("Turns", "Since they were recorded, verbatim. A session goes with its last turn."),
    "preference": KeptKind("Preferences", "Since one was last stated or confirmed; with its history, unless pinned."),
    "decision": KeptKind("Decisions", "Since one was last stated or confirmed; with its history, unless pinned."),
    "constraint": KeptKind("Constraints", "Since one was last stated or confirmed; with its history, unless pinned."),
    "goal": KeptKind("Goals", "Since one was last stated or confirmed; with its history, unless pinned."),
    "entity": KeptKind("Entities", "Since one was last stated or confirmed; with its history, unless pinned."),
    "superseded": KeptKind("Superseded versions", "Since a newer one took their place."),
    "stale": KeptKind("Stale facts", "Since they were marked as no longer true; with what they had replaced."),
    "rejected": KeptKind("Rejected versions", "Since a person turned them down."),
    "quarantined": KeptKind("Versions that wait for review", "Since they were written. They were never surfaced."),
    "recalls": KeptKind("Surfacings", "What was asked and surfaced. The audit log keeps that it was, without content."),
    "extractions": KeptKind(
        "Extractions and dead letters", "Since they were made, once their turns are gone. They hold no content."
    ),
    "audit": KeptKind(
        "Audit entries",
        "Without content. They go as whole prefixes, by the owner, not by the sweep.",
        False,
    ),
}
FACT_KINDS = ("preference", "decision", "constraint", "goal", "entity")
SWEPT = tuple(kind for kind, one in KINDS.items() if one.swept)


def setting_of(kind: str) -> str:
    """The name of the policy's field that says how long `kind` is kept."""
    return f"keep_{kind}_days"


SETTINGS = tuple(setting_of(kind) for kind in KINDS)


class RetentionRules(BaseModel):
    """Days by kind; None: until somebody erases it. docs/privacy.md says why these."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep_turns_days: Days | None = 730
    keep_preference_days: Days | None = 1_095
    keep_decision_days: Days | None = 1_095
    keep_constraint_days: Days | None = 1_095
    keep_goal_days: Days | None = 730
    keep_entity_days: Days | None = 1_095
    keep_superseded_days: Days | None = 365
    keep_stale_days: Days | None = 180
    keep_rejected_days: Days | None = 90
    keep_quarantined_days: Days | None = 180
    keep_recalls_days: Days | None = 365
    keep_extractions_days: Days | None = 90
    keep_audit_days: Days | None = 2_190

    def days(self, kind: str) -> int | None:
        value: int | None = getattr(self, setting_of(kind))
        return value


def shortened(before: RetentionRules, after: RetentionRules) -> list[str]:
    """The kinds that `after` keeps for less long than `before`."""
    return [
        kind for kind in KINDS if (days := after.days(kind)) is not None and days < (before.days(kind) or LONGEST + 1)
    ]
