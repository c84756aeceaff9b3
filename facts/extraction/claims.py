"""Who reads which window: attempts are counted before the work, results written only by who still holds the lease."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection
from django.db.models import F, Q
from django.utils import timezone

from audit.actors import Actor
from audit.services import record
from facts.extraction.interface import CODES, SPLIT
from facts.extraction.windows import EXTRACTING
from facts.models import OPEN_STATES, Extraction, ExtractionBatch, ExtractionState
from memoryhub.core.observability import metrics
from memoryhub.core.tenancy import in_workspace
from sessions.models import NOT_READ

ACTOR = Actor.system("extraction")
SUSPECT_DEATHS = 2
"""A window during which the worker ended as often as this is read alone, so that it takes no other down with it."""
# A death is counted when the window is taken again: one that waits for that counts too.
SUSPECT = f"e.deaths >= {SUSPECT_DEATHS - 1} and (e.state = 'running' or e.deaths >= {SUSPECT_DEATHS})"

PEOPLE_AT_ONCE = 64

READY = """e.workspace_id = %(workspace)s and e.state in ({open})
       and (e.state <> 'running' and e.next_attempt_at <= %(now)s
            or e.state = 'running' and e.leased_until < %(now)s and e.batch_id is null)
       and {kind}"""
# In steps, each kept from being planned into the next: the planner knows little of what was said just now.
FIRST_OF_EACH_PERSON = """
with ready as materialized (
    select e.subject_id
      from facts_extraction e
     where {ready} and e.subject_id <> all(%(passed)s)
     order by e.next_attempt_at, e.id
     limit %(people)s
), first as materialized (
    select oldest.id
      from (select distinct subject_id from ready) person
     cross join lateral (
        select e.id
          from facts_extraction e
          join memory_sessions_session s on s.id = e.session_id
          join access_agent a on a.id = s.agent_id
         where e.subject_id = person.subject_id and e.state in ({open}) and a.mode = any(%(modes)s)
         order by e.id
         limit 1
     ) oldest
)
select array(select distinct subject_id from ready),
       array(select e.id
               from first
               join facts_extraction e on e.id = first.id
               join memory_sessions_subject p on p.id = e.subject_id
              where {ready} and {read}
              order by e.next_attempt_at, e.id)
"""

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
        claimed: list[Extraction] = []
        for firsts in _first_of_each_person(workspace_id, now, suspects=suspects, split_only=split_only):
            untaken = Q(leased_until__isnull=True) | Q(leased_until__lt=now)
            free = Extraction.objects.select_for_update(skip_locked=True).filter(untaken, pk__in=firsts)
            claimed += [
                row
                for row in free.order_by("next_attempt_at", "id")[: most - len(claimed)]
                if _waits(row, now) and _is_suspect(row) == suspects
            ]
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
        return any(_first_of_each_person(workspace_id, timezone.now(), suspects=True))


def _waits(row: Extraction, now: datetime) -> bool:
    """Whether the window, locked by now, still is what READY found."""
    if row.state == ExtractionState.RUNNING:
        return row.batch_id is None and row.leased_until is not None and row.leased_until < now
    return row.state in OPEN_STATES and row.next_attempt_at <= now


def _is_suspect(row: Extraction) -> bool:
    return row.deaths + (row.state == ExtractionState.RUNNING) >= SUSPECT_DEATHS


def _first_of_each_person(
    workspace_id: UUID, now: datetime, *, suspects: bool, split_only: bool = False
) -> Iterator[list[UUID]]:
    """Due windows before which nothing of their person has to be read, and that may be read; some people at once."""
    kinds = [SUSPECT if suspects else f"not ({SUSPECT})", *(["e.error = any(%(split)s)"] if split_only else [])]
    still_open = ", ".join(f"'{state}'" for state in OPEN_STATES)
    statement = FIRST_OF_EACH_PERSON.format(
        ready=READY.format(open=still_open, kind=" and ".join(kinds)),
        open=still_open,
        read=" and ".join(f"p.{column} is null" for column in NOT_READ),
    )
    passed: list[UUID] = []
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                statement,
                {
                    "workspace": workspace_id,
                    "now": now,
                    "modes": list(EXTRACTING),
                    "split": list(SPLIT),
                    "passed": passed,
                    "people": PEOPLE_AT_ONCE,
                },
            )
            people, firsts = cursor.fetchone()
        if not people:
            return
        if firsts:
            yield firsts
        passed += people


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
