"""Requests of the people remembered: received, decided, followed to their end.

Every function runs in the caller's workspace transaction: check, write, record. What a request brings about is carried
out by memoryhub/desk.py, which knows the domain.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from audit import registry
from audit.actors import Actor
from audit.erasure.models import Erasure, ErasureKind, ErasureState
from audit.registry import Scope
from audit.requests.calendars import WorkingCalendar
from audit.requests.deadlines import due_on
from audit.requests.errors import NotNow, SamePerson, Unacceptable, UnknownRequest
from audit.requests.holds import lock_person, name_of
from audit.requests.models import DataRequest, Identity, RequestStep
from audit.requests.states import ENDED, HELD_BACK, RequestState, RequestType, Step, after, decisions_open
from audit.services import record

CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True)
class Rules:
    """What a workspace has settled about requests."""

    calendar: WorkingCalendar = WorkingCalendar()
    two_approve_erasure: bool = False

    @property
    def today(self) -> date:
        return self.calendar.day_of(timezone.now())


def request_receive(
    *,
    workspace_id: UUID,
    scope: Scope,
    type_: str,
    received_at: datetime,
    channel: str,
    identity: str,
    actor: Actor,
    rules: Rules,
    note: str = "",
) -> DataRequest:
    """Take up a request. From the commit on nothing is surfaced where it asks to erase, or objects.

    Raises Unacceptable for one of the future, and for a part of something else than an erasure; UnknownRequest.
    """
    if received_at > timezone.now() + CLOCKS_DIFFER:
        raise Unacceptable("received_at", "A request cannot have been received in the future.")
    if scope.kind != "subject" and type_ != RequestType.ERASURE:
        raise Unacceptable("session_id", "Only an erasure can be about a part.")
    received_on = rules.calendar.day_of(received_at)
    request = DataRequest.objects.create(
        workspace_id=workspace_id,
        subject_id=scope.subject_id,
        type=type_,
        channel=channel,
        identity=identity,
        session_id=scope.session_id,
        since=scope.since,
        until=scope.until,
        received_at=received_at,
        received_on=received_on,
        due_on=due_on(received_on, rules.calendar.is_holiday),
    )
    if type_ in HELD_BACK and not registry.memory().hold_back(scope.subject_id, on=True):
        raise UnknownRequest("subject_id", "There is no such person.")
    _write_step(request, Step.RECEIVE, "", actor, note=note)
    record(
        actor,
        "request.received",
        request,
        subject=request.subject_id,
        session=request.session_id,
        data={"type": type_, "state": request.state, "channel": channel, "due_on": str(request.due_on)},
    )
    if identity == Identity.VERIFIED:
        _move(request, Step.CONFIRM_IDENTITY, actor)
    return request


def request_locked(*, workspace_id: UUID, request_id: UUID) -> DataRequest:
    """Raises UnknownRequest."""
    request = DataRequest.objects.select_for_update().filter(workspace_id=workspace_id, pk=request_id).first()
    if request is None:
        raise UnknownRequest("request_id", "There is no such request.")
    return request


def request_decide(
    *, request: DataRequest, step: Step, actor: Actor, rules: Rules, reason: str = "", note: str = ""
) -> DataRequest:
    """Somebody's decision, but for that to carry it out; `request` is locked.

    Raises NotNow where it is not open, Unacceptable for a refusal without a reason, SamePerson where another has to
    approve too.
    """
    check_open(request, step)
    check_note(request, note)
    if step is Step.REFUSE and not reason:
        raise Unacceptable("reason", "Say why it is refused: the person has to be told.")
    if step is Step.DOUBT_IDENTITY:
        request.paused_on, request.first_approval_by = rules.today, ""
    if step is Step.CONFIRM_IDENTITY and request.paused_on:
        request.paused_days += (rules.today - request.paused_on).days
        request.paused_on = None
        request.due_on = _due(request, rules)
    if step is Step.APPROVE and request.type == RequestType.ERASURE and rules.two_approve_erasure:
        if request.first_approval_by == name_of(actor):
            raise SamePerson("step", "You approved it already: a second person has to.")
        if not request.first_approval_by:
            request.first_approval_by = name_of(actor)
            step = Step.APPROVE_FIRST
    return _move(request, step, actor, reason=reason, note=note)


def takes_notes(request: DataRequest) -> bool:
    """Whether somebody's words may still be written down about it: not once all of the person goes, or went."""
    return not Erasure.objects.filter(subject_id=request.subject_id, kind=ErasureKind.SUBJECT).exists()


def check_note(request: DataRequest, note: str) -> None:
    """Raises NotNow for a note that nothing would erase any more. Until the transaction ends no erasure begins."""
    if not note:
        return
    lock_person(request.subject_id)
    if not takes_notes(request):
        raise NotNow("note", "All of the person is erased, or about to be: nothing would erase a note again.")


def check_open(request: DataRequest, step: Step) -> None:
    """Raises NotNow for a decision that is not open now."""
    if step not in decisions_open(request.type, request.state):
        told = RequestState(request.state).label
        raise NotNow("step", f"The request is {told}: {step.value.replace('_', ' ')} is not open now.")


