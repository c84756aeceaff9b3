"""Facts of all people, to look through: by what they are about, who vouches for them, how sure and how old they are.

Each function runs in the caller's workspace transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from audit.actors import Actor
from audit.ids import first_id
from facts.exceptions import FactError
from facts.models import Fact, FactVersion, Status
from facts.review import version_approve, version_reject
from facts.services import fact_mark_stale

PAGE = 50
MOST_AT_ONCE = PAGE


@dataclass(frozen=True)
class VersionFilter:
    """Which versions. `about` is a part of the entity, `below` and `least` bound the confidence, dates half-open."""

    status: str = Status.CURRENT
    type: str = ""
    about: str = ""
    source: str = ""
    agent_id: UUID | None = None
    below: float | None = None
    least: float | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class VersionPage:
    """Newest first, each with its fact, subject and agent. `next` is what the following page is after, or None."""

    rows: list[FactVersion]
    next: UUID | None


def versions(workspace_id: UUID, wanted: VersionFilter) -> QuerySet[FactVersion]:
    """The versions that `wanted` asks for, unordered."""
    found = FactVersion.objects.filter(workspace_id=workspace_id, status=wanted.status)
    about = " ".join(wanted.about.casefold().split())
    if about or wanted.type:
        facts = Fact.objects.filter(workspace_id=workspace_id)
        if about:
            facts = facts.filter(entity_key__contains=about)
        if wanted.type:
            facts = facts.filter(type=wanted.type)
        found = found.filter(fact__in=facts)
    if wanted.source:
        found = found.filter(source=wanted.source)
    if wanted.agent_id:
        found = found.filter(agent_id=wanted.agent_id)
    if wanted.below is not None:
        found = found.filter(confidence__lt=wanted.below)
    if wanted.least is not None:
        found = found.filter(confidence__gte=wanted.least)
    # Ids begin with the time, so that the list's own index bounds a period.
    if wanted.since:
        found = found.filter(id__gte=first_id(wanted.since))
    if wanted.until:
        found = found.filter(id__lt=first_id(wanted.until))
    return found


def version_page(
    *, workspace_id: UUID, wanted: VersionFilter, after: UUID | None = None, limit: int = PAGE
) -> VersionPage:
    """One page of versions, the newest first. Two queries; one that goes on after nothing begins at the beginning."""
    found = versions(workspace_id, wanted).select_related("fact__subject", "agent")
    if after and FactVersion.objects.filter(workspace_id=workspace_id, pk=after).exists():
        found = found.filter(id__lt=after)
    rows = list(found.order_by("-id")[: limit + 1])
    return VersionPage(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)


@dataclass
class Decided:
    """What became of what was chosen: how many were changed, and those that were not, each with why."""

    done: int = 0
    refused: list[tuple[FactVersion, str]] = field(default_factory=list)


def versions_decide(
    *, workspace_id: UUID, ids: Sequence[UUID], do: str, actor: Actor, reason: str = "", note: str = ""
) -> Decided:
    """`stale`, `approve` or `reject` each of these versions; what has changed meanwhile is left as it is, and told.

    `reason` is needed to mark stale and to reject. At most MOST_AT_ONCE; what does not exist here is passed over.
    """
    decided = Decided()
    # In one order for everybody, so that two people who choose the same facts wait for, and never on, each other.
    chosen = FactVersion.objects.filter(workspace_id=workspace_id, pk__in=ids[:MOST_AT_ONCE])
    for version in chosen.select_related("fact__subject").order_by("fact__subject_id", "id"):
        try:
            with transaction.atomic():
                if do == "stale":
                    fact_mark_stale(
                        fact=version.fact, actor=actor, reason=reason, note=note, expected_version=version.number
                    )
                elif do == "approve":
                    version_approve(version=version, actor=actor, note=note)
                else:
                    version_reject(version=version, actor=actor, reason=reason, note=note)
        except FactError as refused:
            decided.refused.append((version, refused.message))
        else:
            decided.done += 1
    return decided
