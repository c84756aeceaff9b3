"""Surfacing: whatever content leaves the hub becomes a recall with its items and one audit entry, or does not leave.

All of it happens in the caller's workspace transaction. When the audit entry cannot be written the transaction fails
and nothing is returned.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit.actors import Actor
from audit.services import receipt, record
from facts.exceptions import UnknownFact
from facts.models import FactVersion, Recall, RecalledItem, RecallKind
from memoryhub.core.observability.metrics import count_surfacing
from sessions.models import Session, Subject, Turn

CANDIDATES_KEPT = 50


@dataclass(frozen=True)
class Item:
    """One thing about to be surfaced: a fact version or a turn, with its score and the parts of it."""

    version: FactVersion | None = None
    turn: Turn | None = None
    score: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "fact" if self.version else "turn"


@dataclass(frozen=True)
class Receipted:
    """A recall that is in the log."""

    recall_id: UUID
    receipt: str


def surface(
    *,
    workspace_id: UUID,
    subject: Subject | None,
    kind: RecallKind,
    items: Sequence[Item],
    actor: Actor,
    agent_id: UUID | None = None,
    session_id: str = "",
    message: str = "",
    settings: Mapping[str, Any] | None = None,
    degraded: Iterable[str] = (),
    block: str = "",
    keep_block: bool = False,
    candidates: Sequence[Item] = (),
    elapsed_ms: float = 0.0,
    audit_data: Mapping[str, Any] | None = None,
) -> Receipted:
    """Record that `items` are given out. Call it last, in the transaction that read them.

    `session_id` is the caller's id of the running session, which may not have a turn yet. `elapsed_ms` is the time
    the answer took until here.
    """
    now = timezone.now()
    session = (
        Session.objects.filter(workspace_id=workspace_id, external_id=session_id, subject=subject).only("id").first()
        if session_id and subject
        else None
    )
    degraded = list(degraded)
    recall = Recall.objects.create(
        workspace_id=workspace_id,
        subject=subject,
        session=session,
        session_external_id=session_id,
        agent_id=agent_id,
        kind=kind,
        message=message,
        settings=dict(settings or {}),
        degraded=degraded,
        block=block if keep_block else "",
        block_hash=hashlib.sha256(block.encode()).digest() if block else None,
        item_count=len(items),
        candidates=[_candidate(item) for item in candidates[:CANDIDATES_KEPT]],
        elapsed_ms=elapsed_ms,
        at=now,
    )
    RecalledItem.objects.bulk_create(
        RecalledItem(
            workspace_id=workspace_id,
            recall=recall,
            version=item.version,
            turn=item.turn,
            rank=rank,
            score=item.score,
            scores=dict(item.scores),
            status=item.version.status if item.version else "",
        )
        for rank, item in enumerate(items, start=1)
    )
    entry = record(
        actor,
        "memory.previewed" if kind == RecallKind.PREVIEW else "memory.surfaced",
        recall,
        subject=subject,
        session=session,
        outcome="degraded" if degraded else "ok",
        data={
            "recall_id": recall.id,
            "kind": str(kind),
            "items": [_logged(item, rank) for rank, item in enumerate(items, start=1)],
            "considered": len(candidates),
            "degraded": degraded,
            **(audit_data or {}),
        },
        commit={"block": block} if block else None,
    )
    facts = sum(item.kind == "fact" for item in items)
    # What is rolled back was not surfaced.
    transaction.on_commit(partial(count_surfacing, str(kind), facts=facts, turns=len(items) - facts, degraded=degraded))
    return Receipted(recall.id, receipt(entry))


def recall_cite(
    *,
    workspace_id: UUID,
    agent_id: UUID,
    recall_id: UUID,
    actor: Actor,
    fact_ids: Sequence[UUID] = (),
    handles: Sequence[int] = (),
) -> int:
    """Mark items of one's own recall as cited, by fact id or by handle; returns how many were not yet marked.

    Raises UnknownFact when the agent has no such recall. Facts that the recall does not hold are passed over.
    """
    recall = Recall.objects.filter(workspace_id=workspace_id, agent_id=agent_id, pk=recall_id).first()
    if recall is None:
        raise UnknownFact("recall_id", "There is no such recall.")
    cited = list(
        RecalledItem.objects.filter(recall=recall, cited_at__isnull=True)
        .filter(Q(version__fact_id__in=fact_ids) | Q(version__fact__handle__in=handles))
        .select_related("version")
        .order_by("rank")
    )
    if cited:
        RecalledItem.objects.filter(pk__in=[item.pk for item in cited]).update(cited_at=timezone.now())
        record(
            actor,
            "memory.cited",
            recall,
            subject=recall.subject_id,
            session=recall.session_id,
            data={
                "recall_id": recall.id,
                "items": [
                    {"kind": "fact", "id": item.version.id, "fact_id": item.version.fact_id, "rank": item.rank}
                    for item in cited
                    if item.version
                ],
            },
        )
    return len(cited)


def _candidate(item: Item) -> dict[str, Any]:
    thing = item.version or item.turn
    return {
        "kind": item.kind,
        "id": str(thing.id) if thing else "",
        "score": round(item.score or 0.0, 4),
        "scores": {part: round(value, 4) for part, value in item.scores.items()},
    }


def _logged(item: Item, rank: int) -> dict[str, Any]:
    logged: dict[str, Any] = {"kind": item.kind, "rank": rank}
    if item.version:
        logged |= {
            "id": item.version.id,
            "fact_id": item.version.fact_id,
            "version": item.version.number,
            "status": item.version.status,
        }
    elif item.turn:
        logged["id"] = item.turn.id
    if item.score is not None:
        logged["score"] = round(item.score, 4)
    return logged
