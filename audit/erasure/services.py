"""Erasing: plan, begin, run. A run can be killed at any moment; the next one goes on and comes to the same end.

begin   one transaction: nothing of it is written or surfaced any more, and what goes is written down
run     the ledger, outside the database; then each store in a transaction of its own, with its mark in the same
        one; then the verification, by other code; then the certificate
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, connection
from django.db.models import Count, Max, Min
from django.utils import timezone

from audit import registry
from audit.actors import Actor
from audit.erasure import ledger, tombstones, verification
from audit.erasure.certificate import certificate_digest
from audit.erasure.models import OPEN_ERASURES, Erasure, ErasureState, ErasureTrace
from audit.models import Entry
from audit.registry import Part, Scope
from audit.requests.holds import in_force, lock_person
from audit.requests.services import erasure_moved
from audit.services import record
from memoryhub.core.errors import InputError
from memoryhub.core.ids import uuid7
from memoryhub.core.search.models import Vector
from memoryhub.core.tenancy import in_workspace

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=120)
PASSES = 3
"""How often the stores are gone through when somebody wrote into one meanwhile."""
MOST_TEXTS = 48
FRAGMENT = 72
"""Characters of a text that are looked for."""
MOST_LEFT = 200
"""Places that are named of what is left."""
ENDS = {"subject": "subject.erased", "session": "session.erased", "period": "memory.erased", "fact": "fact.erased"}


class ErasureError(InputError):
    """Base of what can go wrong here."""


class NothingThere(ErasureError):
    """There is no such person, session or fact here."""


class AlreadyErasing(ErasureError):
    """An erasure of this person is running."""


class OnHold(ErasureError):
    """A legal hold keeps it."""


class LeaseLost(Exception):
    """Another process goes on with the erasure."""


@dataclass(frozen=True)
class Plan:
    """What an erasure would remove now: rows by store and kind."""

    scope: Scope
    counts: Mapping[str, Mapping[str, int]]

    @property
    def rows(self) -> int:
        return sum(sum(kinds.values()) for kinds in self.counts.values())


def erasure_plan(scope: Scope) -> Plan:
    """Count what would go. Changes nothing. Raises NothingThere."""
    part = _existing(scope)
    return Plan(scope, _counts(scope, part, _texts(scope, part)))


def erasure_begin(
    *, workspace_id: UUID, scope: Scope, actor: Actor, reason: str, request_id: UUID | None = None
) -> Erasure:
    """Seal what is to go and write down what that is, in the caller's transaction. `erasure_run` does the rest.

    From its commit on nothing is surfaced where all of a person goes, late writes are refused, and the erasure is
    carried out whatever happens. Raises NothingThere, AlreadyErasing while another of this person is under way, and
    OnHold.
    """
    lock_person(scope.subject_id)
    _refuse_on_hold(scope)
    if not registry.memory().seal(scope):
        raise NothingThere("subject_id", "There is nothing like that here.")
    if Erasure.objects.filter(subject_id=scope.subject_id, state__in=OPEN_ERASURES).exists():
        raise AlreadyErasing("subject_id", "An erasure of this person is under way.")
    part = _existing(scope)
    return _write_down(
        Erasure(
            id=uuid7(),
            workspace_id=workspace_id,
            subject_id=scope.subject_id,
            kind=scope.kind,
            target=scope.session_id or scope.fact_id,
            since=scope.since,
            until=scope.until,
            statement=scope.statement if scope.fact_id else "",
            reason=reason,
            request_id=request_id,
            actor_kind=actor.kind.value,
            actor_id=actor.id,
        ),
        scope,
        part,
        actor,
    )


def erasure_run(erasure_id: UUID, *, workspace_id: UUID, take_over: bool = False) -> Erasure:
    """Carry out, or go on with, an erasure that has begun; returns it as it ended.

    One process at a time holds it; `take_over` when it is known that no other does, and to try again where something
    was left. An erasure that has ended, or that another process holds, is returned as it is. A database that goes
    away raises: run it again. Raises OnHold where what was left is under a legal hold by now.
    """
    erasure, scope, part, texts = _claimed(erasure_id, workspace_id, take_over=take_over)
    if erasure.state not in OPEN_ERASURES or scope is None:
        return erasure
    try:
        # On the disk before anything is destroyed.
        ledger.append(_line(erasure))
        for _ in range(PASSES):
            # What was written at the last moment can hold up a row that it points to: all of them again.
            done = [_erase_in(store, erasure, scope, part, texts) for store in reversed(registry.stores())]
            if all(done):
                break
        return _verified(erasure, scope, part, texts)
    except LeaseLost:
        with in_workspace(workspace_id):
            return Erasure.objects.get(pk=erasure_id)


def erasures_due(workspace_id: UUID) -> list[UUID]:
    """Erasures that have begun and that nobody is carrying out now."""
    with in_workspace(workspace_id):
        waiting = Erasure.objects.filter(workspace_id=workspace_id, state__in=OPEN_ERASURES)
        now = timezone.now()
        return [one.id for one in waiting.order_by("id") if one.leased_until is None or one.leased_until <= now]


def ledger_missing(source: Path | None = None) -> list[ledger.Line]:
    """What the ledger says was erased and the database knows nothing of, or has not finished.

    Raises LedgerUnreadable.
    """
    return [line for line in ledger.lines(source) if not _is_done(line)]


def ledger_replay(source: Path | None = None) -> list[Erasure]:
    """Erase again what an older state of the database brought back, and finish what a crash interrupted."""
    done = []
    for line in ledger_missing(source):
        with in_workspace(line.workspace_id):
            known = Erasure.objects.filter(pk=line.erasure_id).exists()
            if not known:
                _begin_again(line)
        done.append(erasure_run(line.erasure_id, workspace_id=line.workspace_id, take_over=True))
    return done


def scope_of(erasure: Erasure) -> Scope:
    return Scope(
        erasure.subject_id,
        session_id=erasure.target if erasure.kind == "session" else None,
        fact_id=erasure.target if erasure.kind == "fact" else None,
        since=erasure.since,
        until=erasure.until,
        statement=erasure.statement or "span",
    )


def _write_down(erasure: Erasure, scope: Scope, part: Part | None, actor: Actor) -> Erasure:
    memory = registry.memory()
    texts = _texts(scope, part)
    counts = _counts(scope, part, texts)
    erasure.planned = counts
    erasure.recipients = recipients_of(scope.subject_id, workspace_id=erasure.workspace_id)
    erasure.sealed_at = timezone.now()
    erasure.save(force_insert=True)
    ErasureTrace.objects.create(
        erasure=erasure,
        workspace_id=erasure.workspace_id,
        part={} if part is None else part.as_json(),
        ids=b"".join(one.bytes for one in memory.ids(scope, part)),
        texts=texts,
    )
    tombstones.lay(
        workspace_id=erasure.workspace_id,
        erasure_id=erasure.id,
        stones=memory.stones(scope, part, erasure.sealed_at),
    )
    record(
        actor,
        "erasure.began",
        erasure,
        subject=erasure.subject_id,
        session=scope.session_id,
        reason=erasure.reason,
        data={
            "kind": erasure.kind,
            "stores": len(counts),
            "rows": sum(sum(kinds.values()) for kinds in counts.values()),
        },
    )
    return erasure


def _refuse_on_hold(scope: Scope) -> None:
    if in_force(scope).exists():
        raise OnHold("subject_id", "A legal hold keeps this: it can be erased when the hold is released.")


def _begin_again(line: ledger.Line) -> None:
    """An erasure of which the database knows nothing: as it began then, with what is there of it now."""
    erasure = Erasure(
        id=line.erasure_id,
        workspace_id=line.workspace_id,
        subject_id=line.subject_id,
        kind=line.kind,
        target=line.target,
        since=line.since,
        until=line.until,
        statement=line.statement,
        reason=line.reason,
        actor_kind="system",
        actor_id="ledger",
        created_at=line.at,
    )
    scope = scope_of(erasure)
    registry.memory().seal(scope)
    part = None if scope.kind == "subject" else registry.memory().part_of(scope)
    _write_down(erasure, scope, part, Actor.system("ledger"))
    tombstones.lay(workspace_id=line.workspace_id, erasure_id=line.erasure_id, stones=line.stones)


def _existing(scope: Scope) -> Part | None:
    """The part that the scope is. Raises NothingThere for one of which there is nothing."""
    memory = registry.memory()
    if scope.kind == "subject":
        if not memory.names(scope, None):
            raise NothingThere("subject_id", "There is no such person here.")
        return None
    part = memory.part_of(scope)
    if not part.ids:
        raise NothingThere("subject_id", "There is nothing like that here.")
    return part


def _counts(scope: Scope, part: Part | None, texts: Sequence[str]) -> dict[str, dict[str, int]]:
    return {store.name: store.count(scope.subject_id, part, texts) for store in registry.stores()}


def _texts(scope: Scope, part: Part | None) -> list[str]:
    """Texts by which what is left would show: what callers call the person and sessions, and some of each kind."""
    memory = registry.memory()
    picked: dict[str, None] = dict.fromkeys(name for name in memory.names(scope, part) if _tells(name))
    by_store = [
        sorted({piece for text in store.texts(scope.subject_id, part) if _tells(piece := _piece(text))}, key=len)[::-1]
        for store in registry.stores()
    ]
    longest = max((len(found) for found in by_store), default=0)
    for place in range(longest):
        for found in by_store:
            if place < len(found) and len(picked) < MOST_TEXTS:
                picked[found[place]] = None
    texts = list(picked)
    return texts if part is None else memory.distinct(texts, scope, part)


def _piece(text: str) -> str:
    """The middle of a text, at most FRAGMENT characters of one line."""
    line = max(text.splitlines() or [""], key=len).strip()
    begin = max(0, (len(line) - FRAGMENT) // 2)
    return line[begin : begin + FRAGMENT].strip()


def _tells(text: str) -> bool:
    """Whether a text is long enough to be somebody's alone; ids are looked for as ids."""
    return len(text) >= verification.SHORTEST and not _is_uuid(text)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _claimed(
    erasure_id: UUID, workspace_id: UUID, *, take_over: bool
) -> tuple[Erasure, Scope | None, Part | None, list[str]]:
    """Take the lease; the attempt is counted, and committed, before the work. Without a scope: it is another's."""
    with in_workspace(workspace_id):
        erasure = Erasure.objects.select_for_update().get(pk=erasure_id)
        now = timezone.now()
        held = erasure.leased_until is not None and erasure.leased_until > now and not take_over
        again = take_over and erasure.state == ErasureState.PARTIAL
        if again:
            lock_person(erasure.subject_id)
            _refuse_on_hold(scope_of(erasure))
        if (erasure.state not in OPEN_ERASURES and not again) or held:
            return erasure, None, None, []
        erasure.attempts += 1
        erasure.state = ErasureState.RUNNING
        erasure.leased_until = now + LEASE
        erasure.finished_at = None
        erasure.save(update_fields=["attempts", "state", "leased_until", "finished_at"])
        trace = ErasureTrace.objects.get(pk=erasure_id)
        part = Part.from_json(trace.part) if trace.part else None
        return erasure, scope_of(erasure), part, list(trace.texts)


