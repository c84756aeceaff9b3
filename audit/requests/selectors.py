"""What waits at the desk. Every function runs in the workspace's transaction."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from audit.requests.models import DataRequest, Hold
from audit.requests.states import ENDED, RequestState

OPEN, ANY, NOBODY = "open", "any", "nobody"
SOON = 5
"""Working days before its end from which on a request presses."""


@dataclass(frozen=True)
class RequestFilter:
    """Which requests. `state` is one of theirs, `open` or `any`; `assignee` a person's id, `nobody` or '' for all."""

    type: str = ""
    state: str = OPEN
    assignee: str = ""
    subject_id: UUID | None = None
    overdue: bool = False


@dataclass(frozen=True)
class Waiting:
    """What has not ended: all of it, what is late, what is due within SOON working days, what waits for whom."""

    open: int = 0
    overdue: int = 0
    soon: int = 0
    to_approve: int = 0
    blocked: int = 0


def overdue(today: date) -> Q:
    """Past its day. While the clock stands still nothing is."""
    return Q(due_on__lt=today, paused_on__isnull=True) & ~Q(state__in=ENDED)


def requests_found(*, workspace_id: UUID, wanted: RequestFilter, today: date) -> QuerySet[DataRequest]:
    """By due date: of what is open the first comes first, else the last."""
    rows = DataRequest.objects.filter(workspace_id=workspace_id)
    if wanted.type:
        rows = rows.filter(type=wanted.type)
    if wanted.state == OPEN:
        rows = rows.exclude(state__in=ENDED)
    elif wanted.state != ANY:
        rows = rows.filter(state=wanted.state)
    if wanted.assignee == NOBODY:
        rows = rows.filter(assignee_id__isnull=True)
    elif wanted.assignee:
        rows = rows.filter(assignee_id=wanted.assignee)
    if wanted.subject_id:
        rows = rows.filter(subject_id=wanted.subject_id)
    if wanted.overdue:
        rows = rows.filter(overdue(today))
    ended = wanted.state == ANY or wanted.state in ENDED
    return rows.order_by("-due_on", "-id") if ended else rows.order_by("due_on", "id")


def waiting(*, workspace_id: UUID, today: date, soon: date) -> Waiting:
    """One query. `soon` is the day that is SOON working days ahead."""
    rows = DataRequest.objects.filter(workspace_id=workspace_id).exclude(state__in=ENDED)
    counts = rows.aggregate(
        open=Count("id"),
        overdue=Count("id", filter=overdue(today)),
        soon=Count("id", filter=_due_between(today, soon)),
        to_approve=Count("id", filter=Q(state=RequestState.REVIEW)),
        blocked=Count("id", filter=Q(state=RequestState.BLOCKED)),
    )
    return Waiting(**counts)


def pressing(*, workspace_id: UUID, soon: date, limit: int) -> list[DataRequest]:
    """Those that are late or soon will be, or wait to be approved; what is due first first."""
    rows = DataRequest.objects.filter(workspace_id=workspace_id).exclude(state__in=ENDED)
    pressed = Q(due_on__lte=soon, paused_on__isnull=True) | Q(state=RequestState.REVIEW)
    return list(rows.filter(pressed).order_by("due_on", "id")[:limit])


def holds_on(*, workspace_id: UUID, subject_id: UUID, session_id: UUID | None = None) -> QuerySet[Hold]:
    """The holds in force on a person; with `session_id`, those that keep that session."""
    rows = Hold.objects.filter(workspace_id=workspace_id, subject_id=subject_id, released_at__isnull=True)
    if session_id:
        rows = rows.filter(Q(session_id__isnull=True) | Q(session_id=session_id))
    return rows.order_by("id")


def _due_between(today: date, soon: date) -> Q:
    return Q(due_on__gte=today, due_on__lte=soon, paused_on__isnull=True)
