"""Who was shown what of a person, and when: read from the log, which outlives what was shown."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Min

from audit.ids import first_id
from audit.models import Entry

SHOWN = ("memory.surfaced", "memory.previewed", "memory.viewed", "subject.exported")


@dataclass(frozen=True)
class Disclosure:
    """`who` is an actor as in the log; `kind` says in what way (`working_memory`, `search`, …)."""

    who: str
    action: str
    kind: str
    times: int
    first: datetime
    last: datetime


def disclosures(
    *,
    workspace_id: UUID,
    subject_id: UUID,
    since: datetime | None = None,
    until: datetime | None = None,
    fact_id: UUID | None = None,
    version: int | None = None,
) -> list[Disclosure]:
    """Whoever was given something of the person in [since, until), the latest first.

    With `fact_id`, and `version` of it, only those who were given that. Needs a transaction of the workspace.
    """
    told = Entry.objects.filter(workspace_id=workspace_id, subject_id=subject_id, action__in=SHOWN).exclude(
        data__items=[]
    )
    if since:
        told = told.filter(id__gte=first_id(since))
    if until:
        told = told.filter(id__lt=first_id(until))
    if fact_id:
        item: dict[str, Any] = {"fact_id": str(fact_id)} | ({"version": version} if version is not None else {})
        told = told.filter(data__contains={"items": [item]})
    grouped = told.values("actor_kind", "actor_id", "action", "data__kind").annotate(
        times=Count("id"), first=Min("at"), last=Max("at")
    )
    return [
        Disclosure(
            who=f"{row['actor_kind']}:{row['actor_id']}",
            action=row["action"],
            kind=row["data__kind"] or "",
            times=row["times"],
            first=row["first"],
            last=row["last"],
        )
        for row in grouped.order_by("-last", "actor_id")
    ]
