"""Reading the audit log, newest first."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet

from audit.actions import actions_under
from audit.ids import first_id
from audit.models import Entry

MAX_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilters:
    """Which entries; every given part must hold. `action` is a name or the beginning of one (`fact.`)."""

    actor_kind: str = ""
    actor_id: str = ""
    action: str = ""
    object_kind: str = ""
    object_id: str = ""
    subject_id: UUID | None = None
    session_id: UUID | None = None
    request_id: str = ""
    outcome: str = ""
    since: datetime | None = None  # inclusive
    until: datetime | None = None  # exclusive


@dataclass(frozen=True, slots=True)
class EntryPage:
    """`next` is the cursor of the following page (an entry's id), None on the last."""

    entries: list[Entry]
    next: UUID | None


NO_FILTERS = EntryFilters()


def entries(workspace_id: UUID, filters: EntryFilters = NO_FILTERS) -> QuerySet[Entry]:
    """The entries of one workspace that match, newest first. Needs a transaction in that workspace."""
    found = Entry.objects.filter(workspace_id=workspace_id)
    if filters.action:
        found = found.filter(action__in=actions_under(filters.action))
    if filters.since:
        found = found.filter(id__gte=first_id(filters.since))
    if filters.until:
        found = found.filter(id__lt=first_id(filters.until))
    exact = {
        "actor_kind": filters.actor_kind,
        "actor_id": filters.actor_id,
        "object_kind": filters.object_kind,
        "object_id": filters.object_id,
        "subject_id": filters.subject_id,
        "session_id": filters.session_id,
        "request_id": filters.request_id,
        "outcome": filters.outcome,
    }
    return found.filter(**{name: value for name, value in exact.items() if value}).order_by("-id")


def entry_page(
    workspace_id: UUID, filters: EntryFilters = NO_FILTERS, *, before: UUID | None = None, limit: int = 50
) -> EntryPage:
    """Up to `limit` entries older than the cursor `before`. One query, however far down the list."""
    limit = max(1, min(limit, MAX_PAGE))
    found = entries(workspace_id, filters)
    if before:
        found = found.filter(id__lt=before)
    rows = list(found[: limit + 1])
    more = len(rows) > limit
    return EntryPage(entries=rows[:limit], next=rows[limit - 1].id if more else None)
