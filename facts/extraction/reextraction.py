"""Reading stored turns again, with another prompt or model: what would change first, then, if wanted, the change.

A dry run does exactly what applying does, in a transaction that is rolled back: it cannot differ from it.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.actors import Actor
from audit.services import record
from facts.decision import Outcome
from facts.extraction.cost import cost_of, count_day
from facts.extraction.interface import Extracted, ExtractionFailed, Extractor, Usage, Window
from facts.extraction.pipeline import extract_in_pieces, write_facts
from facts.extraction.windows import has_something_to_read, load_window, may_be_read, unread_windows
from facts.models import Extraction, ExtractionState, FactVersion, Status
from facts.services import Written
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Subject

SESSIONS_LOOKED_AT = 1_000


@dataclass(frozen=True, slots=True)
class Change:
    """What one statement does. `before` is what the fact says now, where it says something."""

    subject_id: UUID
    outcome: Outcome
    reason: str
    handle: str
    before: str
    after: str


@dataclass
class Report:
    """What reading again came to."""

    windows: int = 0
    changes: list[Change] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal | None = Decimal(0)

    @property
    def counts(self) -> Counter[str]:
        return Counter(change.outcome.value for change in self.changes)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which stored turns: of one person or one session, or all; said since then; at most so many windows."""

    subject_id: UUID | None = None
    session: str = ""
    since: datetime | None = None
    limit: int = 100


def reextract(
    *, workspace_id: UUID, scope: Scope, extractor: Extractor, actor: Actor, apply: bool, concurrency: int = 4
) -> Report:
    """Read what was read before, or never, again. Writes facts only with `apply`, and all of one person at once.

    A window whose reading fails is left as it is and counted. The log tells whose memory was looked at.
    """
    report = Report()
    with in_workspace(workspace_id):
        found = [(row, load_window(row)) for row in stored_windows(workspace_id, scope)]
    windows = [(row, window) for row, window in found if has_something_to_read(window)]
    with ThreadPoolExecutor(concurrency) as pool:
        answers = list(pool.map(lambda pair: _read(extractor, pair[1]), windows))
    read = []
    for (row, _), answer in zip(windows, answers, strict=True):
        _count(report, workspace_id, answer)
        if isinstance(answer, Extracted):
            read.append((row, answer))
    read.sort(key=lambda pair: (str(pair[0].subject_id), pair[0].session.started_at, pair[0].first_index))
    for subject_id, pairs in groupby(read, key=lambda pair: pair[0].subject_id):
        report.changes += _write(workspace_id, subject_id, list(pairs), actor=actor, apply=apply)
    return report


def stored_windows(workspace_id: UUID, scope: Scope) -> list[Extraction]:
    """The windows that were read, and (not saved) those of turns that no window holds and none is due for."""
    sessions = Session.objects.filter(may_be_read(), workspace_id=workspace_id)
    if scope.subject_id:
        sessions = sessions.filter(subject=scope.subject_id)
    if scope.session:
        sessions = sessions.filter(external_id=scope.session)
    if scope.since:
        sessions = sessions.filter(last_turn_at__gte=scope.since)
    done = (
        Extraction.objects.filter(session__in=sessions, state=ExtractionState.DONE)
        .select_related("session")
        .order_by("id")[: scope.limit]
    )
    rows = list(done)
    if len(rows) < scope.limit:
        idle = sessions.filter(extract_due_at__isnull=True).order_by("id")[:SESSIONS_LOOKED_AT]
        rows += unread_windows(list(idle))[: scope.limit - len(rows)]
    return rows


def _read(extractor: Extractor, window: Window) -> Extracted | ExtractionFailed:
    try:
        return extract_in_pieces(extractor, window)
    except ExtractionFailed as failure:
        return failure


def _count(report: Report, workspace_id: UUID, answer: Extracted | ExtractionFailed) -> None:
    """Tokens are spent whether or not anything is written."""
    now = timezone.now()
    failed = isinstance(answer, ExtractionFailed)
    cost = cost_of(answer.model, answer.usage, day=now.date())
    report.windows += 1
    report.usage += answer.usage
    report.cost_usd = None if report.cost_usd is None or cost is None else report.cost_usd + cost
    if isinstance(answer, ExtractionFailed):
        report.failures[answer.code] += 1
    if answer.model:
        with in_workspace(workspace_id):
            count_day(
                workspace_id=workspace_id,
                model=answer.model,
                usage=answer.usage,
                cost=cost,
                batched=False,
                failed=failed,
                at=now,
            )


def _write(
    workspace_id: UUID, subject_id: UUID, read: Sequence[tuple[Extraction, Extracted]], *, actor: Actor, apply: bool
) -> list[Change]:
    """Write what was read about one person, and take it back unless it is to stay."""
    changes: list[Change] = []
    with in_workspace(workspace_id):
        subject = Subject.objects.select_for_update(no_key=True).filter(pk=subject_id).first()
        if subject is None:
            return []
        with transaction.atomic():
            before = _current(subject)
            for row, extracted in read:
                changes += [_change(subject, one, before) for one in write_facts(row, subject, extracted)]
                _mark_read(row, extracted)
            if not apply:
                transaction.set_rollback(True)
        record(
            actor,
            "memory.reextracted" if apply else "memory.viewed",
            subject,
            subject=subject,
            data={"what": "reextraction", "turns": sum(len(row.indexes) for row, _ in read), "facts": len(changes)},
        )
    return changes


def _current(subject: Subject) -> dict[UUID, str]:
    current = FactVersion.objects.filter(fact__subject=subject, status=Status.CURRENT)
    return dict(current.values_list("fact_id", "content"))


def _change(subject: Subject, written: Written, before: dict[UUID, str]) -> Change:
    fact = written.version.fact
    known = before.get(fact.id, "")
    if written.outcome in (Outcome.ADDED, Outcome.SUPERSEDED):
        before[fact.id] = written.version.content
    return Change(subject.id, written.outcome, written.reason, fact.handle_text, known, written.version.content)


def _mark_read(row: Extraction, extracted: Extracted) -> None:
    row.state = ExtractionState.DONE
    row.model, row.prompt_version = extracted.model, extracted.prompt_version
    row.finished_at = timezone.now()
    row.save()
