"""Checkpoints handed to places that the operator names: a folder, and a command that reads them.

Each place is given the checkpoints of a workspace in order, as lines of JSON, those that came since together. What it
did not take is offered again. Nothing of it touches sealing: a place that fails is behind, and that can be seen.
"""

import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db.models import F
from django.utils import timezone

from audit.sealing.models import Checkpoint, Handover
from audit.sealing.services import as_told
from audit.verify import hash_of
from memoryhub.core.tenancy import in_workspace

log = structlog.get_logger(__name__)

MOST = 1_000
"""Checkpoints that are handed over at once."""
LONGEST_PAUSE = timedelta(hours=1)
KEPT_OF_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE")
"""A command is told nothing else: the hub's environment holds its secrets."""


class Place(StrEnum):
    FOLDER = "folder"
    COMMAND = "command"


class NotTaken(Exception):
    """A place did not take what it was offered. `code` says why, in a word."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code[:64]


def places() -> list[Place]:
    """Those that are configured."""
    given = {Place.FOLDER: settings.AUDIT_ANCHOR_DIR, Place.COMMAND: settings.AUDIT_ANCHOR_COMMAND}
    return [place for place, where in given.items() if where]


def hand_over(workspace_id: UUID) -> int:
    """Offer each place what it lacks, where it is time to; how many checkpoints were taken.

    No transaction is open while a place works.
    """
    return sum(_offer(workspace_id, place) for place in places())


def handovers(workspace_id: UUID) -> list[tuple[Place, Handover, int]]:
    """For each place how far it is, and how many checkpoints it is behind. Needs a transaction of the workspace."""
    newest = Checkpoint.objects.filter(workspace_id=workspace_id).order_by("-number").values_list("number", flat=True)
    number = newest.first() or 0
    known = {one.place: one for one in Handover.objects.filter(workspace_id=workspace_id)}
    found = [(place, known.get(place) or Handover(workspace_id=workspace_id, place=place)) for place in places()]
    return [(place, one, max(number - one.number, 0)) for place, one in found]


def _offer(workspace_id: UUID, place: Place) -> int:
    now = timezone.now()
    with in_workspace(workspace_id):
        state, _ = Handover.objects.get_or_create(workspace_id=workspace_id, place=place.value)
        if not _due(state):
            return 0
        rows = Checkpoint.objects.filter(workspace_id=workspace_id, number__gt=state.number).order_by("number")
        waiting = [as_told(one) for one in rows[:MOST]]
    if not waiting:
        return 0
    try:
        TAKES[place](waiting)
    except NotTaken as error:
        log.error(
            "audit.anchor_failed",
            part=place.value,
            workspace=str(workspace_id),
            reason=error.code,
            pending=len(waiting),
        )
        with in_workspace(workspace_id):
            Handover.objects.filter(pk=state.pk).update(failures=F("failures") + 1, failed_at=now, error=error.code)
        return 0
    with in_workspace(workspace_id):
        Handover.objects.filter(pk=state.pk).update(number=waiting[-1]["number"], at=now, failures=0, error="")
    return len(waiting)


def _due(state: Handover) -> bool:
    """After a success the configured pause, after failures twice as long each time, up to an hour."""
    pause = timedelta(seconds=settings.AUDIT_ANCHOR_SECONDS)
    if state.failures:
        pause = min(pause * 2 ** min(state.failures, 12), max(LONGEST_PAUSE, pause))
    since = state.failed_at if state.failures else state.at
    return since is None or timezone.now() - since >= pause


def note(waiting: list[dict[str, Any]]) -> bytes:
    """Signed checkpoints, one a line, as in a bundle and in the file beside the database."""
    return b"".join(json.dumps(one, sort_keys=True, separators=(",", ":")).encode() + b"\n" for one in waiting)


def _into_folder(waiting: list[dict[str, Any]]) -> None:
    """A new file for each handover, whole or not at all; the same checkpoints again give the same name."""
    last, text = waiting[-1], note(waiting)
    folder = Path(settings.AUDIT_ANCHOR_DIR)
    path = folder / f"{last['workspace']}-{last['number']:010d}-{hash_of(last)[:16]}.jsonl"
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640), "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise NotTaken(type(error).__name__) from error


def _to_command(waiting: list[dict[str, Any]]) -> None:
    last, text = waiting[-1], note(waiting)
    told = {
        "MEMORYHUB_WORKSPACE": last["workspace"],
        "MEMORYHUB_NUMBER": str(last["number"]),
        "MEMORYHUB_SIZE": str(last["size"]),
        "MEMORYHUB_ROOT": last["root"],
        "MEMORYHUB_SHA256": hashlib.sha256(text).hexdigest(),
    }
    kept = {name: os.environ[name] for name in KEPT_OF_ENVIRONMENT if name in os.environ}
    try:
        # What it prints may be anything and is not kept.
        done = subprocess.run(  # noqa: S603 - the operator's own
            shlex.split(settings.AUDIT_ANCHOR_COMMAND),
            input=text,
            env=kept | told,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=settings.AUDIT_ANCHOR_TIMEOUT,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotTaken("timeout") from error
    except (OSError, ValueError) as error:
        raise NotTaken(type(error).__name__) from error
    if done.returncode:
        raise NotTaken(f"exit_{done.returncode}")


TAKES: Mapping[Place, Callable[[list[dict[str, Any]]], None]] = {
    Place.FOLDER: _into_folder,
    Place.COMMAND: _to_command,
}
