"""Checkpoints outside the database: a file to which each is appended, so that a database that lost some is noticed.

One JSON object a line. Copy it to where who runs the hub cannot write, as often as you like: what it holds is digests.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

FILE = "audit_checkpoints.jsonl"

_known: dict[Path, tuple[int, dict[str, dict[str, Any] | None]]] = {}


def path() -> Path:
    return Path(settings.DATA_DIR) / FILE


def append(told: Mapping[str, Any]) -> None:
    """Write a line; it is on the disk when this returns."""
    path().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(told, sort_keys=True, separators=(",", ":")).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def last(workspace_id: UUID) -> dict[str, Any] | None:
    """The workspace's last checkpoint that was written down; None without one, or when its loss was accepted."""
    offset, found = _known.get(path(), (0, {}))
    if not path().exists():
        return None
    if path().stat().st_size < offset:
        offset, found = 0, {}
    with path().open("rb") as file:
        file.seek(offset)
        # A line that a killed process left unfinished waits for its end, or is passed over with the line after it.
        whole, end, _ = file.read().rpartition(b"\n")
    for line in whole.splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        found[told["workspace"]] = None if "accepted" in told else told
    _known[path()] = (offset + len(whole) + len(end), found)
    return found.get(str(workspace_id))


def accept(workspace_id: UUID, number: int) -> None:
    """What was written down before counts no more: an older state of the database was put back on purpose."""
    append({"workspace": str(workspace_id), "accepted": number, "at": timezone.now().isoformat()})
