"""Erasures as work: confirmed by what was shown, queued, and taken up again when who carried them out has died."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core import signing
from django_q.models import Schedule
from django_q.tasks import async_task

from audit.actors import Actor
from audit.erasure.models import Erasure, ErasureState
from audit.erasure.services import ErasureError, OnHold, Plan, erasure_begin, erasure_run, erasures_due, scope_of
from audit.registry import Scope
from audit.requests.holds import in_force
from audit.services import record
from facts.visibility import policy_of
from memoryhub.access.models import Workspace

SALT = "memoryhub.erasing"
LASTS = timedelta(minutes=30)
SWEEP = "erasures"


class NotConfirmed(Exception):
    """The confirmation is not of a plan that was shown here lately."""


class NeedsRequest(ErasureError):
    """Here two people approve an erasure, which is what a request is for."""


def confirmation_of(plan: Plan, *, workspace_id: UUID) -> str:
    """What whoever was shown the plan sends back to have it carried out; it names the scope and nothing else."""
    scope = plan.scope
    told = {
        "w": workspace_id.hex,
        "s": scope.subject_id.hex,
        "n": scope.session_id.hex if scope.session_id else "",
        "f": scope.fact_id.hex if scope.fact_id else "",
        "a": scope.since.isoformat() if scope.since else "",
        "z": scope.until.isoformat() if scope.until else "",
        "t": scope.statement,
    }
    return signing.dumps(told, salt=SALT)


def confirmed(text: str, *, workspace_id: UUID, subject_id: UUID) -> Scope:
    """The scope that a confirmation names. Raises NotConfirmed for any other person, and when it is too old."""
    try:
        told: dict[str, Any] = signing.loads(text, salt=SALT, max_age=LASTS)
    except signing.BadSignature:
        raise NotConfirmed from None
    if UUID(told["w"]) != workspace_id or UUID(told["s"]) != subject_id:
        raise NotConfirmed
    return Scope(
        subject_id,
        session_id=UUID(told["n"]) if told["n"] else None,
        fact_id=UUID(told["f"]) if told["f"] else None,
        since=datetime.fromisoformat(told["a"]) if told["a"] else None,
        until=datetime.fromisoformat(told["z"]) if told["z"] else None,
        statement=told["t"],
    )


def erasure_start(
    *, workspace_id: UUID, scope: Scope, actor: Actor, reason: str, request_id: UUID | None = None
) -> Erasure:
    """Begin an erasure and queue the rest, in the caller's workspace transaction.

    Raises as `erasure_begin` does, and as `refuse_alone`.
    """
    if request_id is None:
        refuse_alone(workspace_id, scope)
    erasure = erasure_begin(workspace_id=workspace_id, scope=scope, actor=actor, reason=reason, request_id=request_id)
    enqueue(erasure)
    return erasure


def refuse_alone(workspace_id: UUID, scope: Scope) -> None:
    """Raises NeedsRequest where one person's word is not enough. A fact is corrected as much as it is erased."""
    if scope.kind != "fact" and policy_of(workspace_id).two_approve_erasure:
        raise NeedsRequest("subject_id", "In this workspace two people approve an erasure: open a request for it.")


def erasure_retry(erasure: Erasure, *, actor: Actor) -> None:
    """Queue an erasure again of which something was left. One that has not ended goes on by itself. Raises OnHold."""
    if erasure.state == ErasureState.PARTIAL:
        if in_force(scope_of(erasure)).exists():
            raise OnHold("erasure_id", "A legal hold keeps what is left.")
        record(actor, "erasure.retried", erasure, subject=erasure.subject_id, data={"kind": erasure.kind})
        enqueue(erasure, again=True)


def enqueue(erasure: Erasure, *, again: bool = False) -> None:
    """In the caller's transaction: it is queued if that is committed."""
    async_task("memoryhub.erasing.carry_out", str(erasure.workspace_id), str(erasure.id), again, group="erasure")


def carry_out(workspace_id: str, erasure_id: str, again: bool = False) -> str:
    """The queue's task; returns the state it came to."""
    return str(erasure_run(UUID(erasure_id), workspace_id=UUID(workspace_id), take_over=again).state)


def sweep() -> int:
    """Go on with every erasure that nobody is carrying out; returns how many there were. Run once a minute."""
    due = [(workspace.id, one) for workspace in Workspace.objects.all() for one in erasures_due(workspace.id)]
    for workspace_id, erasure_id in due:
        erasure_run(erasure_id, workspace_id=workspace_id)
    return len(due)


def schedule_sweep() -> None:
    """Have the queue sweep every minute. Twice changes nothing."""
    Schedule.objects.update_or_create(
        name=SWEEP,
        defaults={"func": "memoryhub.erasing.sweep", "schedule_type": Schedule.MINUTES, "minutes": 1, "repeats": -1},
    )
