"""Legal holds: placed by one person, released by another. Every function runs in the caller's workspace transaction."""

from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.actors import Actor
from audit.erasure.models import OPEN_ERASURES, Erasure
from audit.registry import Scope
from audit.requests.errors import ErasureRuns, NotNow, SamePerson, UnknownRequest
from audit.requests.models import Hold
from audit.services import record


def lock_person(subject_id: UUID) -> None:
    """Whoever begins an erasure and whoever places a hold take turns, until the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [str(subject_id)])


def in_force(scope: Scope) -> QuerySet[Hold]:
    """The holds that keep this from being erased: on the person, and on any session that it could touch."""
    holds = Hold.objects.filter(subject_id=scope.subject_id, released_at__isnull=True).order_by("id")
    if scope.session_id:
        return holds.filter(Q(session_id__isnull=True) | Q(session_id=scope.session_id))
    return holds


def hold_place(
    *, workspace_id: UUID, subject_id: UUID, session_id: UUID | None, reason: str, note: str, actor: Actor
) -> Hold:
    """Hold what is stored of a person, or one session of theirs. Raises ErasureRuns when it comes too late."""
    lock_person(subject_id)
    running = Erasure.objects.filter(subject_id=subject_id, state__in=OPEN_ERASURES).first()
    if running is not None:
        raise ErasureRuns(left_of(running))
    hold = Hold.objects.create(
        workspace_id=workspace_id,
        subject_id=subject_id,
        session_id=session_id,
        reason=reason,
        note=note,
        placed_by=name_of(actor),
    )
    record(actor, "hold.placed", hold, subject=subject_id, session=session_id, reason=reason)
    return hold


def hold_release(*, workspace_id: UUID, hold_id: UUID, actor: Actor) -> Hold:
    """End a hold. Raises SamePerson for whoever placed it, NotNow when it has ended already, UnknownRequest."""
    hold = Hold.objects.select_for_update().filter(workspace_id=workspace_id, pk=hold_id).first()
    if hold is None:
        raise UnknownRequest("hold_id", "There is no such hold.")
    if hold.released_at:
        raise NotNow("hold_id", "This hold was released already.")
    if hold.placed_by == name_of(actor):
        raise SamePerson("hold_id", "Whoever placed a hold does not release it: somebody else has to.")
    hold.released_at, hold.released_by = timezone.now(), name_of(actor)
    hold.save(update_fields=["released_at", "released_by"])
    record(actor, "hold.released", hold, subject=hold.subject_id, session=hold.session_id, reason=hold.reason)
    return hold


def left_of(erasure: Erasure) -> dict[str, int]:
    """What an erasure still has to remove: rows by store."""
    return {
        store: max(0, sum(kinds.values()) - sum(erasure.erased.get(store, {}).values()))
        for store, kinds in erasure.planned.items()
    }


def name_of(actor: Actor) -> str:
    return f"{actor.kind.value}:{actor.id}"
