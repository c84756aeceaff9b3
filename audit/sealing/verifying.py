"""Checking a whole log: asked for, carried out in the queue, and its verdict kept where it cannot be rewritten."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.utils import timezone

from audit.actors import Actor, ActorKind
from audit.sealing import anchors
from audit.sealing.log import DatabaseLog
from audit.sealing.models import Verdict, Verification
from audit.services import record
from audit.verify import Report, check
from memoryhub.core.tenancy import in_workspace

log = structlog.get_logger(__name__)

ATTEMPTS = 3
"""A run that takes its process down this often is given up."""
GIVEN_UP = timedelta(hours=6)
"""After which a run that has not ended stands in nobody's way."""


def verification_ask(*, workspace_id: UUID, actor: Actor) -> tuple[Verification, bool]:
    """The run that is to check the log, and whether it is a new one. In the caller's workspace transaction.

    While one has not ended there is no second.
    """
    open_ones = Verification.objects.filter(
        workspace_id=workspace_id, ended_at=None, asked_at__gt=timezone.now() - GIVEN_UP
    )
    if running := open_ones.order_by("-id").first():
        return running, False
    run = Verification.objects.create(workspace_id=workspace_id, actor_kind=actor.kind.value, actor_id=actor.id)
    record(actor, "audit.verify_began", workspace_id=workspace_id, data={"run": run.id})
    return run, True


def verification_run(run_id: UUID, *, workspace_id: UUID) -> Verdict | None:
    """Check the log in a transaction of its own and keep the verdict. None: it ended before, or somebody is at it.

    The verdict, its entry in the log and the end of the run are committed together.
    """
    began = time.monotonic()
    with in_workspace(workspace_id), _aside(run_id, workspace_id) as aside:
        run = Verification.objects.filter(pk=run_id, workspace_id=workspace_id, ended_at=None).first()
        if run is None or not _alone(run_id):
            return None
        if run.attempts >= ATTEMPTS:
            log.error("audit.verification_given_up", workspace=str(workspace_id), attempts=run.attempts)
            Verification.objects.filter(pk=run_id).update(ended_at=timezone.now())
            return None
        found = DatabaseLog(workspace_id)
        aside.begin(found.size)
        report = check(found, expect=expected(workspace_id), progress=aside.tell)
        verdict = _keep(run, report, elapsed_ms=round(1000 * (time.monotonic() - began)))
        Verification.objects.filter(pk=run_id).update(ended_at=verdict.at, done=report.entries)
    if not verdict.ok:
        log.error(
            "audit.verification_failed",
            workspace=str(workspace_id),
            reason=verdict.verdict,
            count=verdict.found,
        )
    return verdict


def expected(workspace_id: UUID) -> Sequence[Mapping[str, Any]]:
    """The checkpoint in the file of anchors, which the log has to hold."""
    kept = anchors.last(workspace_id)
    return [kept] if kept else []


def last_verdict(workspace_id: UUID) -> Verdict | None:
    """Needs a transaction of the workspace."""
    return Verdict.objects.filter(workspace_id=workspace_id).order_by("-id").first()


def _keep(run: Verification, report: Report, *, elapsed_ms: int) -> Verdict:
    verdict = Verdict(
        id=run.id,
        workspace_id=run.workspace_id,
        at=timezone.now(),
        actor_kind=run.actor_kind,
        actor_id=run.actor_id,
        verdict=report.verdict,
        entries=report.entries,
        size=report.size,
        checkpoints=report.checkpoints,
        root=report.root,
        found=report.found,
        findings=[[one.verdict, one.where] for one in report.findings],
        elapsed_ms=elapsed_ms,
    )
    # Inserted, whatever is there: a second verdict of one run is an error.
    Verdict.objects.bulk_create([verdict])
    told = {
        "run": run.id,
        "verdict": report.verdict,
        "size": report.size,
        "checkpoints": report.checkpoints,
        "found": report.found,
    }
    record(
        Actor(ActorKind(run.actor_kind), run.actor_id),
        "audit.verified",
        workspace_id=run.workspace_id,
        outcome="ok" if verdict.ok else "failed",
        data=told,
    )
    return verdict


def _alone(run_id: UUID) -> bool:
    # The broker gives a task out again whose worker takes long.
    number = int.from_bytes(run_id.bytes[-8:], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_xact_lock(%s)", [number])
        return bool(cursor.fetchone()[0])


class _Aside:
    """Tells how far a run is while its own transaction, which nobody can look into, is open."""

    def __init__(self, other: Any, run_id: UUID, workspace_id: UUID) -> None:
        self._other = other
        self._run_id = run_id
        self._workspace_id = workspace_id

    def begin(self, total: int) -> None:
        self._write("began_at = now(), attempts = attempts + 1, total = %s, done = 0", total)

    def tell(self, done: int) -> None:
        self._write("done = %s", done)

    def _write(self, what: str, value: int) -> None:
        with self._other.cursor() as cursor:
            cursor.execute("select set_config('mh.workspace', %s, false)", [str(self._workspace_id)])
            cursor.execute(f"update audit_verification set {what} where id = %s", [value, self._run_id])  # noqa: S608


@contextmanager
def _aside(run_id: UUID, workspace_id: UUID) -> Iterator[_Aside]:
    other = transaction.get_connection().copy()
    try:
        yield _Aside(other, run_id, workspace_id)
    finally:
        other.close()
