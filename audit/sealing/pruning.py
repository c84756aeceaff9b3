"""Ending what a log keeps no longer: whole checkpoints of entries from the first on, by the owner of the tables.

What goes is the entries and the salts of what they committed to. Their places and leaf hashes stay, so that the tree,
the checkpoints and every receipt can be checked as before, and a signed record says that the entries were pruned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.utils import timezone

from audit.actors import Actor
from audit.errors import AuditError
from audit.models import Entry
from audit.requests.models import Hold
from audit.sealing.keys import Purpose, publish, signer
from audit.sealing.models import Checkpoint, Prune, Sealed
from audit.sealing.services import as_told
from audit.services import record
from audit.shapes import instant
from audit.verify import PRUNE, PRUNE_FIELDS, body_of, hash_of
from memoryhub.core.ids import uuid7
from memoryhub.core.tenancy import in_workspace

OWNER = "owner"
BATCH = 50_000
"""Entries that one transaction removes. Whoever writes to the log waits for the end of it."""


REMOVED = (
    "delete from audit_commitment where entry_id in "
    "(select entry_id from audit_sealed where workspace_id = %s and position < %s)",
    "delete from audit_entry where id in (select entry_id from audit_sealed where workspace_id = %s and position < %s)",
)


class NotTheOwner(AuditError):
    """The database role that was given may not remove entries: it does not own the table."""


@dataclass(frozen=True)
class Plan:
    """What would go: `entries` up to and with checkpoint `number`, whose last was written before `before`.

    `held`: how many more would go if no legal hold kept an entry about somebody.
    """

    number: int
    size: int
    entries: int
    held: int
    oldest: datetime | None
    newest: datetime | None


def pruned_size(workspace_id: UUID) -> int:
    """How many entries, from the first on, were pruned. Needs a transaction of the workspace."""
    found = Prune.objects.filter(workspace_id=workspace_id).order_by("-size").values_list("size", flat=True).first()
    return found or 0


def prune_plan(*, workspace_id: UUID, before: datetime) -> Plan:
    """Up to which checkpoint entries of before that moment can go. In the workspace's transaction; changes nothing."""
    done = pruned_size(workspace_id)
    checkpoints = Checkpoint.objects.filter(workspace_id=workspace_id)
    wanted = checkpoints.filter(at__lt=before).order_by("-number").first()
    held_at = _first_held(workspace_id)
    last = wanted
    if wanted is not None and held_at is not None and held_at < wanted.size:
        last = checkpoints.filter(number__lte=wanted.number, size__lte=held_at).order_by("-number").first()
    size = last.size if last else 0
    ends = [_written_at(workspace_id, position) for position in (done, size - 1)] if size > done else [None, None]
    return Plan(
        number=last.number if last else 0,
        size=max(size, done),
        entries=max(size - done, 0),
        held=max((wanted.size if wanted else 0) - max(size, done), 0),
        oldest=ends[0],
        newest=ends[1],
    )


def prune(*, workspace_id: UUID, before: datetime, actor: Actor, batch: int = BATCH) -> int:
    """Remove what `prune_plan` names, about `batch` entries in each transaction; returns how many went.

    A run that was killed is carried on by the next one: a record and what it removes are committed together, and a
    record without its entry in the log gets it. Raises NotTheOwner.
    """
    removed = 0
    _tell(workspace_id, actor)
    while gone := _step(workspace_id, before, batch):
        removed += gone
        _tell(workspace_id, actor)
    return removed


def as_pruned(one: Prune) -> dict[str, Any]:
    """A prune record as it is signed, with its signature."""
    return {
        "form": PRUNE,
        "workspace": str(one.workspace_id),
        "number": one.number,
        "size": one.size,
        "checkpoint": bytes(one.checkpoint).hex(),
        "entries": one.entries,
        "at": instant(one.at),
        "key": one.key,
        "signature": bytes(one.signature).hex(),
    }


def prunes(workspace_id: UUID) -> list[Mapping[str, Any]]:
    """All records of a log, the first first. Needs a transaction of the workspace."""
    return [as_pruned(one) for one in Prune.objects.filter(workspace_id=workspace_id).order_by("size")]


