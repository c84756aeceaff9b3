"""What an `extractor` process does: cut what is due into windows, and read several at once, without end.

Workers need not know of each other. Rows that wait are the queue, claimed with a lease; a worker that dies is succeeded
by one of its name, which ends the leases it left.
"""

import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from uuid import UUID

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from facts.extraction import breaker, claims, pipeline
from facts.extraction.batch import BatchWork
from facts.extraction.interface import BatchExtractor, ExtractionFailed, Extractor
from facts.extraction.windows import plan_windows
from memoryhub.access.models import Workspace
from memoryhub.core.tenancy import in_workspace

log = structlog.get_logger(__name__)

REST_SECONDS = 0.2
PLAN_SECONDS = 1.0
CLAIM_SECONDS = 0.1  # looking for windows costs as much for one as for several
DATABASE_AWAY = (OperationalError, InterfaceError)


class Worker:
    """Reads windows with `extractor`, up to `concurrency` at once. Used from one thread; `close` ends it."""

    def __init__(self, extractor: Extractor, *, name: str, concurrency: int | None = None) -> None:
        self.extractor = extractor
        self.name = name
        self.concurrency = concurrency or settings.EXTRACT_CONCURRENCY
        self._pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="extract")
        self._running: dict[Future[str], claims.Claim] = {}
        self._unreturned: list[claims.Claim] = []
        self._planned_at = self._claimed_at = float("-inf")
        self._workspaces: list[UUID] = []
        self._suspects: list[UUID] = []
        self._took_over = False
        self._turn = 0
        self._batches = BatchWork(extractor, worker=name) if isinstance(extractor, BatchExtractor) else None
        self._sends_batches = settings.EXTRACT_BATCH and self._batches is not None

    def step(self) -> bool:
        """Do what there is to do; whether anything was. Waits a moment for a running window, if there are any."""
        moved = self._collect()
        if time.monotonic() - self._planned_at >= PLAN_SECONDS:
            moved += self._look_around()
            self._planned_at = time.monotonic()
        if self._batches is not None:
            moved += self._batches.step(self._workspaces)
        moved += self._claim()
        return bool(moved or self._running)

    def _look_around(self) -> int:
        """Which workspaces there are, what is due in them, and where a window waits that has to be read alone."""
        self._workspaces = list(Workspace.objects.order_by("id").values_list("pk", flat=True))
        if not self._took_over:
            self._warm_up()
            breaker.reset(self.extractor.name, worker=self.name)
            for workspace_id in self._workspaces:
                claims.take_over(workspace_id, worker=self.name)
            self._took_over = True
        planned = sum(plan_windows(workspace_id) for workspace_id in self._workspaces)
        self._suspects = [one for one in self._workspaces if claims.suspects_wait(one)]
        return planned

    def close(self) -> bool:
        """Stop at once: what is being read is given back, and read again by whoever comes next.

        Whether calls are still under way: their threads would hold up the end of the process.
        """
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._batches is not None:
            self._batches.close()
        under_way = any(not future.done() for future in self._running)
        try:
            for claim in [*self._running.values(), *self._unreturned]:
                claims.give_back(claim)
        except DATABASE_AWAY as error:
            log.warning("extraction.database_unavailable", reason=type(error).__name__)  # the leases end by themselves
        self._running.clear()
        self._unreturned.clear()
        return under_way

    def _warm_up(self) -> None:
        """Load the provider's client before a window is taken: on a busy host that takes longer than to read one."""
        if isinstance(self.extractor, BatchExtractor) and not self.extractor.problem():
            try:
                self.extractor.client().messages.batches  # noqa: B018 - loaded when first looked at
            except ExtractionFailed as failure:
                log.warning("extraction.not_ready", reason=failure.code)

    def _claim(self) -> int:
        """Take what there is room for, a share from each workspace in turn."""
        free = self.concurrency - len(self._running)
        if not free or any(claim.alone for claim in self._running.values()):
            return 0
        if self._running and time.monotonic() - self._claimed_at < CLAIM_SECONDS:
            return 0
        self._claimed_at = time.monotonic()
        if problem := self.extractor.problem():
            breaker.report(breaker.Leave(self.extractor.name), problem)
            return 0
        leave = breaker.enter(self.extractor.name, worker=self.name)
        if leave is None:
            return 0
        if leave.probe is not None:
            free = 1
        if self._suspects and self._running:
            return 0  # let the others finish: it is read alone
        taken = self._take_alone() if self._suspects else []
        if not taken:
            taken = self._take(free)
        if not taken:
            breaker.hand_back(leave)
        for claim in taken:
            self._running[self._pool.submit(_work, claim, self.extractor, leave)] = claim
        return len(taken)

    def _take_alone(self) -> list[claims.Claim]:
        """One window that has to be read alone, unless another worker was faster."""
        suspects, self._suspects = self._suspects, []
        for workspace_id in suspects:
            if taken := claims.claim_windows(workspace_id, worker=self.name, most=1, suspects=True):
                return taken
        return []

    def _take(self, free: int) -> list[claims.Claim]:
        """Up to `free` windows, a share from each workspace; another one is first each time."""
        order = self._workspaces[self._turn :] + self._workspaces[: self._turn]
        self._turn = (self._turn + 1) % max(len(order), 1)
        taken: list[claims.Claim] = []
        for workspace_id in order:
            left = free - len(taken)
            if not left:
                break
            share = left if workspace_id == order[-1] else max(left // 2, 1)
            taken += claims.claim_windows(workspace_id, worker=self.name, most=share, split_only=self._sends_batches)
        return taken

    def _collect(self) -> int:
        """Take note of what finished; a moment's wait when nothing has yet."""
        for claim in list(self._unreturned):
            claims.give_back(claim)
            self._unreturned.remove(claim)
        if not self._running:
            return 0
        done, _ = wait(self._running, timeout=REST_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            claim = self._running.pop(future)
            error = future.exception()
            if isinstance(error, DATABASE_AWAY):
                self._unreturned.append(claim)
                log.warning("extraction.database_unavailable", reason=type(error).__name__)
            elif error is not None:
                # A fault of the hub's own. The window is tried again, and is a dead letter if it goes on.
                log.error("extraction.internal_error", extraction=claim.extraction_id, exc_info=error)
                fail_internally(claim)
        return len(done)


def _work(claim: claims.Claim, extractor: Extractor, leave: breaker.Leave) -> str:
    try:
        return pipeline.work_on(claim, extractor, leave)
    except DATABASE_AWAY:
        connection.close()
        raise


def fail_internally(claim: claims.Claim) -> None:
    with in_workspace(claim.workspace_id):
        row = claims.held(claim)
        if row is not None:
            claims.retry_or_bury(row, code=claims.INTERNAL_ERROR, retryable=True)