def _erase_in(
    store: registry.PersonalDataStore, erasure: Erasure, scope: Scope, part: Part | None, texts: Sequence[str]
) -> bool:
    """Erase in one store, in one transaction with the mark that says so. False when it could not be done."""
    try:
        with in_workspace(erasure.workspace_id):
            row = _held(erasure)
            done = store.erase(scope.subject_id, part, texts)
            before = row.erased.get(store.name, {})
            row.erased[store.name] = {kind: before.get(kind, 0) + count for kind, count in done.items()}
            row.failed.pop(store.name, None)
            row.leased_until = timezone.now() + LEASE
            row.save(update_fields=["erased", "failed", "leased_until"])
    except (IntegrityError, OSError) as error:
        failure = type(error).__name__
        log.warning("erasure.step_failed", erasure=erasure.id, store=store.name, reason=failure)
        with in_workspace(erasure.workspace_id):
            row = _held(erasure)
            row.failed[store.name] = failure
            row.save(update_fields=["failed"])
        return False
    log.info("erasure.step", erasure=erasure.id, store=store.name, rows=sum(done.values()))
    return True


def _held(erasure: Erasure) -> Erasure:
    """The row, locked, while this process has it. Raises LeaseLost."""
    row = Erasure.objects.select_for_update().get(pk=erasure.pk)
    if row.attempts != erasure.attempts or row.state not in OPEN_ERASURES:
        raise LeaseLost
    return row


