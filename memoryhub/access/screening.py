"""What the workspace's policy makes of sensitive data, before anything is kept, indexed or sent anywhere."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from memoryhub.access.policy import Treatment, WorkspacePolicy
from memoryhub.core.screening import SENSITIVE, Finding, Kind, redacted, screen

# Digits in JSON may be a number as well as a string; a shorter one is neither a card nor an account.
LEAST_NUMBER = 10**8


@dataclass(frozen=True, slots=True)
class Screened:
    """`text` as it may be kept, and what was found in it. `quarantine`: a person has to look before it is used."""

    text: str
    findings: tuple[Finding, ...] = ()
    quarantine: bool = False

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return tuple(dict.fromkeys(one.kind for one in self.findings))


def apply_policy(text: str, policy: WorkspacePolicy) -> Screened:
    """`text` with what the policy wants redacted taken out. Places of findings are those in the text as given."""
    found = screen(text, kinds=policy.screened_kinds)
    if not found:
        return Screened(text)
    return Screened(
        redacted(text, (one for one in found if policy.treatment(one.kind) is Treatment.REDACT)),
        found,
        any(policy.treatment(one.kind) is Treatment.QUARANTINE for one in found),
    )


@dataclass(slots=True)
class Screening:
    """Screens the parts of one thing, and keeps count of what was found in each."""

    policy: WorkspacePolicy
    found: Counter[tuple[str, Kind]] = field(default_factory=Counter)
    quarantine: bool = False

    def text(self, text: str, part: str) -> str:
        screened = apply_policy(text, self.policy)
        self.found.update((part, one.kind) for one in screened.findings)
        self.quarantine = self.quarantine or screened.quarantine
        return screened.text

    def json(self, value: Any, part: str) -> Any:
        """`value` with every string in it screened, keys too, and long numbers as if they were strings."""
        if isinstance(value, str):
            return self.text(value, part)
        if isinstance(value, Mapping):
            return {self.text(str(key), part): self.json(inner, part) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.json(inner, part) for inner in value]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= LEAST_NUMBER:
            kept = self.text(str(value), part)
            return value if kept == str(value) else kept
        return value

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What was found, for keeping beside the thing: classes, parts and counts, never a value."""
        return [
            {"kind": kind.value, "part": part, "count": count, "treatment": self.policy.treatment(kind).value}
            for (part, kind), count in sorted(self.found.items())
        ]


def kinds_of(findings: Iterable[Mapping[str, Any]]) -> list[str]:
    """The classes named in findings, each once, in order."""
    return sorted({str(one["kind"]) for one in findings if one["kind"] in SENSITIVE})
