"""The sealer: takes what waits in a workspace, gives it positions, closes a checkpoint over it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from audit.ids import first_id
from audit.sealing import anchors
from audit.sealing.keys import Purpose, publish, signer
from audit.sealing.models import Checkpoint, Pending, Prune, Sealed
from audit.shapes import instant
from audit.verify import CHECKPOINT, FIRST, HASH, SUM, Tree, body_of, hash_of, inclusion_path
from memoryhub.core.tenancy import in_workspace

MOST = 5_000
"""Entries of one checkpoint."""
GATHER = timedelta(seconds=1)
"""How long an entry waits for others to be sealed with it."""
IDLE = timedelta(hours=1)
"""After which a checkpoint says that nothing happened."""


class LogForked(Exception):
    """What was sealed does not lead to the last checkpoint: nothing more is sealed on top of it."""


@dataclass(frozen=True)
class Done:
    sealed: int
    closed: bool


def seal(workspace_id: UUID, *, wait: bool = True) -> Done:
    """Seal what waits, as far as one checkpoint holds, in a transaction of its own.

    With `wait` only when something is urgent, has gathered, or fills a checkpoint. Nothing is done while another
    sealer is at it. Raises LogForked.
    """
    with in_workspace(workspace_id):
        if not _mine(workspace_id):
            return Done(0, closed=False)
        last = Checkpoint.objects.filter(workspace_id=workspace_id).order_by("-number").first()
        if wait and not _due(workspace_id, last):
            return Done(0, closed=False)
        taken = _take(workspace_id)
        if not taken and (last is None or timezone.now() - last.at < IDLE):
            return Done(0, closed=False)
        _close(workspace_id, last, taken)
        return Done(len(taken), closed=True)


def seal_all(workspace_id: UUID) -> int:
    """Seal everything that waits now; how many entries. Raises LogForked."""
    total = 0
    while done := seal(workspace_id, wait=False).sealed:
        total += done
    return total


def waiting(*, idle: bool = False) -> list[UUID]:
    """The workspaces in whose queue something is; with `idle` also those whose last checkpoint is an hour old."""
    with connection.cursor() as cursor:
        cursor.execute("select * from audit_unsealed(%s)", [timezone.now() - IDLE if idle else None])
        return [row[0] for row in cursor.fetchall()]


def lag(workspace_id: UUID) -> tuple[int, float]:
    """How many entries wait, and for how many seconds the oldest does. Needs a transaction of the workspace."""
    pending = Pending.objects.filter(workspace_id=workspace_id)
    oldest = pending.order_by("entry_id").values_list("entry_id", flat=True).first()
    return pending.count(), (timezone.now().timestamp() - (oldest.int >> 80) / 1000) if oldest else 0.0


def as_told(one: Checkpoint) -> dict[str, Any]:
    """A checkpoint as it is signed, with its signature."""
    return {
        "form": CHECKPOINT,
        "workspace": str(one.workspace_id),
        "number": one.number,
        "size": one.size,
        "root": bytes(one.root).hex(),
        "previous": bytes(one.previous).hex(),
        "marks": bytes(one.marks).hex(),
        "sum": bytes(one.sum).hex(),
        "at": instant(one.at),
        "key": one.key,
        "signature": bytes(one.signature).hex(),
    }


def _mine(workspace_id: UUID) -> bool:
    number = int.from_bytes(hashlib.sha256(b"memoryhub sealer" + workspace_id.bytes).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_xact_lock(%s)", [number])
        return bool(cursor.fetchone()[0])


def _due(workspace_id: UUID, last: Checkpoint | None) -> bool:
    now = timezone.now()
    waits = Pending.objects.filter(workspace_id=workspace_id)
    oldest = waits.order_by("entry_id").values_list("entry_id", flat=True).first()
    if oldest is None:
        return last is not None and now - last.at >= IDLE
    return oldest < first_id(now - GATHER) or waits.filter(at_once=True).exists() or waits.count() >= MOST


def _take(workspace_id: UUID) -> list[tuple[UUID, bytes, bytes]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "delete from audit_pending where entry_id in (select entry_id from audit_pending where workspace_id = %s "
            "order by entry_id limit %s) returning entry_id, leaf, mark",
            [workspace_id, MOST],
        )
        return sorted((entry, bytes(leaf), bytes(mark)) for entry, leaf, mark in cursor.fetchall())


def _close(workspace_id: UUID, last: Checkpoint | None, taken: list[tuple[UUID, bytes, bytes]]) -> None:
    tree, total, previous, number = Tree(), 0, FIRST, 1
    if last is not None:
        peaks = bytes(last.peaks)
        tree = Tree(last.size, [peaks[at : at + HASH] for at in range(0, len(peaks), HASH)])
        total, previous, number = int.from_bytes(bytes(last.sum), "big"), hash_of(as_told(last)), last.number + 1
        if tree.root() != bytes(last.root) or len(tree.peaks) != last.size.bit_count():
            raise LogForked(f"the tree of checkpoint {last.number} does not lead to its root")
    highest = Sealed.objects.filter(workspace_id=workspace_id).order_by("-position").values_list("position", flat=True)
    if (highest.first() or 0) != max(tree.size - 1, 0):
        raise LogForked(f"after checkpoint {number - 1} the log does not end at {tree.size}")
    _compare_with_anchor(workspace_id, last)
    begin, marks = tree.size, hashlib.sha256()
    for _, leaf, mark in taken:
        tree.append(leaf)
        total = (total + int.from_bytes(leaf, "big")) % SUM
        marks.update(mark)
    Sealed.objects.bulk_create(
        Sealed(entry_id=entry, workspace_id=workspace_id, position=begin + at, leaf=leaf, mark=mark)
        for at, (entry, leaf, mark) in enumerate(taken)
    )
    key = signer(Purpose.CHECKPOINTS)
    publish(key, Purpose.CHECKPOINTS)
    # Whoever checks a receipt finds its key beside the log.
    publish(signer(Purpose.RECEIPTS), Purpose.RECEIPTS)
    one = Checkpoint(
        workspace_id=workspace_id,
        number=number,
        size=tree.size,
        root=tree.root(),
        previous=bytes.fromhex(previous),
        marks=marks.digest(),
        sum=total.to_bytes(32, "big"),
        at=timezone.now(),
        key=key.id,
        peaks=b"".join(tree.peaks),
        signature=b"",
    )
    one.signature = key.sign(body_of(as_told(one)))
    Checkpoint.objects.bulk_create([one])
    told = as_told(one)
    transaction.on_commit(lambda: anchors.append(told))


def _compare_with_anchor(workspace_id: UUID, last: Checkpoint | None) -> None:
    """An anchor may be behind, when the sealer was killed between the commit and the file, and never ahead."""
    kept = anchors.last(workspace_id)
    if kept is None:
        return
    number = last.number if last else 0
    same = last is None or kept["number"] != number or hash_of(as_told(last)) == hash_of(kept)
    if kept["number"] > number or not same:
        raise LogForked(
            f"the database ends at checkpoint {number} and checkpoint {kept['number']} was signed before: if a backup "
            "was put back, manage.py accept_restored_log"
        )


def proof_of(workspace_id: UUID, leaf: bytes) -> Mapping[str, Any] | None:
    """Where an entry with this leaf stands in the log, and what proves it: None when the hub knows of none.

    Reads the leaves of the whole workspace. Needs a transaction of it.
    """
    sealed = Sealed.objects.filter(workspace_id=workspace_id, leaf=leaf).first()
    if sealed is None:
        waits = Pending.objects.filter(workspace_id=workspace_id, leaf=leaf).exists()
        if not waits:
            return None
        return {"state": "pending", "position": None, "path": [], "checkpoint": None, "pruned": False}
    last = Checkpoint.objects.filter(workspace_id=workspace_id).order_by("-number").first()
    if last is None or sealed.position >= last.size:
        raise LogForked("an entry is sealed and no checkpoint covers it")
    found = Sealed.objects.filter(workspace_id=workspace_id, position__lt=last.size).order_by("position")
    leaves = [bytes(one) for one in found.values_list("leaf", flat=True).iterator(chunk_size=10_000)]
    return {
        "state": "sealed",
        "position": sealed.position,
        "path": [step.hex() for step in inclusion_path(leaves, sealed.position)],
        "checkpoint": as_told(last),
        "pruned": Prune.objects.filter(workspace_id=workspace_id, size__gt=sealed.position).exists(),
    }
