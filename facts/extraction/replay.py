"""Dead letters: finding them, and putting them back into the queue with all their attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, QuerySet
from django.utils import timezone

from audit.actors import Actor
from audit.services import record
from facts.models import OPEN_STATES, Extraction, ExtractionState
from memoryhub.core.ids import uuid7
from memoryhub.core.tenancy import in_workspace

AT_ONCE = 500  # in one transaction, and one audit entry


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters are meant; what is left out does not restrict."""

    error: str = ""
    session: str = ""
    """As the caller named it."""
    subject_id: UUID | None = None
    before: datetime | None = None
    since: datetime | None = None
    ids: tuple[UUID, ...] = ()

    def of(self, workspace_id: UUID) -> QuerySet[Extraction]:
        found = Extraction.objects.filter(workspace_id=workspace_id, state=ExtractionState.DEAD)
        for lookup, value in (
            ("error", self.error),
            ("session__external_id", self.session),
            ("subject", self.subject_id),
            ("finished_at__lt", self.before),
            ("finished_at__gte", self.since),
            ("pk__in", self.ids),
        ):
            if value:
                found = found.filter(**{lookup: value})
        return found


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replay by its id, under which its progress can be asked for, and how many windows it put back."""

    id: UUID
    windows: int


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of the windows of a replay so far."""

    windows: int
    done: int
    dead: int
    waiting: int

    @property
    def percent(self) -> int:
        return 100 * (self.done + self.dead) // self.windows if self.windows else 100


def dead_letters_replay(*, workspace_id: UUID, which: DeadLetterFilter, actor: Actor) -> Replayed:
    """Let the dead letters that `which` names wait again, with no attempt counted. In transactions of its own.

    A replay that is interrupted has put back some, which is what the next one leaves out.
    """
    replay = uuid7()
    windows = 0
    while True:
        with in_workspace(workspace_id):
            put_back = dead_letters_put_back(workspace_id=workspace_id, which=which, actor=actor, replay=replay)
        windows += put_back
        if put_back < AT_ONCE:
            return Replayed(replay, windows)


def dead_letters_put_back(*, workspace_id: UUID, which: DeadLetterFilter, actor: Actor, replay: UUID) -> int:
    """Up to AT_ONCE of them, in the caller's transaction; returns how many."""
    now = timezone.now()
    rows = list(which.of(workspace_id).select_for_update(skip_locked=True, of=("self",)).order_by("id")[:AT_ONCE])
    if not rows:
        return 0
    Extraction.objects.filter(pk__in=[row.pk for row in rows]).update(
        state=ExtractionState.DUE,
        attempts=0,
        deaths=0,
        next_attempt_at=now,
        finished_at=None,
        replay=replay,
    )
    one = rows[0] if len(rows) == 1 else None
    record(
        actor,
        "extraction.replayed",
        one,
        workspace_id=workspace_id,
        subject=one.subject_id if one else None,
        session=one.session_id if one else None,
        reason="requested",
        data={"windows": len(rows), "extraction_ids": [row.id for row in rows]},
    )
    return len(rows)


def replay_progress(*, workspace_id: UUID, replay: UUID) -> Progress:
    """How far the windows of a replay have come. A window that was replayed again since belongs to that one."""
    states = dict(
        Extraction.objects.filter(workspace_id=workspace_id, replay=replay)
        .order_by()
        .values_list("state")
        .annotate(count=Count("pk"))
    )
    done, dead = states.get(ExtractionState.DONE, 0), states.get(ExtractionState.DEAD, 0)
    waiting = sum(states.get(state, 0) for state in OPEN_STATES)
    return Progress(windows=done + dead + waiting, done=done, dead=dead, waiting=waiting)


def dead_letter_causes(*, workspace_id: UUID) -> Sequence[tuple[str, int]]:
    """(cause, how many), the most frequent first."""
    return list(
        Extraction.objects.filter(workspace_id=workspace_id, state=ExtractionState.DEAD)
        .order_by()
        .values_list("error")
        .annotate(count=Count("pk"))
        .order_by("-count", "error")
    )
