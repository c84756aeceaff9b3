"""Who reads which window: attempts are counted before the work, results written only by who still holds the lease."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from audit.actors import Actor
from audit.services import record
from facts.extraction.interface import CODES, SPLIT
from facts.extraction.windows import EXTRACTING, may_be_read
from facts.models import OPEN_STATES, Extraction, ExtractionBatch, ExtractionState
from memoryhub.core.observability import metrics
from memoryhub.core.tenancy import in_workspace

ACTOR = Actor.system("extraction")
SUSPECT_DEATHS = 2
"""A window during which the worker ended as often as this is read alone, so that it takes no other down with it."""
# A death is counted when the window is taken again: one that waits for that counts too.
SUSPECT = Q(deaths__gte=SUSPECT_DEATHS) | Q(state=ExtractionState.RUNNING, deaths=SUSPECT_DEATHS - 1)

PEOPLE_AT_ONCE = 64

WORKER_DIED = "worker_died"
INTERNAL_ERROR = "internal_error"
FAILURES = (*sorted(CODES), INTERNAL_ERROR, WORKER_DIED)
"""Every cause that an attempt or a dead letter can have."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A window that is one's own until the lease ends."""

    extraction_id: UUID
    workspace_id: UUID
    subject_id: UUID
    lease: UUID
    attempt: int
    alone: bool = False


def claim_windows(
    workspace_id: UUID, *, worker: str, most: int, suspects: bool = False, split_only: bool = False
) -> list[Claim]:
    """Take up to `most` windows that are due. The attempt is counted and committed when this returns.

    Of one person the oldest window goes first, and the next only when it is finished: what was said later must find
    what was said before. With `suspects` only those that may kill their worker are taken, otherwise never those;
    `split_only` leaves what batch mode sends. A window out of attempts becomes a dead letter here instead.
    """
    with in_workspace(workspace_id):
        now = timezone.now()
        ready = _ready(workspace_id, now, suspects=suspects)
        if split_only and not suspects:
            ready = ready.filter(error__in=SPLIT)
        claimed: list[Extraction] = []
        for firsts in _first_of_each_person(ready):
            free = firsts.select_for_update(skip_locked=True, of=("self",)).order_by("next_attempt_at", "id")
            claimed += free[: most - len(claimed)]
            if len(claimed) == most:
                break
        taken = take(claimed, worker=worker, now=now, until=now + timedelta(seconds=settings.EXTRACT_LEASE_SECONDS))
        return [
            Claim(row.id, row.workspace_id, row.subject_id, row.lease, row.attempts, alone=suspects)
            for row in taken
            if row.lease
        ]


def suspects_wait(workspace_id: UUID) -> bool:
    """Whether a window is due that has to be read alone."""
    with in_workspace(workspace_id):
        ready = _ready(workspace_id, timezone.now(), suspects=True)
        return any(firsts.exists() for firsts in _first_of_each_person(ready))


def _ready(workspace_id: UUID, now: datetime, *, suspects: bool) -> QuerySet[Extraction]:
    """Windows whose time has come, whoever else may have to be waited for; those that may kill their worker, or not."""
    waits = Q(state__in=(ExtractionState.DUE, ExtractionState.FAILED), next_attempt_at__lte=now)
    abandoned = Q(state=ExtractionState.RUNNING, leased_until__lt=now, batch__isnull=True)
    kind = Q(SUSPECT, deaths__gte=1) if suspects else ~SUSPECT
    return Extraction.objects.filter(waits | abandoned, kind, workspace_id=workspace_id, state__in=OPEN_STATES)


def _first_of_each_person(ready: QuerySet[Extraction]) -> Iterator[QuerySet[Extraction]]:
    """Of `ready` those before which nothing of their person has to be read, and that may be read, a few people at once.

    In steps over one table each: as one statement it takes seconds whenever the planner knows little of the tables,
    which is the case when much was said just now.
    """
    passed: set[UUID] = set()
    while True:
        oldest = ready.exclude(subject_id__in=passed).order_by("next_attempt_at", "id")
        people = set(oldest.values_list("subject_id", flat=True)[:PEOPLE_AT_ONCE])
        if not people:
            return
        firsts = (
            Extraction.objects.filter(subject_id__in=people, state__in=OPEN_STATES, session__agent__mode__in=EXTRACTING)
            .order_by("subject_id", "id")
            .distinct("subject_id")
            .values_list("pk", flat=True)
        )
        yield ready.filter(may_be_read(session="session__"), pk__in=list(firsts))
        passed |= people


