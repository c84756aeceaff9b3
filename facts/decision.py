"""What a newly stated fact does to those already known: add, confirm, supersede, stand beside, or wait. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from facts.models import Source


class Outcome(StrEnum):
    ADDED = "added"
    CONFIRMED = "confirmed"
    SUPERSEDED = "superseded"
    QUARANTINED = "quarantined"
    BACKDATED = "backdated"


@dataclass(frozen=True)
class Identity:
    """What makes two statements be about the same thing."""

    type: str
    entity_key: str
    attribute: str


@dataclass(frozen=True)
class Known:
    """A fact with its current version (or its latest that was ever let in, when none is current).

    `vouched`: a person entered that version or let it in. `turned_down`: a person marked it stale. `agent_id` brought
    it in. `decided_at` is since when it holds, or until when it held; `past` are the versions before it.
    """

    fact_id: UUID
    identity: Identity
    content: str
    value: Decimal | None
    unit: str
    is_current: bool
    source: Source = Source.AGENT
    agent_id: UUID | None = None
    pinned: bool = False
    vouched: bool = False
    turned_down: bool = False
    decided_at: datetime | None = None
    past: tuple["Past", ...] = ()


@dataclass(frozen=True)
class Past:
    """A version that was let in and no longer holds."""

    version_id: UUID
    content: str
    value: Decimal | None
    unit: str


@dataclass(frozen=True)
class Held:
    """A version that its writer brought in before and that waits for a person, or was turned down by one."""

    version_id: UUID
    fact_id: UUID
    content: str
    value: Decimal | None
    unit: str
    rejected: bool = False


@dataclass(frozen=True)
class Stated:
    """A fact as it is stated now. `replaces` is a fact's id; `coexists` asks for both to stand.

    `doubts` are the reasons, as codes, why it has to wait for a person whatever it does to others.
    """

    identity: Identity
    content: str
    value: Decimal | None = None
    unit: str = ""
    replaces: UUID | None = None
    coexists: bool = False
    source: Source = Source.AGENT
    agent_id: UUID | None = None
    doubts: tuple[str, ...] = ()
    at: datetime | None = None
    """When it was said, where that may have been before what is known by now: a conversation that is read late."""


@dataclass(frozen=True)
class Decision:
    """`fact_id` is the fact confirmed, superseded, to be superseded or added to; None when a new one is added.

    `reason` is a code. What is quarantined has all its reasons in `doubts`. `version_id` is the version that says the
    same and waits already, or held before.
    """

    outcome: Outcome
    fact_id: UUID | None
    reason: str
    doubts: tuple[str, ...] = ()
    version_id: UUID | None = None


def decide(known: Sequence[Known], stated: Stated, held: Sequence[Held] = ()) -> Decision:
    """Decide about one statement, given the known facts of its subject that share its identity or are named by it.

    - The same content, value and unit as a current fact of that identity confirms it. Said by the subject, it takes
      the place of what an agent wrote, since from then on everybody may see it.
    - `replaces` supersedes the fact it names.
    - Equal type, entity and attribute with other content supersedes, unless the statement says that both hold, no
      attribute is given (then nothing says that the two are about the same thing), or several already stand side by
      side (then nothing says which of them is meant).
    - What was said before that which it would supersede began to hold, or was marked stale, only joins its past.
    - What would supersede a fact that it may not (`contradiction`), what is doubted, and what a person turned down
      when the same writer brought it before, waits for a person. `held` are this writer's versions of that identity
      that wait or were turned down: a statement that says the same joins the one that is there.
    """
    placed = _placed(known, stated)
    if placed.outcome is Outcome.CONFIRMED:
        return placed
    doubts = list(stated.doubts)
    target = next((fact for fact in known if fact.fact_id == placed.fact_id), None)
    if target is not None and placed.outcome is Outcome.SUPERSEDED:
        code = contradiction(target, stated)
        doubts = [code, *doubts] if code else doubts
    same = next((one for one in held if _equal(one, stated)), None)
    if same is not None and same.rejected and stated.source != Source.OPERATOR:
        doubts.append("rejected_before")
    if not doubts:
        return placed
    return Decision(
        Outcome.QUARANTINED,
        same.fact_id if same else placed.fact_id,
        doubts[0],
        tuple(dict.fromkeys(doubts)),
        same.version_id if same else None,
    )


def contradiction(known: Known, stated: Stated) -> str:
    """Why `stated` may not take the place of the current version of `known` by itself, as a code; '' when it may.

    A version takes another's place only when everybody who sees that one will see it too, and never that of what a
    person vouches for.
    """
    if stated.source == Source.OPERATOR:
        return ""
    if not known.is_current:
        return "rejected_before" if known.turned_down and _equal(known, stated) else ""
    if known.pinned:
        return "contradicts_pinned"
    if known.vouched or known.source == Source.OPERATOR:
        return "contradicts_vouched"
    if stated.source == Source.USER:
        return ""
    if known.source == Source.USER:
        return "contradicts_subject"
    return "" if known.agent_id == stated.agent_id else "of_another"


def _placed(known: Sequence[Known], stated: Stated) -> Decision:
    """What the statement does if nothing speaks against it."""
    same = [fact for fact in known if fact.identity == stated.identity]
    for fact in same:
        if fact.is_current and _equal(fact, stated) and stated.replaces in (None, fact.fact_id):
            if stated.source == Source.USER and fact.source != Source.USER and not (fact.vouched or fact.pinned):
                return Decision(Outcome.SUPERSEDED, fact.fact_id, "said_by_subject")
            return Decision(Outcome.CONFIRMED, fact.fact_id, "same_content")
    if stated.replaces is not None:
        named = next((fact for fact in known if fact.fact_id == stated.replaces), None)
        return (
            _superseded(named, stated, "replaces")
            if named
            else Decision(Outcome.SUPERSEDED, stated.replaces, "replaces")
        )
    if stated.coexists:
        return Decision(Outcome.ADDED, None, "coexists" if same else "new")
    if not same:
        return Decision(Outcome.ADDED, None, "new")
    if not stated.identity.attribute:
        return Decision(Outcome.ADDED, None, "no_attribute")
    standing = [fact for fact in same if fact.is_current] or same
    if len(standing) > 1:
        return Decision(Outcome.ADDED, None, "several_stand")
    return _superseded(standing[0], stated, "same_attribute")


def _superseded(target: Known, stated: Stated, reason: str) -> Decision:
    """It takes the place of the target's version, unless it was said before that one was."""
    if stated.at is None or target.decided_at is None or stated.at >= target.decided_at:
        return Decision(Outcome.SUPERSEDED, target.fact_id, reason)
    for past in target.past:
        if _equal(past, stated):
            return Decision(Outcome.CONFIRMED, target.fact_id, "same_content", version_id=past.version_id)
    return Decision(Outcome.BACKDATED, target.fact_id, "said_before")


def entity_key(entity: str) -> str:
    """Entities are equal when they are the same words, whatever their case, width and spacing."""
    return " ".join(unicodedata.normalize("NFKC", entity).casefold().split())[:200]


def attribute_key(attribute: str) -> str:
    """`Cloud provider`, `cloud-provider` and `cloud_provider` are one attribute."""
    return re.sub(r"[\W_]+", "_", unicodedata.normalize("NFKC", attribute).casefold()).strip("_")[:100]


class _Said(Protocol):
    @property
    def content(self) -> str: ...
    @property
    def value(self) -> Decimal | None: ...
    @property
    def unit(self) -> str: ...


def _equal(known: _Said, stated: Stated) -> bool:
    return (
        _folded(known.content) == _folded(stated.content)
        and (stated.value is None or known.value == stated.value)
        and (not stated.unit or known.unit == stated.unit)
    )


def _folded(content: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", content).casefold().split()).rstrip(".!")