def request_extend(
    *, request: DataRequest, told_on: date | None, reason: str, actor: Actor, rules: Rules, note: str = ""
) -> DataRequest:
    """Two further months, once, for a reason that the person was told within the first; `request` is locked.

    Raises NotNow, and Unacceptable for a day on which they cannot have been told in time.
    """
    check_note(request, note)
    told = told_on or rules.today
    if request.ended:
        raise NotNow("request_id", "The request has ended.")
    if request.extended_on:
        raise NotNow("request_id", "It was extended already; that can be done once.")
    if not request.received_on <= told <= rules.today:
        raise Unacceptable("told_on", "The person was told between the day of the request and today.")
    if told > request.due_on:
        raise NotNow("told_on", f"They had to be told by {request.due_on}, within the first month.")
    request.extended_on, request.extension_reason = told, reason
    request.due_on = _due(request, rules)
    request.save(update_fields=["extended_on", "extension_reason", "due_on"])
    _write_step(request, Step.EXTEND, request.state, actor, reason=reason, note=note)
    data = {"type": request.type, "due_on": str(request.due_on)}
    record(actor, "request.extended", request, subject=request.subject_id, reason=reason, data=data)
    return request


def request_assign(*, request: DataRequest, assignee_id: UUID | None, actor: Actor) -> DataRequest:
    """Say who looks after it; `request` is locked. Twice changes nothing."""
    if request.assignee_id != assignee_id:
        request.assignee_id = assignee_id
        request.save(update_fields=["assignee_id"])
        _write_step(request, Step.ASSIGN, request.state, actor)
        record(actor, "request.assigned", request, subject=request.subject_id, data={"assignee_id": assignee_id})
    return request


def request_noted(*, request: DataRequest, note: str, actor: Actor) -> DataRequest:
    """Add words to the history; `request` is locked. They go when the person is erased, and raise NotNow after that."""
    check_note(request, note)
    _write_step(request, Step.NOTE, request.state, actor, note=note)
    record(actor, "request.noted", request, subject=request.subject_id)
    return request


def request_moved(
    request: DataRequest, step: Step, actor: Actor, *, reason: str = "", note: str = "", erasure_id: UUID | None = None
) -> DataRequest:
    """What follows from carrying a request out; `request` is locked. Raises NotNow where the table has no such move."""
    if erasure_id:
        request.erasure_id = erasure_id
    return _move(request, step, actor, reason=reason, note=note)


def erasure_moved(erasure: Erasure) -> None:
    """Let the request follow its erasure, in the transaction that moves that."""
    step = {
        ErasureState.VERIFYING: Step.VERIFY,
        ErasureState.COMPLETED: Step.COMPLETE,
        ErasureState.PARTIAL: Step.LEAVE,
    }.get(ErasureState(erasure.state))
    if erasure.request_id is None or step is None:
        return
    request = DataRequest.objects.select_for_update().filter(pk=erasure.request_id).first()
    if request is not None and after(request.state, step) is not None:
        _move(request, step, Actor.system("erasure"))


def requests_waiting(workspace_id: UUID) -> QuerySet[DataRequest]:
    """Those that have not ended, what is due first first."""
    return DataRequest.objects.filter(workspace_id=workspace_id).exclude(state__in=ENDED).order_by("due_on", "id")


def _move(request: DataRequest, step: Step, actor: Actor, *, reason: str = "", note: str = "") -> DataRequest:
    before, state = request.state, after(request.state, step)
    if state is None:
        raise NotNow("step", f"The request is {RequestState(before).label}.")
    request.state = state
    if request.ended:
        request.ended_at, request.paused_on = timezone.now(), None
    request.save()
    if request.ended and request.type in HELD_BACK:
        _let_go(request)
    _write_step(request, step, before, actor, reason=reason, note=note)
    record(
        actor,
        "request.moved",
        request,
        subject=request.subject_id,
        session=request.session_id,
        reason=reason,
        data={"type": request.type, "step": step.value, "before": before, "state": request.state},
    )
    return request


def _let_go(request: DataRequest) -> None:
    """Surface the person's memory again, unless another request keeps it back."""
    others = DataRequest.objects.filter(subject_id=request.subject_id, type__in=HELD_BACK).exclude(state__in=ENDED)
    if not others.exists():
        registry.memory().hold_back(request.subject_id, on=False)


def _due(request: DataRequest, rules: Rules) -> date:
    return due_on(
        request.received_on,
        rules.calendar.is_holiday,
        extended=request.extended_on is not None,
        paused_days=request.paused_days,
    )


def _write_step(
    request: DataRequest, step: Step, before: str, actor: Actor, *, reason: str = "", note: str = ""
) -> RequestStep:
    return RequestStep.objects.create(
        workspace_id=request.workspace_id,
        request=request,
        step=step.value,
        before=before,
        after=request.state,
        reason=reason,
        note=note,
        actor_kind=actor.kind.value,
        actor_id=actor.id,
    )
