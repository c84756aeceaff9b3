"""One window: read it outside any transaction, then write everything it states in one.

The answer and the state of the window are written together, by whoever holds its lease. A worker that dies before that
leaves nothing behind but a counted attempt; one that comes late finds the lease gone and writes nothing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

import structlog
from django.conf import settings
from django.utils import timezone

from audit.services import entries_together, record
from facts.extraction import breaker
from facts.extraction.claims import ACTOR, Claim, held, prolong, release, retry_or_bury
from facts.extraction.cost import cost_of, count_day
from facts.extraction.interface import (
    BLOCKED,
    PROVIDER,
    SPLIT,
    Extracted,
    ExtractedFact,
    ExtractionFailed,
    Extractor,
    Usage,
    Window,
)
from facts.extraction.windows import EXTRACTING, TESTIFYING, halved, has_something_to_read, load_window
from facts.forgetting import not_erased
from facts.models import Extraction, ExtractionState, Fact
from facts.services import FactInput, Written, facts_record
from memoryhub.core.observability import metrics
from memoryhub.core.tenancy import in_workspace
from sessions.models import Subject, Turn

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an answer: `done`, `waits` (nothing may be extracted now) or `lost` (another took the window)."""

    state: str
    written: int = 0


def work_on(claim: Claim, extractor: Extractor, leave: breaker.Leave) -> str:
    """Read the window of a claim and write what it states; returns how it ended, as a code for logs and figures."""
    began = time.perf_counter()
    with in_workspace(claim.workspace_id):
        row = held(claim)
        window = load_window(row) if row is not None else None
    if window is None:
        breaker.hand_back(leave)
        return "lost"
    if not has_something_to_read(window):
        breaker.hand_back(leave)
        extracted = Extracted((), model="", prompt_version="")
    else:
        try:
            extracted = extract_in_pieces(extractor, window, before_each=lambda: prolong(claim))
        except ExtractionFailed as failure:
            breaker.report(leave, failure.code, retry_after=failure.retry_after)
            return failed(claim, failure, was_probe=leave.probe is not None)
        breaker.report(leave)
    elapsed_ms = (time.perf_counter() - began) * 1000
    metrics.EXTRACTION_SECONDS.observe(elapsed_ms / 1000)
    return apply(claim, extracted, elapsed_ms=elapsed_ms).state


def extract_in_pieces(
    extractor: Extractor, window: Window, *, before_each: Callable[[], object] = lambda: None
) -> Extracted:
    """The window's facts, read whole, or in halves where that is too much for one answer.

    Raises ExtractionFailed with all that was used until then; a piece that cannot be halved fails with it.
    """
    try:
        return extractor.extract(window)
    except ExtractionFailed as failure:
        halves = halved(window) if failure.code in SPLIT else None
        if halves is None:
            raise
        used = failure.usage
    facts: list[ExtractedFact] = []
    extracted = None
    for half in halves:
        before_each()
        try:
            extracted = extract_in_pieces(extractor, half, before_each=before_each)
        except ExtractionFailed as failure:
            failure.usage += used
            raise
        facts += extracted.facts
        used += extracted.usage
    if extracted is None:
        raise AssertionError("a window has two halves")
    return replace(extracted, facts=tuple(facts), usage=used)


def apply(claim: Claim, extracted: Extracted, *, elapsed_ms: float = 0.0, batched: bool = False) -> Applied:
    """Write the facts, that the window is done, and the audit entry: all of it or nothing, and only once."""
    with in_workspace(claim.workspace_id):
        # The person before the window, the order in which erasure takes them too.
        people = Subject.objects.select_for_update(no_key=True, of=("self",)).select_related("workspace")
        subject = people.filter(pk=claim.subject_id).first()
        row = held(claim) if subject is not None else None
        if subject is None or row is None:
            log.info("extraction.lost", extraction=claim.extraction_id, attempt=claim.attempt)
            return Applied("lost")
        cost = _count_usage(row, extracted.usage, extracted.model, batched=batched)
        if not _may_be_read_now(row, subject):
            release(row)
            _count_day(row, extracted.usage, extracted.model, cost, batched=batched, failed=False)
            return Applied("waits")
        with entries_together():
            counts = _counts(write_facts(row, subject, extracted), extracted)
            row.state = ExtractionState.DONE
            row.error = ""
            row.lease, row.leased_by, row.leased_until = None, "", None
            row.model, row.prompt_version = extracted.model, extracted.prompt_version
            row.request_id = extracted.request_id[:100]
            row.counts = counts
            row.finished_at = timezone.now()
            row.save()
            record(
                ACTOR,
                "extraction.done",
                row,
                subject=row.subject_id,
                session=row.session_id,
                data={
                    "extraction_id": row.id,
                    "first_index": row.first_index,
                    "last_index": row.last_index,
                    "attempts": row.attempts,
                    "input_tokens": row.input_tokens,
                    "output_tokens": row.output_tokens,
                    "elapsed_ms": elapsed_ms,
                    **counts,
                }
                | ({"model": extracted.model.replace("@", ":")[:128]} if extracted.model else {}),
            )
        _count_day(row, extracted.usage, extracted.model, cost, batched=batched, failed=False)
    metrics.EXTRACTION_ATTEMPTS.labels("done").inc()
    return Applied("done", sum(counts.values()) - counts.get("discarded", 0))


