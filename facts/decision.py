"""What a newly stated fact does to those already known: add, confirm, supersede or stand beside. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID


class Outcome(StrEnum):
    ADDED = "added"
    CONFIRMED = "confirmed"
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class Identity:
    """What makes two statements be about the same thing."""

    type: str
    entity_key: str
    attribute: str


@dataclass(frozen=True)
class Known:
    """A fact with its current version (or its latest, when none is current)."""

    fact_id: UUID
    identity: Identity
    content: str
    value: Decimal | None
    unit: str
    is_current: bool


@dataclass(frozen=True)
class Stated:
    """A fact as it is stated now. `replaces` is a fact's id; `coexists` asks for both to stand."""

    identity: Identity
    content: str
    value: Decimal | None = None
    unit: str = ""
    replaces: UUID | None = None
    coexists: bool = False


@dataclass(frozen=True)
class Decision:
    """`fact_id` is the fact confirmed or superseded; None when a new one is added. `reason` is a code."""

    outcome: Outcome
    fact_id: UUID | None
    reason: str


def decide(known: Sequence[Known], stated: Stated) -> Decision:
    """Decide about one statement, given the known facts of its subject that share its identity or are named by it.

    - The same content, value and unit as a current fact of that identity confirms it.
    - `replaces` supersedes the fact it names.
    - Equal type, entity and attribute with other content supersedes, unless the statement says that both hold, no
      attribute is given (then nothing says that the two are about the same thing), or several already stand side by
      side (then nothing says which of them is meant).
    """
    same = [fact for fact in known if fact.identity == stated.identity]
    for fact in same:
        if fact.is_current and _equal(fact, stated) and stated.replaces in (None, fact.fact_id):
            return Decision(Outcome.CONFIRMED, fact.fact_id, "same_content")
    if stated.replaces is not None:
        return Decision(Outcome.SUPERSEDED, stated.replaces, "replaces")
    if stated.coexists:
        return Decision(Outcome.ADDED, None, "coexists")
    if not same:
        return Decision(Outcome.ADDED, None, "new")
    if not stated.identity.attribute:
        return Decision(Outcome.ADDED, None, "no_attribute")
    standing = [fact for fact in same if fact.is_current] or same
    if len(standing) > 1:
        return Decision(Outcome.ADDED, None, "several_stand")
    return Decision(Outcome.SUPERSEDED, standing[0].fact_id, "same_attribute")


def entity_key(entity: str) -> str:
    """Entities are equal when they are the same words, whatever their case, width and spacing."""
    return " ".join(unicodedata.normalize("NFKC", entity).casefold().split())[:200]


def attribute_key(attribute: str) -> str:
    """`Cloud provider`, `cloud-provider` and `cloud_provider` are one attribute."""
    return re.sub(r"[\W_]+", "_", unicodedata.normalize("NFKC", attribute).casefold()).strip("_")[:100]


def _equal(known: Known, stated: Stated) -> bool:
    return (
        _folded(known.content) == _folded(stated.content)
        and (stated.value is None or known.value == stated.value)
        and (not stated.unit or known.unit == stated.unit)
    )


def _folded(content: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", content).casefold().split()).rstrip(".!")
