"""The block that a recall gave, put together again from what was surfaced, and compared with its hash.

Only blocks of `refresh: "session"` are kept as text. Of the others the hash is kept, and everything they were made of:
versions never change, turns neither, and the history of statuses tells what each was then.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from facts.block import BlockTurn, build_block
from facts.models import FactTransition, Recall, RecalledItem, Status
from facts.working_memory import TOOLS, block_fact
from memoryhub.access.models import MemoryMode

ENOUGH_TOKENS = 10_000_000
"""Everything in it fitted then."""


@dataclass(frozen=True)
class Rebuilt:
    """`exact`: the text has the hash that was recorded when it was given."""

    text: str
    exact: bool
    kept: bool = False
    """It was kept as text, so that nothing had to be put together."""


def rebuilt(recall: Recall, items: Sequence[RecalledItem]) -> Rebuilt:
    """The block of `recall`, whose `items` come in rank order with their versions, facts, turns and sessions.

    Not exact where something of it was erased since, or was rendered by another release. One query.
    """
    wanted = bytes(recall.block_hash or b"")
    if recall.block:
        return Rebuilt(recall.block, _hash(recall.block) == wanted, kept=True)
    text = ""
    for text in _attempts(recall, items):
        if _hash(text) == wanted:
            return Rebuilt(text, exact=True)
    return Rebuilt(text, exact=False)


def _attempts(recall: Recall, items: Sequence[RecalledItem]) -> Iterator[str]:
    """The block with each date that its title may have borne: the session's last turn may have been recorded later."""
    mode = recall.settings.get("mode", MemoryMode.FULL)
    tools = TOOLS.get(MemoryMode(mode), ()) if mode in MemoryMode.values else ()
    since = _status_since(recall, items)
    facts = []
    for item in items:
        if item.version is None:
            continue
        version, status = item.version, item.status or item.version.status
        fact = block_fact(version)
        until = None if status == Status.CURRENT else max(since.get(version.id, version.status_at), version.valid_from)
        facts.append(replace(fact, status=status, until=until, pinned=False))
    turns = [item.turn for item in items if item.turn]
    said = [BlockTurn(key=turn.id, role=turn.role, name=turn.name, text=turn.text) for turn in turns]
    dates: list[datetime | None] = [None]
    if turns:
        dates = [turns[-1].session.last_turn_at, turns[-1].occurred_at, *(turn.occurred_at for turn in turns)]
    for turns_at in dict.fromkeys(dates):
        block = build_block(facts=facts, turns=said, turns_at=turns_at, token_budget=ENOUGH_TOKENS, tools=tools)
        yield block.text


def _status_since(recall: Recall, items: Sequence[RecalledItem]) -> dict[UUID, datetime]:
    """Since when each version had the status that it had then, where it has another by now."""
    wanted = [item.version.id for item in items if item.version and item.status not in ("", item.version.status)]
    found: dict[UUID, datetime] = {}
    rows = FactTransition.objects.filter(version__in=wanted, at__lte=recall.at) if wanted else ()
    for one in sorted(rows, key=lambda row: (row.at, row.id)):
        found[one.version_id] = one.at
    return found


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
