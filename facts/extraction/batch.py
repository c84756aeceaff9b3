"""Batch mode: windows sent together by the Message Batches API, at half the price and an answer within a day.

The same guarantees as one by one. Windows are claimed, and the batch's row committed, before it is created at the
provider; its id there is committed afterwards. A worker that dies in between leaves a batch whose id nobody wrote down:
it is found again by the ids that its items carry, which name our batch and our windows.
"""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from facts.extraction import breaker
from facts.extraction.claims import SUSPECT_DEATHS, Claim, release, take
from facts.extraction.interface import SPLIT, BatchExtractor, Extracted, ExtractionFailed, Window
from facts.extraction.pipeline import apply, failed
from facts.extraction.windows import due_windows, has_something_to_read, load_window
from facts.models import BatchState, Extraction, ExtractionBatch, ExtractionState
from memoryhub.core.tenancy import in_workspace

log = structlog.get_logger(__name__)

WORKER = "batch"
ANSWERED_WITHIN = timedelta(hours=30)
"""The provider ends a batch after 24 hours; what is not known of it by then it cannot tell any more."""
LEASE = timedelta(minutes=10)  # of looking after one batch
CLOCKS_DIFFER = timedelta(minutes=5)
LOST_AFTER = timedelta(minutes=15)
"""A batch that the provider does not list by then was never created there."""
UNCERTAIN = frozenset({"connection_failed", "timed_out", "bad_gateway", "server_error"})
"""Failures after which nobody knows whether the batch was created."""

ITEM_ERRORS = {
    "invalid_request_error": "bad_request",
    "authentication_error": "authentication_failed",
    "billing_error": "billing_failed",
    "permission_error": "permission_denied",
    "not_found_error": "model_not_found",
    "rate_limit_error": "rate_limited",
    "timeout_error": "timed_out",
    "overloaded_error": "overloaded",
}


class BatchWork:
    """Sends, asks after and applies batches, one thing at a time in a thread of its own."""

    def __init__(self, extractor: BatchExtractor, *, worker: str) -> None:
        self.extractor = extractor
        self.worker = worker
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._round: Future[int] | None = None
        self._began_at = float("-inf")

    def step(self, workspaces: Sequence[UUID]) -> int:
        """Begin a round when one is due; how much the last one moved."""
        moved = 0
        if self._round is not None:
            if not self._round.done():
                return 0
            error = self._round.exception()
            if error is not None:
                log.error("extraction.batch_round_failed", exc_info=error)
            else:
                moved = self._round.result()
            self._round = None
        if time.monotonic() - self._began_at >= settings.EXTRACT_BATCH_POLL_SECONDS:
            self._began_at = time.monotonic()
            self._round = self._pool.submit(self._look_after_all, list(workspaces))
        return moved

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _look_after_all(self, workspaces: Sequence[UUID]) -> int:
        try:
            return look_after_batches(self.extractor, workspaces, worker=self.worker)
        except (OperationalError, InterfaceError):
            connection.close()
            raise


def look_after_batches(extractor: BatchExtractor, workspaces: Sequence[UUID], *, worker: str = "") -> int:
    """One round: take each open batch a step further, and send what has gathered. Returns how many batches moved.

    Stops at the first failure of the provider, which the breaker is told of; what was begun goes on next time.
    """
    if extractor.problem():
        return 0
    leave = breaker.enter(extractor.name, worker=worker)
    if leave is None:
        return 0
    moved = 0
    asked = False
    code, retry_after = "", None
    began = timezone.now()
    try:
        for workspace_id in workspaces:
            while (batch := _claim(workspace_id, began)) is not None:
                asked = True
                moved += _take_further(extractor, batch, workspaces)
            if settings.EXTRACT_BATCH:
                sent = submit(extractor, workspace_id)
                asked, moved = asked or bool(sent), moved + sent
    except ExtractionFailed as failure:
        asked = True
        code, retry_after = failure.code, failure.retry_after
        log.warning("extraction.batch_failed", reason=failure.code)
    finally:
        # Where nothing was asked, nothing was learned of the provider.
        if asked:
            breaker.report(leave, code, retry_after=retry_after)
        else:
            breaker.hand_back(leave)
    return moved


def submit(extractor: BatchExtractor, workspace_id: UUID) -> int:
    """Send the windows that wait, once enough have gathered or the oldest has waited long enough.

    Raises ExtractionFailed.
    """
    with in_workspace(workspace_id):
        batch, windows, claims = _gather(workspace_id)
    if batch is None:
        return 0
    for window in windows:
        if not has_something_to_read(window):
            apply(claims[window.extraction_id], Extracted((), model="", prompt_version=""), batched=True)
    requests = [
        {"custom_id": custom_id(batch, window.extraction_id), "params": extractor.request(window)}
        for window in windows
        if has_something_to_read(window)
    ]
    if not requests:
        _finish(batch, BatchState.DELETED)
        return 1
    try:
        created = _ask(extractor, lambda: extractor.client().messages.batches.create(requests=requests))
    except ExtractionFailed as failure:
        if failure.code not in UNCERTAIN:
            for claim in claims.values():
                failed(claim, failure, batched=True)
            _finish(batch, BatchState.LOST)
        raise
    _submitted(batch, created.id)
    log.info("extraction.batch_submitted", batch=batch.id, count=len(requests))
    return 1


