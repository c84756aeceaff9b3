"""The desk: what people's requests bring about, for console, API and commands alike.

Every function runs in the caller's workspace transaction.
"""

from collections.abc import Collection
from uuid import UUID

from django_q.models import Schedule

from audit.actors import Actor
from audit.erasure.models import OPEN_ERASURES, Erasure
from audit.erasure.services import NothingThere
from audit.requests.errors import UnknownRequest
from audit.requests.holds import hold_place, hold_release, in_force
from audit.requests.models import DataRequest, Hold
from audit.requests.services import Rules, check_note, check_open, request_locked, request_moved
from audit.requests.states import RequestState, RequestType, Step
from memoryhub.access.models import Workspace
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.core.tenancy import in_workspace
from memoryhub.erasing import erasure_start
from sessions.models import Session, Subject
from sessions.services import PAUSES, subject_pause, subject_restrict

SWEEP = "requests"
EXTENSION_REASONS = ("complex", "many_requests")
HOLD_REASONS = ("litigation", "authority", "legal_obligation", "investigation", "other")
STEP_REASONS = (
    "identity_doubtful",
    "identity_not_shown",
    "not_this_person",
    "unfounded",
    "excessive",
    "overriding_grounds",
    "legal_obligation",
    "exempt",
    "withdrawn",
    "nothing_left",
    "other",
)


def rules_of(policy: WorkspacePolicy) -> Rules:
    return Rules(policy.calendar, policy.two_approve_erasure)


def request_carry_out(
    *, request: DataRequest, actor: Actor, pauses: Collection[str] = PAUSES, note: str = ""
) -> DataRequest:
    """Do what was approved; `request` is locked.

    An erasure begins, or waits for a hold. A restriction and an objection are done at once, the latter by pausing
    `pauses`. What needs a person's work (a copy, a correction) runs until somebody says that it is complete.
    Raises NotNow, and AlreadyErasing while another erasure of the person is under way.
    """
    check_open(request, Step.CARRY_OUT)
    check_note(request, note)
    return _carry_out(request, actor, pauses=pauses, note=note)


def person_hold(
    *, workspace_id: UUID, subject_id: UUID, session_id: UUID | None, reason: str, note: str, actor: Actor
) -> Hold:
    """Hold a person's memory, or one session of it. Raises UnknownRequest, and as `hold_place` does."""
    if not Subject.objects.filter(workspace_id=workspace_id, pk=subject_id).exists():
        raise UnknownRequest("subject_id", "There is no such person.")
    if session_id and not Session.objects.filter(subject=subject_id, pk=session_id).exists():
        raise UnknownRequest("session_id", "This person has no such session.")
    return hold_place(
        workspace_id=workspace_id,
        subject_id=subject_id,
        session_id=session_id,
        reason=reason,
        note=note,
        actor=actor,
    )


def hold_end(*, workspace_id: UUID, hold_id: UUID, actor: Actor) -> Hold:
    """Release a hold, and go on with the requests that waited for it. Raises as `hold_release` does."""
    hold = hold_release(workspace_id=workspace_id, hold_id=hold_id, actor=actor)
    waiting = DataRequest.objects.filter(
        workspace_id=workspace_id, subject_id=hold.subject_id, state=RequestState.BLOCKED
    ).order_by("id")
    for request_id in list(waiting.values_list("id", flat=True)):
        _resume(workspace_id, request_id)
    return hold


def sweep() -> int:
    """Go on with requests that waited for a hold, or for an erasure of the same person. Run once a minute.

    Returns how many went on.
    """
    resumed = 0
    for workspace in Workspace.objects.all():
        with in_workspace(workspace.id):
            waiting = DataRequest.objects.filter(workspace_id=workspace.id, state=RequestState.BLOCKED).order_by("id")
            ids = list(waiting.values_list("id", flat=True))
        for request_id in ids:
            with in_workspace(workspace.id):
                resumed += _resume(workspace.id, request_id)
    return resumed


def schedule_sweep() -> None:
    """Have the queue sweep every minute. Twice changes nothing."""
    Schedule.objects.update_or_create(
        name=SWEEP,
        defaults={"func": "memoryhub.desk.sweep", "schedule_type": Schedule.MINUTES, "minutes": 1, "repeats": -1},
    )


def _resume(workspace_id: UUID, request_id: UUID) -> bool:
    """Go on with a request that is blocked, if nothing blocks it any more."""
    request = request_locked(workspace_id=workspace_id, request_id=request_id)
    erasing = Erasure.objects.filter(subject_id=request.subject_id, state__in=OPEN_ERASURES)
    if request.state != RequestState.BLOCKED or in_force(request.scope).exists() or erasing.exists():
        return False
    _carry_out(request, Actor.system("desk"))
    return True


def _carry_out(request: DataRequest, actor: Actor, *, pauses: Collection[str] = PAUSES, note: str = "") -> DataRequest:
    if request.type == RequestType.ERASURE:
        return _erase(request, actor, note)
    request_moved(request, Step.CARRY_OUT, actor, note=note)
    subject = Subject.objects.filter(workspace_id=request.workspace_id, pk=request.subject_id).first()
    if request.type not in (RequestType.RESTRICTION, RequestType.OBJECTION):
        return request
    if subject is not None:
        if request.type == RequestType.RESTRICTION:
            subject_restrict(subject=subject, restricted=True, actor=actor, reason="subject_request")
        else:
            subject_pause(subject=subject, what=pauses, paused=True, actor=actor, reason="subject_request")
    return request_moved(request, Step.COMPLETE, actor)


def _erase(request: DataRequest, actor: Actor, note: str) -> DataRequest:
    if in_force(request.scope).exists():
        return request_moved(request, Step.BLOCK, actor, reason="legal_hold", note=note)
    try:
        erasure = erasure_start(
            workspace_id=request.workspace_id,
            scope=request.scope,
            actor=actor,
            reason="subject_request",
            request_id=request.id,
        )
    except NothingThere:
        # Somebody else was faster.
        request_moved(request, Step.CARRY_OUT, actor, note=note)
        return request_moved(request, Step.COMPLETE, actor, reason="nothing_left")
    return request_moved(request, Step.CARRY_OUT, actor, note=note, erasure_id=erasure.id)
