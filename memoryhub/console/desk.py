"""What the pages about requests and holds show: by when, by whom, what may be done now."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from django.utils import timezone

from audit.actors import ActorKind
from audit.requests.calendars import WorkingCalendar
from audit.requests.deadlines import Reckoning, reckoned, working_days_ahead, working_days_left
from audit.requests.models import DataRequest, Hold, RequestStep
from audit.requests.selectors import SOON, Waiting, waiting
from audit.requests.states import RequestState, RequestType, Step, decisions_open
from memoryhub.access.models import Membership, Workspace
from memoryhub.access.permissions import Permission, roles_that_may
from memoryhub.console.selectors import actor_names, subjects_named
from memoryhub.console.workspace_policy import policy_of
from memoryhub.desk import STEP_REASONS

STATE_TONE: dict[str, str] = {
    RequestState.RECEIVED: "warn",
    RequestState.IDENTITY_CHECK: "warn",
    RequestState.REVIEW: "warn",
    RequestState.APPROVED: "",
    RequestState.RUNNING: "",
    RequestState.VERIFYING: "",
    RequestState.COMPLETED: "good",
    RequestState.PARTIAL: "bad",
    RequestState.REFUSED: "",
    RequestState.CANCELLED: "",
    RequestState.BLOCKED: "bad",
}
STEPS: dict[str, str] = {
    Step.RECEIVE: "received",
    Step.CONFIRM_IDENTITY: "identity confirmed",
    Step.DOUBT_IDENTITY: "identity doubted",
    Step.APPROVE_FIRST: "approved, a second person has to",
    Step.APPROVE: "approved",
    Step.CARRY_OUT: "carrying out began",
    Step.BLOCK: "waits for a legal hold",
    Step.VERIFY: "erased, verification began",
    Step.LEAVE: "something is left",
    Step.COMPLETE: "completed",
    Step.REFUSE: "refused",
    Step.CANCEL: "cancelled",
    Step.EXTEND: "extended by two months",
    Step.ASSIGN: "assigned",
    Step.NOTE: "note",
}
SHOWN_IN_ORDER = (
    Step.CARRY_OUT,
    Step.CONFIRM_IDENTITY,
    Step.APPROVE,
    Step.COMPLETE,
    Step.DOUBT_IDENTITY,
    Step.REFUSE,
    Step.CANCEL,
)
KINDS: dict[str, str] = {ActorKind.COMMAND: "the command {}", ActorKind.SYSTEM: "the hub ({})"}
REASONS_FOR: dict[Step, tuple[str, ...]] = {
    Step.DOUBT_IDENTITY: ("identity_doubtful", "not_this_person", "other"),
    Step.REFUSE: tuple(one for one in STEP_REASONS if one not in ("withdrawn", "nothing_left", "identity_doubtful")),
    Step.CANCEL: ("withdrawn", "not_this_person", "nothing_left", "other"),
}


@dataclass(frozen=True)
class Due:
    """By when, as a word with a tone."""

    on: date
    says: str
    tone: str


@dataclass(frozen=True)
class Row:
    """A request in a list."""

    request: DataRequest
    due: Due
    tone: str
    subject: str
    """The caller's id of the person; '' once they are erased."""
    assignee: str


@dataclass(frozen=True)
class Done:
    """A line of a request's history."""

    step: RequestStep
    says: str
    by: str
    moved: bool
    now: str
    """The state it was in then."""


@dataclass(frozen=True)
class HoldRow:
    """A hold in a list."""

    hold: Hold
    subject: str
    placed_by: str
    released_by: str
    mine: bool
    """Placed by who looks: somebody else releases it."""


def calendar_of(workspace: Workspace) -> WorkingCalendar:
    return policy_of(workspace).calendar


def today_in(workspace: Workspace) -> date:
    return calendar_of(workspace).day_of(timezone.now())