def custom_id(batch: ExtractionBatch, extraction_id: UUID) -> str:
    """What an item is called at the provider: the window, and the end of our batch's id."""
    return f"{extraction_id.hex}-{_tail(batch)}"


def _tail(batch: ExtractionBatch) -> str:
    return batch.id.hex[-16:]


def _gather(workspace_id: UUID) -> tuple[ExtractionBatch | None, list[Window], dict[UUID, Claim]]:
    """Claim what is to be sent, and remember what each window was told, in the caller's transaction."""
    now = timezone.now()
    others = Extraction.objects.filter(subject=OuterRef("subject"), state=ExtractionState.RUNNING)
    waiting = (
        due_windows(workspace_id=workspace_id, now=now)
        .filter(
            ~Exists(others),
            Q(state__in=(ExtractionState.DUE, ExtractionState.FAILED)),
            deaths__lt=SUSPECT_DEATHS,
        )
        .exclude(error__in=SPLIT)
    )
    rows = list(
        waiting.select_for_update(skip_locked=True, of=("self",))
        .select_related("session")
        .order_by("id")[: settings.EXTRACT_BATCH_SIZE]
    )
    gathered = timedelta(seconds=settings.EXTRACT_BATCH_GATHER_SECONDS)
    if not rows or (
        len(rows) < settings.EXTRACT_BATCH_SIZE and min(row.next_attempt_at for row in rows) > now - gathered
    ):
        return None, [], {}
    batch = ExtractionBatch.objects.create(workspace_id=workspace_id, size=0, leased_until=now + LEASE)
    taken = take(rows, worker=WORKER, now=now, until=now + ANSWERED_WITHIN, batch=batch)
    windows = []
    for row in taken:
        window = load_window(row)
        row.known_handles = [int(fact.handle[1:]) for fact in window.known]
        windows.append(window)
    Extraction.objects.bulk_update(taken, ["known_handles"])
    batch.size = sum(has_something_to_read(window) for window in windows)
    batch.save(update_fields=["size"])
    return batch, windows, {row.id: _claim_of(row) for row in taken}


def _claim_of(row: Extraction) -> Claim:
    if row.lease is None:
        raise AssertionError("a window that was sent has a lease")
    return Claim(row.id, row.workspace_id, row.subject_id, row.lease, row.attempts)


def _claim(workspace_id: UUID, round_began: datetime) -> ExtractionBatch | None:
    """A batch that nobody looks after now, for LEASE; in one round each comes once."""
    with in_workspace(workspace_id):
        now = timezone.now()
        since = min(round_began, now - timedelta(seconds=settings.EXTRACT_BATCH_POLL_SECONDS))
        batch = (
            ExtractionBatch.objects.select_for_update(skip_locked=True)
            .filter(
                Q(leased_until__isnull=True) | Q(leased_until__lt=now),
                Q(looked_at__isnull=True) | Q(looked_at__lt=since),
                workspace_id=workspace_id,
                state__in=(BatchState.CREATING, BatchState.SUBMITTED, BatchState.APPLIED),
            )
            .order_by("id")
            .first()
        )
        if batch is not None:
            batch.leased_until, batch.looked_at = now + LEASE, now
            batch.save(update_fields=["leased_until", "looked_at"])
        return batch


def _take_further(extractor: BatchExtractor, batch: ExtractionBatch, workspaces: Sequence[UUID]) -> int:
    moved = 0
    try:
        if batch.state == BatchState.CREATING:
            moved += _recover(extractor, batch, workspaces)
        if batch.state == BatchState.SUBMITTED:
            moved += _apply_if_ended(extractor, batch)
        if batch.state == BatchState.APPLIED:
            _delete(extractor, batch)
            moved += 1
    finally:
        with in_workspace(batch.workspace_id):
            ExtractionBatch.objects.filter(pk=batch.pk).update(leased_until=None)
    return moved


def _apply_if_ended(extractor: BatchExtractor, batch: ExtractionBatch) -> int:
    import anthropic

    client = extractor.client()
    try:
        if _ask(extractor, lambda: client.messages.batches.retrieve(batch.provider_id)).processing_status != "ended":
            return 0
        results = {
            item.custom_id: item.result
            for item in _ask(extractor, lambda: list(client.messages.batches.results(batch.provider_id)))
        }
    except ExtractionFailed as failure:
        if not isinstance(failure.__cause__, anthropic.NotFoundError):
            raise
        results = {}  # deleted by somebody, or kept no longer: what it held has to be asked for again
    apply_results(extractor, batch, results)
    _finish(batch, BatchState.APPLIED)
    return 1


