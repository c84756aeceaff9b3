"""The log of a workspace in the database, as the verifier reads it."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from django.db import connection

from audit.integrity import canonical_form
from audit.models import Entry
from audit.sealing.models import Checkpoint, Sealed, SigningKey
from audit.sealing.pruning import prunes
from audit.sealing.services import as_told
from audit.verify import HASH, MARK_BYTES, Tree

PAGE = 5_000


class DatabaseLog:
    """Needs a transaction of the workspace from its making to its end. What is sealed meanwhile is left for next time.

    Besides what a bundle shows, it notices entries that nobody sealed and that wait in no queue, and columns that say
    something else than what was sealed.
    """

    subset = False
    subject = ""

    def __init__(self, workspace_id: UUID) -> None:
        self.workspace_id = workspace_id
        self.workspace = str(workspace_id)
        self.keys = public_keys()
        self.wrong: list[tuple[str, str]] = []
        with connection.cursor() as cursor:
            # Of one moment: an entry, its place and its checkpoint are there together.
            cursor.execute(
                "select (select max(number) from audit_checkpoint where workspace_id = %(w)s), "
                "(select count(*) from audit_sealed where workspace_id = %(w)s), "
                "(select max(position) from audit_sealed where workspace_id = %(w)s), "
                "(select count(*) from audit_entry e where workspace_id = %(w)s "
                "and not exists (select from audit_sealed s where s.entry_id = e.id) "
                "and not exists (select from audit_pending p where p.entry_id = e.id)), "
                "(select count(*) from audit_pending p where workspace_id = %(w)s and not exists "
                "(select from audit_entry e where e.id = p.entry_id and e.leaf = p.leaf))",
                {"w": workspace_id},
            )
            last, self.size, highest, lost, queued_wrongly = cursor.fetchone()
        self._last = last or 0
        self._highest = -1 if highest is None else highest
        if lost:
            self.wrong.append(("MISSING", f"{lost} entries are in no queue and were never sealed"))
        if queued_wrongly:
            self.wrong.append(("ALTERED", f"{queued_wrongly} entries that wait are gone, or not what they were"))

    def checkpoints(self) -> Iterator[Mapping[str, Any]]:
        rows = Checkpoint.objects.filter(workspace_id=self.workspace_id, number__lte=self._last).order_by("number")
        for one in rows.iterator(chunk_size=PAGE):
            peaks = bytes(one.peaks)
            tree = Tree(one.size, [peaks[at : at + HASH] for at in range(0, len(peaks), HASH)])
            if tree.root() != bytes(one.root) or one.size < 0 or len(tree.peaks) != one.size.bit_count():
                self.wrong.append(("ALTERED", f"the subtrees of checkpoint {one.number} do not lead to its root"))
            yield as_told(one)

    def prunes(self) -> Iterator[Mapping[str, Any]]:
        yield from prunes(self.workspace_id)

    def leaves(self) -> Iterator[bytes]:
        for _, page in self._pages():
            # A row of another length must not move those after it.
            yield b"".join(
                bytes(one.leaf)[:HASH].ljust(HASH, b"\0") + bytes(one.mark)[:MARK_BYTES].ljust(MARK_BYTES, b"\0")
                for one in page
            )

    def entries(self) -> Iterator[tuple[int, bytes]]:
        for begin, page in self._pages():
            entries = Entry.objects.filter(workspace_id=self.workspace_id).in_bulk([one.entry_id for one in page])
            for position, one in enumerate(page, start=begin):
                entry = entries.get(one.entry_id)
                if entry is None:
                    continue
                if bytes(entry.leaf) != bytes(one.leaf):
                    self.wrong.append(("ALTERED", f"the leaf in the row of entry {position}"))
                yield position, _form_of(entry)

    def _pages(self) -> Iterator[tuple[int, list[Sealed]]]:
        """The rows by their positions, with the position that the first of each page has to have."""
        begin, count = -(2**62), 0
        sealed = Sealed.objects.filter(workspace_id=self.workspace_id, position__lte=self._highest)
        while page := list(sealed.filter(position__gt=begin).order_by("position")[:PAGE]):
            yield count, page
            count += len(page)
            begin = page[-1].position


def public_keys() -> dict[str, bytes]:
    return {one.id: bytes(one.public) for one in SigningKey.objects.all()}


def _form_of(entry: Entry) -> bytes:
    try:
        return canonical_form(entry)
    except ValueError:
        return b""
