"""Facts by the short names that models are given: F12, counted per person."""

import re
from uuid import UUID

from facts.exceptions import UnknownFact
from facts.models import Fact
from facts.reading import visible_facts
from facts.visibility import Sight

# As it stands in a block, in brackets as it is cited, or as some models write it.
HANDLE = re.compile(r"\s*\[?\s*[Ff]([1-9]\d{0,8})\s*\]?\s*\Z", re.ASCII)


def handle_number(text: str) -> int | None:
    """The number in a handle; None for what is none."""
    found = HANDLE.match(text)
    return int(found[1]) if found else None


def fact_named(*, workspace_id: UUID, sight: Sight, subject_id: UUID, handle: str) -> Fact:
    """The person's fact that `handle` names, for who sees it. Raises UnknownFact, which says how facts are named."""
    number = handle_number(handle)
    if number is None:
        raise UnknownFact("fact", "There is no such fact: name it by its handle alone, such as F12.")
    facts = visible_facts(workspace_id=workspace_id, sight=sight).filter(subject_id=subject_id, handle=number)
    fact = facts.first()
    if fact is None:
        raise UnknownFact("fact", f"There is no fact F{number}: look for it with search_memory or list_facts.")
    return fact
