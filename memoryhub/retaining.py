"""What ends by time: counted before, removed in batches once a day, and held back by legal holds.

A batch is one person's things of one kind. It commits together with the sweep's counts, so a sweep that was killed goes
on where it stopped, and is in the log once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import Exists, F, Min, OuterRef, Q, QuerySet
from django.db.models.functions import Greatest
from django.utils import timezone
from django_q.models import Schedule

from audit import registry
from audit.actors import Actor
from audit.erasure.key import digest_of
from audit.erasure.models import OPEN_ERASURES, Erasure
from audit.models import Entry
from audit.registry import Part
from audit.requests.holds import lock_person
from audit.requests.models import Hold
from audit.retention.models import RetentionSweep
from audit.services import record
from facts.forgetting import recalls_telling
from facts.models import OPEN_STATES, Evidence, Extraction, Fact, FactVersion, Recall, RemovedEvidence, Status
from facts.visibility import policy_of
from memoryhub.access.models import Workspace
from memoryhub.access.retention import FACT_KINDS, SWEPT, RetentionRules
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, Turn

BATCH = 500
SWEEP = "retention"


@dataclass(frozen=True)
class Due:
    """What the next sweep would remove of a kind. `oldest` is of what would go; `days` None: nothing ends."""

    kind: str
    days: int | None
    items: int = 0
    held: int = 0
    oldest: datetime | None = None


def preview(*, workspace_id: UUID, rules: RetentionRules, kinds: tuple[str, ...] = SWEPT) -> list[Due]:
    """Exactly what a sweep under `rules` would remove now, in the workspace's transaction. Nothing is changed."""
    now = timezone.now()
    found = []
    for kind in kinds:
        days = rules.days(kind)
        if days is None:
            found.append(Due(kind, None))
            continue
        ended = _ended(kind, workspace_id, now - timedelta(days=days))
        going = _free(kind, ended)
        told: dict[str, Any] = going.aggregate(items=models.Count("pk", distinct=True), oldest=Min("since"))
        found.append(Due(kind, days, told["items"], ended.count() - told["items"], told["oldest"]))
    return found


def audit_due(*, workspace_id: UUID, rules: RetentionRules) -> Due:
    """The audit entries that are older than the workspace wants to keep them. Nothing here removes them."""
    if rules.keep_audit_days is None:
        return Due("audit", None)
    old = Entry.objects.filter(workspace_id=workspace_id, at__lt=timezone.now() - timedelta(days=rules.keep_audit_days))
    told = old.aggregate(items=models.Count("pk"), oldest=Min("at"))
    return Due("audit", rules.keep_audit_days, told["items"], 0, told["oldest"])


def workspace_sweep(*, workspace_id: UUID, actor: Actor) -> list[RetentionSweep]:
    """Remove what a workspace keeps no longer, and what a killed sweep left; one entry in the log for each kind.

    Opens its own transactions, one a batch. Two at the same time take turns.
    """
    with in_workspace(workspace_id):
        rules = policy_of(workspace_id)
    swept = (_kind_sweep(workspace_id, kind, rules.days(kind), actor) for kind in SWEPT)
    return [one for one in swept if one is not None]


def sweep() -> int:
    """Sweep every workspace; returns how many things were removed. Run once a day."""
    actor = Actor.system("retention")
    removed = 0
    for workspace_id in list(Workspace.objects.values_list("id", flat=True)):
        removed += sum(one.items for one in workspace_sweep(workspace_id=workspace_id, actor=actor))
    return removed


def schedule_sweep() -> None:
    """Have the queue sweep once a day. Twice changes nothing."""
    Schedule.objects.update_or_create(
        name=SWEEP,
        defaults={"func": "memoryhub.retaining.sweep", "schedule_type": Schedule.DAILY, "repeats": -1},
    )


def last_sweeps(workspace_id: UUID) -> dict[str, RetentionSweep]:
    """The last sweep that ended, by kind."""
    ended = RetentionSweep.objects.filter(workspace_id=workspace_id, ended_at__isnull=False)
    return {one.kind: one for one in ended.order_by("kind", "-id").distinct("kind")}