def _step(workspace_id: UUID, before: datetime, batch: int) -> int:
    """One transaction of the owner: the entries of some checkpoints go, and the record says so."""
    key = signer(Purpose.CHECKPOINTS)
    with in_workspace(workspace_id):
        publish(key, Purpose.CHECKPOINTS)
    owner = connections[OWNER]
    with transaction.atomic(using=OWNER), owner.cursor() as cursor:
        cursor.execute(
            "select pg_has_role(current_user, relowner, 'usage') from pg_class where oid = 'audit_entry'::regclass"
        )
        if not cursor.fetchone()[0]:
            raise NotTheOwner("the database role that was given does not own the log: set DATABASE_OWNER_URL")
        cursor.execute("select set_config('mh.workspace', %s, true)", [str(workspace_id)])
        # Nobody writes an entry, and so nobody places a hold, from here to the end.
        cursor.execute("alter table audit_entry disable trigger audit_entry_append_only")
        done = _one(cursor, "select coalesce(max(size), 0) from audit_prune where workspace_id = %s", workspace_id)
        cursor.execute(
            "select min(s.position) from audit_hold h join audit_entry e on e.workspace_id = h.workspace_id "
            "and e.subject_id = h.subject_id join audit_sealed s on s.entry_id = e.id "
            "where h.workspace_id = %s and h.released_at is null",
            [workspace_id],
        )
        held_at = cursor.fetchone()[0]
        cursor.execute(
            "select number from audit_checkpoint where workspace_id = %(w)s and at < %(before)s and size > %(done)s "
            "and (%(held)s::bigint is null or size <= %(held)s) "
            "order by (size - %(done)s > %(batch)s), case when size - %(done)s > %(batch)s then size else -size end, "
            "number desc limit 1",
            {"w": workspace_id, "before": before, "done": done, "held": held_at, "batch": batch},
        )
        found = cursor.fetchone()
        removed = 0
        if found is not None:
            [one] = Checkpoint.objects.using(OWNER).filter(workspace_id=workspace_id, number=found[0])
            made = Prune(
                id=uuid7(),
                workspace_id=workspace_id,
                number=one.number,
                size=one.size,
                checkpoint=bytes.fromhex(hash_of(as_told(one))),
                entries=one.size - done,
                at=timezone.now(),
                key=key.id,
                signature=b"",
            )
            made.signature = key.sign(body_of(as_pruned(made), PRUNE_FIELDS))
            Prune.objects.using(OWNER).bulk_create([made])
            for statement in REMOVED:
                cursor.execute(statement, [workspace_id, one.size])
            removed = made.entries
        cursor.execute("alter table audit_entry enable always trigger audit_entry_append_only")
    return removed


def _tell(workspace_id: UUID, actor: Actor) -> None:
    """Write the entry of the last record if it has none: the role that writes entries cannot write it together.

    Those before have theirs, or had it: it may have been pruned itself.
    """
    with in_workspace(workspace_id):
        last = Prune.objects.filter(workspace_id=workspace_id).order_by("-size").first()
        entries = Entry.objects.filter(workspace_id=workspace_id, action="audit.pruned")
        if last is not None and not entries.filter(object_id=str(last.id)).exists():
            data = {"number": last.number, "size": last.size, "removed": last.entries}
            record(actor, "audit.pruned", last, workspace_id=workspace_id, data=data)


def _first_held(workspace_id: UUID) -> int | None:
    """The place of the first entry that is about somebody whose memory a legal hold keeps."""
    held = Hold.objects.filter(workspace_id=workspace_id, released_at__isnull=True).values("subject_id")
    about = Entry.objects.filter(workspace_id=workspace_id, subject_id__in=held).values("id")
    places = Sealed.objects.filter(workspace_id=workspace_id, entry_id__in=about).order_by("position")
    return places.values_list("position", flat=True).first()


def _written_at(workspace_id: UUID, position: int) -> datetime | None:
    place = Sealed.objects.filter(workspace_id=workspace_id, position=position).values("entry_id")
    return Entry.objects.filter(workspace_id=workspace_id, pk__in=place).values_list("at", flat=True).first()


def _one(cursor: Any, query: str, *values: Any) -> int:
    cursor.execute(query, values)
    return int(cursor.fetchone()[0])