def _verified(erasure: Erasure, scope: Scope, part: Part | None, texts: Sequence[str]) -> Erasure:
    with in_workspace(erasure.workspace_id):
        row = _held(erasure)
        row.state = ErasureState.VERIFYING
        row.leased_until = timezone.now() + LEASE * 10
        row.save(update_fields=["state", "leased_until"])
        erasure_moved(row)
    with in_workspace(erasure.workspace_id):
        row = _held(erasure)
        trace = ErasureTrace.objects.get(pk=erasure.pk)
        ids = [UUID(bytes=bytes(trace.ids)[at : at + 16]) for at in range(0, len(trace.ids), 16)]
        whole = part is None
        looked, found, elsewhere = verification.look(subject_id=scope.subject_id, whole=whole, ids=ids, texts=texts)
        left = [{"where": one.table, "id": one.key, "found_by": one.found_by} for one in found]
        for store in registry.stores():
            if getattr(store, "looks_itself", False):
                left += _left_in(store, scope, part, texts)
        row.residue = left[:MOST_LEFT]
        row.verification = {
            "tables": looked.tables,
            "ids": looked.ids,
            "texts": looked.texts,
            "left": len(left),
            "said_by_others": dict(Counter(one.table for one in elsewhere)),
            "audit_entries": Entry.objects.filter(subject_id=scope.subject_id).count(),
        }
        row.state = ErasureState.PARTIAL if left or row.failed else ErasureState.COMPLETED
        row.finished_at = timezone.now()
        row.leased_until = None
        row.save()
        if row.state == ErasureState.COMPLETED:
            trace.delete()
        erasure_moved(row)
        counted = {name: sum(kinds.values()) for name, kinds in row.erased.items()}
        record(
            Actor.system("erasure"),
            ENDS[row.kind],
            row,
            subject=row.subject_id,
            session=scope.session_id,
            reason=row.reason,
            outcome="ok" if row.state == ErasureState.COMPLETED else "failed",
            data={
                "stores": len(counted),
                "rows": sum(counted.values()),
                "left": len(left),
                "certificate": certificate_digest(row),
            },
        )
    log.info("erasure.ended", erasure=erasure.id, state=row.state)
    return row