def _kind_sweep(workspace_id: UUID, kind: str, days: int | None, actor: Actor) -> RetentionSweep | None:
    with in_workspace(workspace_id):
        running = RetentionSweep.objects.select_for_update().filter(
            workspace_id=workspace_id, kind=kind, ended_at__isnull=True
        )
        begun = running.first()
        people: list[UUID] = []
        if days is not None:
            before = timezone.now() - timedelta(days=days)
            ended = _ended(kind, workspace_id, before)
            people = list(_free(kind, ended).order_by("person").values_list("person", flat=True).distinct())
            if begun is None and (people or ended.exists()):
                # Another sweep may have begun it since: then it is the same one.
                begun, _ = RetentionSweep.objects.get_or_create(
                    workspace_id=workspace_id, kind=kind, ended_at__isnull=True, defaults={"before": before}
                )
        if begun is None:
            return None
        began = begun.id
        if days is None:
            before = begun.before
    for person in people:
        while _batch(began, workspace_id, kind, person, before):
            pass
    with in_workspace(workspace_id):
        done = RetentionSweep.objects.select_for_update().get(pk=began)
        if done.ended_at is None:
            done.held = _ended(kind, workspace_id, before).count() if days is not None else 0
            done.ended_at = timezone.now()
            done.save(update_fields=["held", "ended_at"])
            data = {"kind": kind, "items": done.items, "rows": done.rows, "held": done.held, "before": done.before}
            record(actor, "retention.swept", done, workspace_id=workspace_id, reason="retention", data=data)
    return done


def _batch(sweep_id: UUID, workspace_id: UUID, kind: str, person: UUID | None, before: datetime) -> bool:
    """Remove some of a person's things, in one transaction; False when nothing of theirs is left to remove."""
    with in_workspace(workspace_id):
        running = RetentionSweep.objects.select_for_update().get(pk=sweep_id)
        if running.ended_at is not None:
            return False
        if person is not None:
            # Whoever places a hold, and whoever begins an erasure, waits for this batch, or is seen by it.
            lock_person(person)
        going = _free(kind, _ended(kind, workspace_id, before)).filter(person=person)
        ids = frozenset(going.order_by("pk").values_list("pk", flat=True)[:BATCH])
        if not ids:
            return False
        rows = _remove(kind, workspace_id, person, ids)
        # Rows of the kind itself can be more: a fact goes with its versions.
        RetentionSweep.objects.filter(pk=sweep_id).update(items=F("items") + len(ids), rows=F("rows") + rows)
    return True


def _remove(kind: str, workspace_id: UUID, person: UUID | None, ids: frozenset[UUID]) -> int:
    if kind == "extractions":
        removed, _ = Extraction.objects.filter(pk__in=ids).delete()
        return removed
    if person is None:
        # Somebody unknown was asked about: nothing was found, and nothing hangs on it.
        removed, _ = Recall.objects.filter(pk__in=ids).delete()
        return removed
    part = _part(kind, person, ids)
    rows = 0
    if part.turns:
        rows += _keep_provenance(workspace_id, part.turns)
    for store in reversed(registry.stores()):
        if not getattr(store, "looks_itself", False):
            rows += sum(store.erase(person, part).values())
    if kind == "turns":
        rows += _remove_empty_sessions(person)
    if part.versions:
        rows += _remove_empty_facts(person)
    return rows


def _part(kind: str, person: UUID, ids: frozenset[UUID]) -> Part:
    if kind == "turns":
        return Part(turns=ids, blanked=frozenset(recalls_telling(person, (), ids)))
    if kind == "recalls":
        return Part(recalls=ids)
    facts: frozenset[UUID] = frozenset()
    versions = ids
    if kind in FACT_KINDS:
        facts = ids
        versions = frozenset(FactVersion.objects.filter(fact__in=ids).values_list("id", flat=True))
    elif kind == "stale":
        # What they had replaced goes with them: it is history of something that does not hold.
        of_theirs = FactVersion.objects.filter(fact__versions__in=ids, status=Status.SUPERSEDED)
        versions |= frozenset(of_theirs.exclude(fact__versions__status=Status.CURRENT).values_list("id", flat=True))
    return Part(facts=facts, versions=versions, blanked=frozenset(recalls_telling(person, versions, ())))


def _keep_provenance(workspace_id: UUID, turns: frozenset[UUID]) -> int:
    """What stays of evidence whose turn goes: that there was one, when, and a keyed digest of it."""
    going = Evidence.objects.filter(turn__in=turns).select_related("turn")
    kept = [
        RemovedEvidence(
            workspace_id=workspace_id,
            version_id=one.version_id,
            kind=one.kind,
            said_at=one.turn.occurred_at,
            digest=digest_of("removed turn", str(one.turn_id), bytes(one.turn.digest).hex()),
        )
        for one in going
    ]
    RemovedEvidence.objects.bulk_create(kept, ignore_conflicts=True)
    return len(kept)


def _remove_empty_sessions(person: UUID) -> int:
    """Sessions whose last turn went. Whoever writes turns holds the session's lock, so it is looked at under it."""
    turns = Turn.objects.filter(session=OuterRef("pk"))
    empty = Session.objects.filter(~Exists(turns), subject=person, turn_count__gt=0)
    locked = list(Session.objects.select_for_update().filter(pk__in=list(empty.values_list("id", flat=True))))
    gone = frozenset(
        Session.objects.filter(~Exists(turns), pk__in=[one.pk for one in locked]).values_list("id", flat=True)
    )
    if not gone:
        return 0
    removed, _ = Session.objects.filter(pk__in=gone).delete()
    return removed


