"""Facts read one by one or in pages by an agent's key. Each reading is a recall: what is given out is in the log.

What may be given: versions that are current, superseded or stale and shown to the agent (facts/visibility.py), of
people whose memory may be surfaced.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, Exists, OuterRef, Prefetch, Q, QuerySet, When
from django.utils import timezone

from facts.decision import entity_key
from facts.exceptions import SurfacingPaused, UnknownFact
from facts.models import Evidence, Fact, FactTransition, FactType, FactVersion, RecallKind, Status
from facts.recall import Item, Receipted, surface
from facts.retrieval.results import FactHit
from facts.visibility import LET_IN, Sight, shown_versions
from facts.working_memory import Viewpoint
from sessions.models import Subject

SURFACED_STATUSES = LET_IN


@dataclass(frozen=True)
class FactListing:
    """Which versions: those with one of `statuses` now, or those that held at `as_of` as far as is known today."""

    subject: Subject
    type: FactType | None = None
    entity: str | None = None
    statuses: tuple[Status, ...] = (Status.CURRENT,)
    as_of: datetime | None = None

    def as_settings(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "entity": self.entity,
            "statuses": [status.value for status in self.statuses],
            "as_of": self.as_of.isoformat() if self.as_of else None,
        }


@dataclass(frozen=True)
class FactPage:
    """Newest first. `next` is the version id, or number, after which the next page begins; None on the last."""

    hits: tuple[FactHit, ...]
    recall: Receipted | None
    next: UUID | int | None = None
    paused: bool = False


def facts_page(*, view: Viewpoint, listing: FactListing, after: UUID | None, limit: int) -> FactPage:
    """One page of a person's facts. Nothing is given while surfacing is paused for them."""
    started = time.perf_counter()
    if not listing.subject.surfaceable:
        return FactPage(hits=(), recall=None, paused=True)
    sight = view.sight()
    versions = _listed(view, sight, listing).select_related("fact", "session").order_by("-id")
    if after is not None:
        versions = versions.filter(id__lt=after)
    rows = list(versions[: limit + 1])
    page = rows[:limit]
    recall = _surface(view, listing.subject, page, listing.as_settings() | {"limit": limit}, started)
    return FactPage(
        hits=_hits(page, sight),
        recall=recall,
        next=page[-1].id if len(rows) > limit else None,
    )


def fact_read(*, view: Viewpoint, fact_id: UUID) -> FactPage:
    """One fact as its current version, or else its latest that may be given.

    Raises UnknownFact when there is none for this agent, SurfacingPaused when nothing may be given now.
    """
    started = time.perf_counter()
    sight = view.sight()
    fact = _readable(view, sight, fact_id)
    # The current version need not have the highest number: an earlier one may have been restored.
    shown = list(
        _versions_of(fact, sight).order_by(Case(When(status=Status.CURRENT, then=0), default=1), "-number")[:1]
    )
    if not shown:
        raise UnknownFact("fact_id", "There is no such fact.")
    recall = _surface(view, fact.subject, shown, {"fact_id": str(fact_id)}, started)
    return FactPage(hits=_hits(shown, sight), recall=recall)


def fact_versions_page(*, view: Viewpoint, fact_id: UUID, after: int | None, limit: int) -> FactPage:
    """A fact's versions with their evidence and the history of their status. Raises as `fact_read`."""
    started = time.perf_counter()
    sight = view.sight()
    fact = _readable(view, sight, fact_id)
    evidence = Evidence.objects.filter(sight.turns("turn__")).select_related("turn__session")
    versions = _versions_of(fact, sight).prefetch_related(
        Prefetch("evidence", queryset=evidence.order_by("created_at", "id")),
        Prefetch("transitions", queryset=FactTransition.objects.order_by("at", "id")),
    )
    if after is not None:
        versions = versions.filter(number__lt=after)
    rows = list(versions[: limit + 1])
    if not rows and after is None:
        raise UnknownFact("fact_id", "There is no such fact.")
    page = rows[:limit]
    recall = _surface(view, fact.subject, page, {"fact_id": str(fact_id), "versions": True}, started)
    return FactPage(
        hits=_hits(page, sight),
        recall=recall,
        next=page[-1].number if len(rows) > limit else None,
    )


def visible_facts(*, workspace_id: UUID, sight: Sight) -> QuerySet[Fact]:
    """The facts that an agent may see or change: those of which something is shown to it, and what it wrote itself."""
    known = Q(shown_versions(sight))
    if sight.agent_id is not None:
        known |= Q(Exists(FactVersion.objects.filter(fact=OuterRef("pk"), agent_id=sight.agent_id)))
    return Fact.objects.filter(sight.facts(), known, workspace_id=workspace_id).select_related("subject")


def visible_fact(*, workspace_id: UUID, sight: Sight, fact_id: UUID) -> Fact:
    """Raises UnknownFact for a fact that is not there, or not there for this agent."""
    fact = visible_facts(workspace_id=workspace_id, sight=sight).filter(pk=fact_id).first()
    if fact is None:
        raise UnknownFact("fact_id", "There is no such fact.")
    return fact


def _readable(view: Viewpoint, sight: Sight, fact_id: UUID) -> Fact:
    fact = visible_fact(workspace_id=view.workspace_id, sight=sight, fact_id=fact_id)
    if not fact.subject.surfaceable:
        raise SurfacingPaused("fact_id", "Nothing about this person is given out now.")
    return fact


def _versions_of(fact: Fact, sight: Sight) -> QuerySet[FactVersion]:
    shown = fact.versions.filter(sight.versions(), status__in=SURFACED_STATUSES)
    return shown.select_related("fact", "session").order_by("-number")


def _listed(view: Viewpoint, sight: Sight, listing: FactListing) -> QuerySet[FactVersion]:
    now = timezone.now()
    versions = FactVersion.objects.filter(
        sight.versions(), workspace_id=view.workspace_id, fact__subject=listing.subject
    )
    if listing.type is not None:
        versions = versions.filter(fact__type=listing.type)
    if listing.entity is not None:
        versions = versions.filter(fact__entity_key=entity_key(listing.entity))
    moment = listing.as_of or now
    expired = Q(expires_at__lte=moment)
    if listing.as_of is not None:
        # A version holds from valid_from until its status changed.
        return versions.filter(
            Q(status=Status.CURRENT) | Q(status__in=SURFACED_STATUSES, status_at__gt=moment), valid_from__lte=moment
        ).exclude(expired)
    # Past its time a current version is no longer believed; it is found under no status but "any".
    versions = versions.filter(status__in=listing.statuses)
    return versions if len(listing.statuses) > 1 else versions.exclude(expired & Q(status=Status.CURRENT))


def _surface(
    view: Viewpoint, subject: Subject, versions: Sequence[FactVersion], settings: dict[str, Any], started: float
) -> Receipted:
    return surface(
        workspace_id=view.workspace_id,
        subject=subject,
        kind=RecallKind.FACTS,
        items=[Item(version=version) for version in versions],
        actor=view.actor,
        agent_id=view.agent_id,
        settings=settings,
        elapsed_ms=(time.perf_counter() - started) * 1000,
    )


def _hits(versions: Sequence[FactVersion], sight: Sight) -> tuple[FactHit, ...]:
    return tuple(FactHit(version=version, score=0.0, scores={}, told_in=sight.told_in(version)) for version in versions)
