"""Reading the audit log, newest first."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from audit.actions import ACTIONS, actions_under
from audit.ids import first_id
from audit.models import Entry

MAX_PAGE = 200


@dataclass(frozen=True, slots=True)
class Condition:
    """`column` is one of `values`, or with `negated` none of them. `name` is what it is called where it was typed."""

    name: str
    column: str
    values: frozenset[Any]
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilters:
    """Which entries; every given part must hold. `action` is a name or the beginning of one (`fact.`).

    `conditions` are what a search was read as, see `audit.query`.
    """

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
    conditions: tuple[Condition, ...] = ()

    @property
    def used(self) -> list[str]:
        """What it was filtered by, as names: for the log, which keeps no value that somebody typed."""
        given = {one.name for one in fields(self) if one.name != "conditions" and getattr(self, one.name)}
        return sorted(given | {f"not_{one.name}" if one.negated else one.name for one in self.conditions})

    @property
    def one_subject(self) -> UUID | None:
        """The person whom they are about, where they are about one."""
        named = {value for one in self.conditions if one.name == "subject" and not one.negated for value in one.values}
        return self.subject_id or (named.pop() if len(named) == 1 else None)


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
    found = found.filter(**{name: value for name, value in exact.items() if value})
    for condition in filters.conditions:
        found = _meeting(found, condition)
    return found.order_by("-id")


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


def _meeting(found: QuerySet[Entry], condition: Condition) -> QuerySet[Entry]:
    if not condition.negated:
        return found.filter(**{f"{condition.column}__in": condition.values})
    if condition.column == "action":
        # All actions are known, so that what is left can be looked up in an index.
        return found.filter(action__in=ACTIONS.keys() - condition.values)
    return found.exclude(**{f"{condition.column}__in": condition.values})