def apply_results(extractor: BatchExtractor, batch: ExtractionBatch, results: dict[str, Any]) -> None:
    """Write what each window of the batch states, in the order they were said; what was before is left alone."""
    with in_workspace(batch.workspace_id):
        rows = list(
            Extraction.objects.filter(batch=batch, state=ExtractionState.RUNNING)
            .select_related("session")
            .order_by("id")
        )
    for row in rows:
        with in_workspace(batch.workspace_id):
            window = load_window(row, handles=row.known_handles)
            ExtractionBatch.objects.filter(pk=batch.pk).update(leased_until=timezone.now() + LEASE)
        try:
            extracted = _read(extractor, window, results.get(custom_id(batch, row.id)))
        except ExtractionFailed as failure:
            failed(_claim_of(row), failure, batched=True)
        else:
            apply(_claim_of(row), extracted, batched=True)


def _read(extractor: BatchExtractor, window: Window, result: Any) -> Extracted:
    """Raises ExtractionFailed for an item that did not succeed."""
    if result is None:
        # Nothing was sent of a window in which nobody says anything; a worker died before it could say so.
        if has_something_to_read(window):
            raise ExtractionFailed("batch_item_missing")
        return Extracted((), model="", prompt_version="")
    if result.type == "succeeded":
        return extractor.read(window, result.message)
    if result.type in ("expired", "canceled"):
        raise ExtractionFailed(f"batch_{result.type}")
    error = result.error.error
    if error.type == "invalid_request_error" and "too long" in error.message:
        raise ExtractionFailed("prompt_too_long")
    raise ExtractionFailed(ITEM_ERRORS.get(error.type, "server_error"))


def _delete(extractor: BatchExtractor, batch: ExtractionBatch) -> None:
    """Take the batch, with what was said in it, away from the provider."""
    import anthropic

    try:
        _ask(extractor, lambda: extractor.client().messages.batches.delete(batch.provider_id))
    except ExtractionFailed as failure:
        if not isinstance(failure.__cause__, anthropic.NotFoundError):
            raise
    _finish(batch, BatchState.DELETED)


def _recover(extractor: BatchExtractor, batch: ExtractionBatch, workspaces: Sequence[UUID]) -> int:
    """Find a batch whose creation nobody saw the end of, or let its windows wait again. Raises ExtractionFailed."""
    client = extractor.client()
    known = _known_ids(workspaces)
    undecided = False
    for candidate in _ask(extractor, lambda: _listed(client, batch.created_at - CLOCKS_DIFFER)):
        if candidate.id in known or candidate.created_at > batch.created_at + LOST_AFTER + CLOCKS_DIFFER:
            continue
        counts = candidate.request_counts
        if batch.size != counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired:
            continue
        if candidate.processing_status != "ended":
            undecided = True  # its items have no names yet
            continue
        first = _ask(extractor, lambda found=candidate: next(iter(client.messages.batches.results(found.id)), None))
        if first is not None and first.custom_id.endswith(f"-{_tail(batch)}"):
            _submitted(batch, candidate.id)
            log.info("extraction.batch_recovered", batch=batch.id)
            return 1
    if undecided or timezone.now() < batch.created_at + LOST_AFTER:
        return 0
    _give_up(batch)
    return 1


def _listed(client: Any, since: datetime) -> list[Any]:
    """The provider's batches since then; it lists the newest first."""
    found = []
    for batch in client.messages.batches.list(limit=100):
        if batch.created_at < since:
            break
        found.append(batch)
    return found


def _known_ids(workspaces: Iterable[UUID]) -> set[str]:
    known: set[str] = set()
    for workspace_id in workspaces:
        with in_workspace(workspace_id):
            known |= set(ExtractionBatch.objects.exclude(provider_id="").values_list("provider_id", flat=True))
    return known


def _give_up(batch: ExtractionBatch) -> None:
    """It never reached the provider: its windows wait as if they had not been taken."""
    with in_workspace(batch.workspace_id):
        for row in Extraction.objects.select_for_update().filter(batch=batch, state=ExtractionState.RUNNING):
            release(row)
    _finish(batch, BatchState.LOST)


def _submitted(batch: ExtractionBatch, provider_id: str) -> None:
    with in_workspace(batch.workspace_id):
        batch.provider_id, batch.state, batch.submitted_at = provider_id, BatchState.SUBMITTED, timezone.now()
        batch.leased_until = None
        batch.save(update_fields=["provider_id", "state", "submitted_at", "leased_until"])


def _finish(batch: ExtractionBatch, state: BatchState) -> None:
    with in_workspace(batch.workspace_id):
        batch.state, batch.finished_at = state, timezone.now()
        batch.save(update_fields=["state", "finished_at"])


def _ask(extractor: BatchExtractor, call: Any) -> Any:
    """What the provider answers. Raises ExtractionFailed."""
    import anthropic

    try:
        return call()
    except anthropic.AnthropicError as error:
        raise extractor.translated(error) from error
