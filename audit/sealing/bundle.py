"""A log, or a part of it, as a ZIP file that an auditor checks on a machine of their own."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC
from io import RawIOBase
from pathlib import Path
from typing import Any
from uuid import UUID

from django.utils import timezone

from audit import verify
from audit.actors import Actor
from audit.integrity import canonical_form
from audit.models import Entry
from audit.sealing.log import public_keys
from audit.sealing.models import Checkpoint, Sealed
from audit.sealing.pruning import prunes
from audit.sealing.services import as_told
from audit.selectors import EntryFilters, entries
from audit.services import record
from audit.shapes import instant
from memoryhub.core.tenancy import in_workspace

MEDIA_TYPE = "application/zip"
PAGE = 5_000

README = """\
An audit log of a MemoryHub
===========================

    python verify.py THIS_FILE.zip

checks it, with Python 3.11 or later and nothing else. A program that comes with what it checks proves little: take
verify.py from the release of MemoryHub, or write your own after docs/audit.md of it.

Compare the key ids it prints with those that you were told by another way, or demand them: --trust KEY_ID. Keep the
last line of checkpoints.jsonl: with --expect FILE a later bundle shows that nothing of before was taken away.

manifest.json      what this is: the workspace, all of the log or a part of it, of how many entries
entries.jsonl      position, tab, canonical JSON of an entry: what its leaf hash is made of
leaves.bin         48 bytes for each entry of the whole log: leaf hash (32) and mark (16)
checkpoints.jsonl  signed statements of what the log held
prunes.jsonl       signed statements of which entries were removed after the time the log keeps them
keys.json          public Ed25519 keys by their ids
verify.py          the verifier

Where it is a part of the log, the leaves of all other entries come along without the entries. Of a bundle of one
subject the marks show that no entry about the subject was left out.
"""


def bundle_begin(*, workspace_id: UUID, filters: EntryFilters, actor: Actor) -> Entry:
    """Record that a bundle is given out: committed before the first byte leaves."""
    with in_workspace(workspace_id):
        return record(
            actor,
            "audit.export_began",
            workspace_id=workspace_id,
            subject=filters.one_subject,
            data={"filters": filters.used, "form": "bundle"},
        )


def file_name(workspace: str, began: Entry) -> str:
    return f"audit-{workspace}-{began.at.astimezone(UTC):%Y%m%dT%H%M%SZ}.zip"


def bundle_chunks(*, workspace_id: UUID, filters: EntryFilters) -> Iterator[bytes]:
    """The bundle up to the last checkpoint, piece by piece. Nothing of it is held in memory or on disk.

    Each page is read in a transaction of its own: what was sealed never changes.
    """
    out = _Out()
    part = bool(filters.used)
    alone = filters.used == ["subject_id"] and filters.subject_id is not None
    with in_workspace(workspace_id):
        last = Checkpoint.objects.filter(workspace_id=workspace_id).order_by("-number").first()
        keys = public_keys()
    number, size = (last.number, last.size) if last else (0, 0)
    manifest = {
        "form": verify.BUNDLE,
        "workspace": str(workspace_id),
        "scope": "part" if part else "all",
        "subject": str(filters.subject_id) if alone else "",
        "filters": filters.used,
        "size": size,
        "made_at": instant(timezone.now()),
    }
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("README.txt", README)
        archive.writestr("manifest.json", json.dumps(manifest, indent=1))
        archive.writestr("keys.json", json.dumps({name: key.hex() for name, key in keys.items()}, indent=1))
        archive.writestr("verify.py", Path(verify.__file__).read_bytes())
        for name, pieces in (
            ("checkpoints.jsonl", _checkpoints(workspace_id, number)),
            ("prunes.jsonl", _prunes(workspace_id)),
            ("leaves.bin", _leaves(workspace_id, size)),
            ("entries.jsonl", _entries(workspace_id, size, filters)),
        ):
            with archive.open(name, "w", force_zip64=True) as file:
                for piece in pieces:
                    file.write(piece)
                    yield out.taken()
    yield out.taken()


def _checkpoints(workspace_id: UUID, last: int) -> Iterator[bytes]:
    done = 0
    while done < last:
        with in_workspace(workspace_id):
            rows = Checkpoint.objects.filter(workspace_id=workspace_id, number__gt=done, number__lte=last)
            page = [as_told(one) for one in rows.order_by("number")[:PAGE]]
        if not page:
            return
        yield b"".join(map(_line, page))
        done = page[-1]["number"]


def _prunes(workspace_id: UUID) -> Iterator[bytes]:
    with in_workspace(workspace_id):
        yield b"".join(_line(one) for one in prunes(workspace_id))


def _line(statement: Mapping[str, Any]) -> bytes:
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _sealed(workspace_id: UUID, begin: int, size: int) -> list[Sealed]:
    rows = Sealed.objects.filter(workspace_id=workspace_id, position__gte=begin, position__lt=size)
    return list(rows.order_by("position")[:PAGE])


def _leaves(workspace_id: UUID, size: int) -> Iterator[bytes]:
    begin = 0
    while begin < size:
        with in_workspace(workspace_id):
            page = _sealed(workspace_id, begin, size)
        if not page:
            return
        yield b"".join(bytes(one.leaf) + bytes(one.mark) for one in page)
        begin = page[-1].position + 1


def _entries(workspace_id: UUID, size: int, filters: EntryFilters) -> Iterator[bytes]:
    begin = 0
    while begin < size:
        with in_workspace(workspace_id):
            page = _sealed(workspace_id, begin, size)
            found = entries(workspace_id, filters).filter(id__in=[one.entry_id for one in page])
            by_id = {entry.id: canonical_form(entry) for entry in found}
        if not page:
            return
        yield b"".join(b"%d\t%b\n" % (one.position, by_id[one.entry_id]) for one in page if one.entry_id in by_id)
        begin = page[-1].position + 1


class _Out(RawIOBase):
    """What was written and not taken yet: a file that cannot be sought in."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
