"""The ledger of erasures: a file outside the database, so that a backup which is put back cannot undo them.

One JSON object a line, appended and synced to the disk before anything is destroyed. It holds pseudonymous ids and
keyed digests alone: who has the file and not the key learns from no line of it who was erased.
"""

import fcntl
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from audit.erasure.key import key_id
from audit.registry import Stone

FILE = "erasure_ledger.jsonl"
VERSION = 1
SUMMED = re.compile(rb"\t[0-9a-f]{8}\Z")
"""How a line ends that was written whole: with a checksum."""


class LedgerUnreadable(Exception):
    """The ledger cannot be read: what it says was erased is not known."""


@dataclass(frozen=True)
class Line:
    """One erasure, as it was when it began: enough to do it again."""

    erasure_id: UUID
    workspace_id: UUID
    subject_id: UUID
    kind: str
    at: datetime
    reason: str
    target: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    statement: str = ""
    stones: tuple[Stone, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "v": VERSION,
            "erasure": str(self.erasure_id),
            "workspace": str(self.workspace_id),
            "subject": str(self.subject_id),
            "kind": self.kind,
            "at": self.at.isoformat(),
            "reason": self.reason,
            "target": str(self.target) if self.target else None,
            "since": _told(self.since),
            "until": _told(self.until),
            "statement": self.statement,
            "key": key_id(),
            "stones": [[stone.digest.hex(), _told(stone.since), _told(stone.until)] for stone in self.stones],
        }


def path() -> Path:
    return Path(settings.DATA_DIR) / FILE


def append(line: Line) -> None:
    """Write a line, unless the erasure stands there already; it is on the disk when this returns."""
    path().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(path(), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        written = json.dumps(line.as_json()).encode()
        if any(f'"erasure": "{line.erasure_id}"'.encode() in one and _whole(one) for one in text.splitlines()):
            return
        begin = b"\n" if text and not text.endswith(b"\n") else b""
        file.write(begin + written + b"\t%08x\n" % zlib.crc32(written))
        file.flush()
        os.fsync(file.fileno())
    directory = os.open(path().parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def lines(source: Path | None = None) -> Iterator[Line]:
    """Every erasure of the ledger, oldest first. Raises LedgerUnreadable for a line that is whole and cannot be read.

    A line that a killed process left unfinished is passed over: nothing is destroyed before its line is complete.
    """
    source = source or path()
    if not source.exists():
        return
    for number, text in enumerate(source.read_bytes().splitlines(), start=1):
        if not SUMMED.search(text):
            continue
        if not _whole(text):
            raise LedgerUnreadable(f"line {number} of {source} is damaged")
        told = json.loads(text.rpartition(b"\t")[0])
        if told.get("v") != VERSION:
            raise LedgerUnreadable(f"line {number} of {source} was written by another version of the hub")
        yield _line(told)


def last_key() -> str:
    """Which key the last whole line was written with; '' when there is none."""
    if not path().exists():
        return ""
    whole = [text for text in path().read_bytes().splitlines() if SUMMED.search(text) and _whole(text)]
    return str(json.loads(whole[-1].rpartition(b"\t")[0])["key"]) if whole else ""


def take_over(source: Path) -> int:
    """Add another ledger's erasures to this one; returns how many were not in it. Raises LedgerUnreadable."""
    own = {line.erasure_id for line in lines()}
    new = [line for line in lines(source) if line.erasure_id not in own]
    for line in new:
        append(line)
    return len(new)


def _whole(text: bytes) -> bool:
    body, _, checksum = text.rpartition(b"\t")
    return checksum == b"%08x" % zlib.crc32(body)


def _line(told: dict[str, Any]) -> Line:
    return Line(
        erasure_id=UUID(told["erasure"]),
        workspace_id=UUID(told["workspace"]),
        subject_id=UUID(told["subject"]),
        kind=told["kind"],
        at=datetime.fromisoformat(told["at"]),
        reason=told["reason"],
        target=UUID(told["target"]) if told["target"] else None,
        since=_read(told["since"]),
        until=_read(told["until"]),
        statement=told["statement"],
        stones=tuple(
            Stone(bytes.fromhex(digest), _read(since), _read(until)) for digest, since, until in told["stones"]
        ),
    )


def _told(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _read(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
