"""The desk: what people's requests bring about, for console, API and commands alike.

Every function runs in the caller's workspace transaction.
"""

from collections.abc import Collection
from uuid import UUID

from audit.actors import Actor
from audit.erasure.services import NothingThere
from audit.requests.errors import UnknownRequest
from audit.requests.holds import hold_place, hold_release, in_force
from audit.requests.models import DataRequest, Hold
from audit.requests.services import Rules, check_open, request_locked, request_moved
from audit.requests.states import RequestState, RequestType, Step
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.erasing import erasure_start
from sessions.models import Session, Subject
from sessions.services import PAUSES, subject_pause, subject_restrict


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
        request = request_locked(workspace_id=workspace_id, request_id=request_id)
        if not in_force(request.scope).exists():
            _carry_out(request, Actor.system("desk"))
            break  # the next one, if there is any, when this one has ended
    return hold


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