def _remove_empty_facts(person: UUID) -> int:
    versions = FactVersion.objects.filter(fact=OuterRef("pk"))
    removed, _ = Fact.objects.filter(~Exists(versions), subject=person).delete()
    return removed


def _ended(kind: str, workspace_id: UUID, before: datetime) -> QuerySet[Any]:
    """The things of a kind whose time is over, each with its `person` and `since` when it counts."""
    return _ENDED[kind](workspace_id, kind, before)


def _free(kind: str, ended: QuerySet[Any]) -> QuerySet[Any]:
    """Those that no legal hold keeps, and that no erasure is about to take."""
    holds = Hold.objects.filter(subject_id=OuterRef("person"), released_at__isnull=True)
    erasing = Erasure.objects.filter(subject_id=OuterRef("person"), state__in=OPEN_ERASURES)
    free = ended.filter(~Exists(holds.filter(session_id__isnull=True)), ~Exists(erasing))
    return free.exclude(_OF_HELD_SESSION[kind]())


def _turns(workspace_id: UUID, kind: str, before: datetime) -> QuerySet[Any]:
    old = Turn.objects.filter(workspace=workspace_id, recorded_at__lt=before)
    return old.annotate(person=F("session__subject_id"), since=F("recorded_at"))


def _facts(workspace_id: UUID, kind: str, before: datetime) -> QuerySet[Any]:
    """Facts of a type whose current version was not stated or confirmed since."""
    standing = FactVersion.objects.filter(fact=OuterRef("pk"), status=Status.CURRENT, created_at__lt=before)
    waiting = FactVersion.objects.filter(fact=OuterRef("pk"), created_at__gte=before)
    stated = Evidence.objects.filter(version__fact=OuterRef("pk"), created_at__gte=before)
    old = Fact.objects.filter(Exists(standing), workspace=workspace_id, type=kind, pinned=False)
    return old.filter(~Exists(waiting), ~Exists(stated)).annotate(person=F("subject_id"), since=F("created_at"))


def _versions(workspace_id: UUID, kind: str, before: datetime) -> QuerySet[Any]:
    old = FactVersion.objects.filter(workspace=workspace_id, status=kind, status_at__lt=before, created_at__lt=before)
    return old.annotate(person=F("fact__subject_id"), since=Greatest("status_at", "created_at"))


def _recalls(workspace_id: UUID, kind: str, before: datetime) -> QuerySet[Any]:
    old = Recall.objects.filter(workspace=workspace_id, at__lt=before)
    return old.annotate(person=F("subject_id"), since=F("at"))


def _extractions(workspace_id: UUID, kind: str, before: datetime) -> QuerySet[Any]:
    """Windows of which no turn is left: while there is one, the window keeps it from being read again."""
    left = Turn.objects.filter(
        session=OuterRef("session"), index__gte=OuterRef("first_index"), index__lte=OuterRef("last_index")
    )
    old = Extraction.objects.filter(~Exists(left), workspace=workspace_id, created_at__lt=before)
    return old.exclude(state__in=OPEN_STATES).annotate(person=F("subject_id"), since=F("created_at"))


_ENDED: dict[str, Callable[[UUID, str, datetime], QuerySet[Any]]] = {
    "turns": _turns,
    **dict.fromkeys(FACT_KINDS, _facts),
    **dict.fromkeys(("superseded", "stale", "rejected", "quarantined"), _versions),
    "recalls": _recalls,
    "extractions": _extractions,
}


def _of_held_fact(fact: str) -> Q:
    """Facts that were learned, any version of them, in a session that is held."""
    learned = FactVersion.objects.filter(fact=OuterRef(fact), session__in=_held_sessions())
    stated = Evidence.objects.filter(version__fact=OuterRef(fact), turn__session__in=_held_sessions())
    return Q(Exists(learned)) | Q(Exists(stated))


def _held_sessions() -> Any:
    return Hold.objects.filter(released_at__isnull=True, session_id__isnull=False).values("session_id")


_OF_HELD_SESSION: dict[str, Callable[[], Q]] = {
    "turns": lambda: Q(session__in=_held_sessions()),
    **dict.fromkeys(FACT_KINDS, lambda: _of_held_fact("pk")),
    **dict.fromkeys(("superseded", "stale", "rejected", "quarantined"), lambda: _of_held_fact("fact_id")),
    "recalls": lambda: Q(
        Exists(
            Session.objects.filter(
                Q(pk=OuterRef("session_id")) | Q(external_id=OuterRef("session_external_id")),
                subject=OuterRef("subject_id"),
                pk__in=_held_sessions(),
            )
        )
    ),
    "extractions": lambda: Q(session__in=_held_sessions()),
}
