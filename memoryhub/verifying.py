"""When the audit log is checked: once a day by the queue, and when somebody asks."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django_q.models import Schedule
from django_q.tasks import async_task

from audit.actors import Actor
from audit.models import INSTALLATION
from audit.sealing.models import Verification
from audit.sealing.verifying import verification_ask, verification_run
from memoryhub.access.models import Workspace
from memoryhub.core.tenancy import in_workspace

SWEEP = "verify-audit"
LONGEST = 6 * 3600
"""Seconds that one run may take in the queue."""


def verification_start(*, workspace_id: UUID, actor: Actor) -> Verification:
    """Queue a check of the log, in the caller's workspace transaction; the one that is under way, where one is."""
    run, new = verification_ask(workspace_id=workspace_id, actor=actor)
    if new:
        async_task(
            "memoryhub.verifying.carry_out", str(workspace_id), str(run.id), group="verify", q_options=_options()
        )
    return run


def carry_out(workspace_id: str, run_id: str) -> str:
    """The queue's task; returns the verdict."""
    verdict = verification_run(UUID(run_id), workspace_id=UUID(workspace_id))
    return verdict.verdict if verdict else ""


def sweep() -> int:
    """Queue a check of every log, the installation's own too; returns how many."""
    logs = [*Workspace.objects.values_list("pk", flat=True), INSTALLATION]
    for workspace_id in logs:
        with in_workspace(workspace_id):
            verification_start(workspace_id=workspace_id, actor=Actor.system("verifier"))
    return len(logs)


def schedule_sweep() -> None:
    """Have the queue check the logs every AUDIT_VERIFY_HOURS; with 0, not by itself."""
    hours: int = settings.AUDIT_VERIFY_HOURS
    if not hours:
        Schedule.objects.filter(name=SWEEP).delete()
        return
    Schedule.objects.update_or_create(
        name=SWEEP,
        defaults={
            "func": "memoryhub.verifying.sweep",
            "schedule_type": Schedule.MINUTES,
            "minutes": 60 * hours,
            "repeats": -1,
        },
    )


def overdue_after() -> timedelta | None:
    """The age from which a verdict is too old: two runs were missed. None: nobody asked for runs."""
    hours: int = settings.AUDIT_VERIFY_HOURS
    return timedelta(hours=2 * hours) if hours else None


def _options() -> dict[str, int]:
    return {"timeout": LONGEST}