def failed(claim: Claim, failure: ExtractionFailed, *, was_probe: bool = False, batched: bool = False) -> str:
    """Put the window where its failure belongs: to wait as before, to be tried again, or among the dead letters."""
    with in_workspace(claim.workspace_id):
        row = held(claim)
        if row is None:
            return "lost"
        cost = _count_usage(row, failure.usage, failure.model, batched=batched)
        row.request_id = failure.request_id[:100] or row.request_id
        if failure.code in BLOCKED or (was_probe and failure.code in PROVIDER):
            # Nothing is wrong with the window: it waits behind the breaker, with the attempts it had.
            release(row, error=failure.code)
        else:
            retry_or_bury(row, code=failure.code, retryable=failure.retryable, retry_after=failure.retry_after)
        _count_day(row, failure.usage, failure.model, cost, batched=batched, failed=True)
    log.warning("extraction.failed", extraction=claim.extraction_id, attempt=claim.attempt, reason=failure.code)
    return failure.code


def _may_be_read_now(row: Extraction, subject: Subject) -> bool:
    return subject.readable and row.session.agent.mode in EXTRACTING


def write_facts(row: Extraction, subject: Subject, extracted: Extracted) -> list[Written]:
    """Write what a person or a tool stated in a turn of the window that still may be read; in the caller's transaction.

    The subject is locked. What else the answer holds is passed over.
    """
    turns = {
        turn.index: turn
        for turn in Turn.objects.filter(
            session=row.session_id,
            index__in={fact.turn_index for fact in extracted.facts} & set(row.indexes),
            role__in=TESTIFYING,
            withheld_at__isnull=True,
            erased_evidence__isnull=True,
        ).select_related("session")
    }
    read = [(fact, turns[fact.turn_index]) for fact in extracted.facts if fact.turn_index in turns]
    stated = not_erased(read, subject=subject)
    replaced = _facts_by_handle(subject, [fact.replaces for fact in stated if fact.replaces])
    return facts_record(
        subject=subject,
        facts=[as_input(fact, turns[fact.turn_index], replaced) for fact in stated],
        actor=ACTOR,
        agent_id=row.session.agent_id,
        extracted_by=extracted.extracted_by,
        locked=True,
    )


def _counts(written: Sequence[Written], extracted: Extracted) -> dict[str, int]:
    """What became of how many statements; those the extractor itself held back are `discarded` too."""
    counts = {"added": 0, "confirmed": 0, "superseded": 0}
    for one in written:
        counts[one.outcome.value] = counts.get(one.outcome.value, 0) + 1
    if discarded := len(extracted.facts) - len(written) + _dropped(extracted):
        counts["discarded"] = discarded
    return counts


def _dropped(extracted: Extracted) -> int:
    """How many statements the extractor did not let through; one with an unknown handle it did."""
    return sum(count for code, count in extracted.dropped.items() if code != "unknown_handle")


def as_input(fact: ExtractedFact, turn: Turn, replaced: dict[str, UUID]) -> FactInput:
    """An extracted fact as it is written. What it says of another fact holds only while there is such a fact."""
    return FactInput(
        type=fact.type,
        entity=fact.entity,
        content=fact.content,
        attribute=fact.attribute,
        value=fact.value,
        unit=fact.unit,
        mentions=fact.mentions,
        confidence=fact.confidence,
        turn=turn,
        replaces=replaced.get(fact.replaces or ""),
        coexists=fact.coexists,
        special_category=fact.special_category,
    )


def _facts_by_handle(subject: Subject, handles: Sequence[str]) -> dict[str, UUID]:
    numbers = [int(handle[1:]) for handle in handles if handle[1:].isdecimal()]
    found = Fact.objects.filter(subject=subject, handle__in=numbers).only("id", "handle") if numbers else ()
    return {fact.handle_text: fact.id for fact in found}


def _count_usage(row: Extraction, usage: Usage, model: str, *, batched: bool) -> Decimal | None:
    """Add what an attempt used to the window, which the caller saves; returns its cost."""
    row.input_tokens += usage.input_tokens
    row.output_tokens += usage.output_tokens
    row.cache_read_tokens += usage.cache_read_tokens
    row.cache_write_tokens += usage.cache_write_tokens
    row.model = model or row.model
    cost = cost_of(model, usage, day=timezone.now().date(), batched=batched)
    row.cost_usd = None if cost is None or row.cost_usd is None else row.cost_usd + cost
    for kind in ("input", "output", "cache_read", "cache_write"):
        metrics.EXTRACTION_TOKENS.labels(kind).inc(getattr(usage, f"{kind}_tokens"))
    return cost


def _count_day(row: Extraction, usage: Usage, model: str, cost: Decimal | None, *, batched: bool, failed: bool) -> None:
    if model or failed:
        count_day(
            workspace_id=row.workspace_id,
            model=model or settings.EXTRACTOR,
            usage=usage,
            cost=cost,
            batched=batched,
            failed=failed,
            at=timezone.now(),
        )