def take(
    rows: Sequence[Extraction], *, worker: str, now: datetime, until: datetime, batch: ExtractionBatch | None = None
) -> list[Extraction]:
    """Make locked rows one's own, in the caller's transaction; those out of attempts become dead letters."""
    taken, died = [], []
    lease = uuid4()
    for row in rows:
        if row.state == ExtractionState.RUNNING:
            row.deaths += 1
            row.error = WORKER_DIED
        if row.attempts >= settings.EXTRACT_MAX_ATTEMPTS:
            bury(row, now)
            continue
        if row.state == ExtractionState.RUNNING:
            died.append(row.pk)
        row.attempts += 1
        row.state = ExtractionState.RUNNING
        row.lease, row.leased_by, row.leased_until, row.batch = lease, worker, until, batch
        taken.append(row)
    if died:
        Extraction.objects.filter(pk__in=died).update(deaths=F("deaths") + 1, error=WORKER_DIED)
    Extraction.objects.filter(pk__in=[row.pk for row in taken]).update(
        attempts=F("attempts") + 1,
        state=ExtractionState.RUNNING,
        lease=lease,
        leased_by=worker,
        leased_until=until,
        batch=batch,
    )
    return taken


def held(claim: Claim) -> Extraction | None:
    """The window, locked, if the claim still holds; None when another took over or it was erased."""
    return (
        Extraction.objects.select_for_update(of=("self",))
        .select_related("session__agent", "subject", "workspace")
        .filter(pk=claim.extraction_id, lease=claim.lease, state=ExtractionState.RUNNING)
        .first()
    )


def prolong(claim: Claim) -> bool:
    """Keep the window for another lease; False when it is no longer one's own."""
    with in_workspace(claim.workspace_id):
        until = timezone.now() + timedelta(seconds=settings.EXTRACT_LEASE_SECONDS)
        return bool(
            Extraction.objects.filter(pk=claim.extraction_id, lease=claim.lease, state=ExtractionState.RUNNING).update(
                leased_until=until
            )
        )


def give_back(claim: Claim, *, error: str = "", seconds: float = 0.0) -> None:
    """Let the window wait again as if it had not been taken: what kept it from being read was not its own fault."""
    with in_workspace(claim.workspace_id):
        row = held(claim)
        if row is not None:
            release(row, error=error, seconds=seconds)


def release(row: Extraction, *, error: str = "", seconds: float = 0.0) -> None:
    """As `give_back`, for a row that the caller has locked. Fields beside these are the caller's to save."""
    row.attempts = max(row.attempts - 1, 0)
    row.state = ExtractionState.DUE
    row.error = error or row.error
    row.lease, row.leased_by, row.leased_until, row.batch = None, "", None, None
    row.next_attempt_at = timezone.now() + timedelta(seconds=seconds)
    row.save()


def retry_or_bury(row: Extraction, *, code: str, retryable: bool, retry_after: float | None = None) -> None:
    """Let a locked row that failed with `code` wait for its next attempt, or make it a dead letter, and record it."""
    now = timezone.now()
    row.error = code
    row.lease, row.leased_by, row.leased_until, row.batch = None, "", None, None
    if not retryable or row.attempts >= settings.EXTRACT_MAX_ATTEMPTS:
        bury(row, now)
        return
    row.state = ExtractionState.FAILED
    row.next_attempt_at = now + timedelta(seconds=pause_before(row.attempts + 1, retry_after=retry_after))
    row.save()
    metrics.EXTRACTION_ATTEMPTS.labels(code).inc()
    record(ACTOR, "extraction.failed", row, subject=row.subject_id, session=row.session_id, data=_data(row))


def bury(row: Extraction, now: datetime) -> None:
    """Give a locked row up: a dead letter, whose turns stay where they are."""
    row.state = ExtractionState.DEAD
    row.lease, row.leased_by, row.leased_until, row.batch = None, "", None, None
    row.finished_at = now
    row.save()
    metrics.EXTRACTION_ATTEMPTS.labels(row.error).inc()
    record(
        ACTOR,
        "extraction.dead",
        row,
        subject=row.subject_id,
        session=row.session_id,
        outcome="failed",
        reason="attempts_exhausted" if row.attempts >= settings.EXTRACT_MAX_ATTEMPTS else "hopeless",
        data=_data(row),
    )


def pause_before(attempt: int, *, retry_after: float | None = None, chance: float | None = None) -> float:
    """Seconds before the `attempt`-th try (the second is the first that waits): exponential, with full jitter.

    Never sooner than the provider asked for. "Exponential Backoff and Jitter", M. Brooker, AWS Architecture Blog, 2015.
    """
    longest = min(settings.EXTRACT_BACKOFF_MAX_SECONDS, settings.EXTRACT_BACKOFF_SECONDS * 2.0 ** max(attempt - 2, 0))
    jittered = longest * (random.random() if chance is None else chance)  # noqa: S311 - no secret # nosec B311
    return (retry_after or 0.0) + jittered


def take_over(workspace_id: UUID, *, worker: str) -> int:
    """End the leases that a worker of this name left when it died; it has a successor, who calls this. How many."""
    with in_workspace(workspace_id):
        return Extraction.objects.filter(
            workspace_id=workspace_id, state=ExtractionState.RUNNING, leased_by=worker, batch__isnull=True
        ).update(leased_until=timezone.now() - timedelta(seconds=1))


def _data(row: Extraction) -> dict[str, object]:
    return {
        "extraction_id": row.id,
        "first_index": row.first_index,
        "last_index": row.last_index,
        "attempts": row.attempts,
        "error": row.error,
    }