def soon_in(workspace: Workspace) -> date:
    """The day up to which what is due is called soon."""
    calendar = calendar_of(workspace)
    return working_days_ahead(calendar.day_of(timezone.now()), SOON, calendar.is_holiday)


def waiting_in(workspace: Workspace) -> Waiting:
    return waiting(workspace_id=workspace.id, today=today_in(workspace), soon=soon_in(workspace))


def due_of(request: DataRequest, calendar: WorkingCalendar, today: date) -> Due:
    """In words: overdue, due in so many working days, or paused."""
    on = request.due_on
    if request.ended:
        return Due(on, "ended", "")
    if request.paused_on:
        return Due(on, "paused", "warn")
    if on < today:
        return Due(on, "overdue", "bad")
    left = working_days_left(today, on, calendar.is_holiday)
    says = "due today" if on == today else f"due in {left} working day{'' if left == 1 else 's'}"
    return Due(on, says, "warn" if left <= SOON else "good")


def rows_of(requests: Sequence[DataRequest], workspace: Workspace) -> list[Row]:
    """Three queries, however many there are."""
    calendar = calendar_of(workspace)
    today = calendar.day_of(timezone.now())
    people = subjects_named(one.subject_id for one in requests)
    names = actor_names((ActorKind.USER.value, str(one.assignee_id)) for one in requests if one.assignee_id)
    return [
        Row(
            request=one,
            due=due_of(one, calendar, today),
            tone=STATE_TONE[one.state],
            subject=people.get(one.subject_id, ""),
            assignee=names.get((ActorKind.USER.value, str(one.assignee_id)), ""),
        )
        for one in requests
    ]


def history_of(steps: Iterable[RequestStep]) -> list[Done]:
    listed = list(steps)
    names = named(*(f"{one.actor_kind}:{one.actor_id}" for one in listed))
    return [
        Done(
            step=one,
            says=STEPS[one.step],
            by=names[f"{one.actor_kind}:{one.actor_id}"],
            moved=one.before != one.after,
            now=RequestState(one.after).label,
        )
        for one in listed
    ]


def hold_rows(holds: Sequence[Hold], viewer: str) -> list[HoldRow]:
    """`viewer` is who looks, as the log names them."""
    people = subjects_named(one.subject_id for one in holds)
    names = named(*(who for one in holds for who in (one.placed_by, one.released_by)))
    return [
        HoldRow(
            one,
            people.get(one.subject_id, ""),
            names[one.placed_by],
            names.get(one.released_by, ""),
            one.placed_by == viewer,
        )
        for one in holds
    ]


def named(*actors: str) -> dict[str, str]:
    """Names for actors as the log writes them, `kind:id`."""
    pairs = {who: (who.partition(":")[0], who.partition(":")[2]) for who in actors if who}
    names = actor_names(pairs.values())
    return {who: KINDS.get(pair[0], "{}").format(names[pair]) for who, pair in pairs.items()}


def reckoning_of(request: DataRequest, calendar: WorkingCalendar) -> Reckoning:
    """How the deadline is counted by the calendar as it is now."""
    return reckoned(
        request.received_on,
        calendar.is_holiday,
        extended=request.extended_on is not None,
        paused_days=request.paused_days,
    )


def steps_shown(request: DataRequest, viewer: str, *, two: bool) -> list[Step]:
    """What may be decided now, but for a second approval by who gave the first."""
    steps = decisions_open(request.type, request.state)
    mine = two and request.type == RequestType.ERASURE and request.first_approval_by == viewer
    return sorted((one for one in steps if not (one is Step.APPROVE and mine)), key=SHOWN_IN_ORDER.index)


def handlers(workspace: Workspace) -> list[tuple[UUID, str]]:
    """Who may look after a request: id and name."""
    members = Membership.objects.filter(workspace=workspace, role__in=roles_that_may(Permission.REQUESTS_MANAGE))
    return list(members.order_by("user__username").values_list("user_id", "user__username"))