def _left_in(
    store: registry.PersonalDataStore, scope: Scope, part: Part | None, texts: Sequence[str]
) -> list[dict[str, str]]:
    """What a place that no column of the database names still holds."""
    if part is None:
        found = store.residue(scope.subject_id, texts)
        return [{"where": one.where, "id": one.id, "found_by": one.found_by} for one in found]
    counted = store.count(scope.subject_id, part, texts)
    return [{"where": store.name, "id": kind, "found_by": "text"} for kind, count in counted.items() if count]


def recipients_of(subject_id: UUID, *, workspace_id: UUID) -> list[dict[str, Any]]:
    """Who outside was given something of a person, as the log and the index tell: what, how often, when."""
    found: list[dict[str, Any]] = []
    told = Entry.objects.filter(workspace_id=workspace_id, subject_id=subject_id)
    shown = told.filter(action__in=("memory.surfaced", "memory.previewed"))
    for row in shown.values("actor_kind", "actor_id").annotate(times=Count("id"), first=Min("at"), last=Max("at")):
        found.append({"what": "surfaced", "who": f"{row['actor_kind']}:{row['actor_id']}"} | _span(row))
    # The patterns are ours and read inside the hub: nobody outside was given anything.
    read = told.filter(action="extraction.done", data__has_key="model").exclude(data__model__startswith="patterns")
    for by_model in read.values("data__model").annotate(times=Count("id"), first=Min("at"), last=Max("at")):
        found.append({"what": "read_for_facts", "who": f"model:{by_model['data__model']}"} | _span(by_model))
    if settings.EMBEDDER == "openai":
        for vectors in Vector.objects.filter(subject_id=subject_id).values("model").annotate(times=Count("id")):
            found.append({"what": "embedded", "who": f"embedder:{vectors['model']}", "times": vectors["times"]})
    return found


def _span(row: Any) -> dict[str, Any]:
    return {"times": row["times"], "first": row["first"].isoformat(), "last": row["last"].isoformat()}


def _line(erasure: Erasure) -> ledger.Line:
    with in_workspace(erasure.workspace_id):
        laid = tombstones.laid(erasure.id)
    return ledger.Line(
        erasure_id=erasure.id,
        workspace_id=erasure.workspace_id,
        subject_id=erasure.subject_id,
        kind=erasure.kind,
        at=erasure.created_at,
        reason=erasure.reason,
        target=erasure.target,
        since=erasure.since,
        until=erasure.until,
        statement=erasure.statement,
        stones=tuple(laid),
    )


def _is_done(line: ledger.Line) -> bool:
    with in_workspace(line.workspace_id):
        with connection.cursor() as cursor:
            cursor.execute("select 1 from access_workspace where id = %s", [line.workspace_id])
            if cursor.fetchone() is None:
                return True  # a workspace that is not here has nothing of it
        state = Erasure.objects.filter(pk=line.erasure_id).values_list("state", flat=True).first()
    return state is not None and state not in OPEN_ERASURES
