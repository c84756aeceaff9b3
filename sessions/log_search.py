"""A search of the audit log, with the names in it looked up: entries know ids alone."""

from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from audit.query import Word, actions_of, query_read
from audit.selectors import NO_FILTERS, Condition, EntryFilters
from memoryhub.access.models import Agent, User
from sessions.models import Session, Subject

COLUMNS = {
    "action": "action",
    "actor": "actor_id",
    "by": "actor_kind",
    "subject": "subject_id",
    "session": "session_id",
    "object": "object_id",
    "outcome": "outcome",
    "reason": "reason",
    "key": "credential",
    "request": "request_id",
}


def log_filters(text: str, *, workspace_id: UUID, also: EntryFilters = NO_FILTERS) -> EntryFilters:
    """What `text` asks for, as filters of the log's lists and exports; `also` has to hold besides. Raises QueryRefused.

    Needs a transaction in that workspace. A name that nobody has matches nothing.
    """
    query = query_read(text)
    conditions = [
        Condition(name, column, frozenset(_ids(name, values, workspace_id)), negated)
        for name, column in COLUMNS.items()
        for negated in (False, True)
        if (values := query.values(name, negated=negated))
    ]
    return replace(
        also,
        since=max(filter(None, (query.since, also.since)), default=None),
        until=min(filter(None, (query.until, also.until)), default=None),
        conditions=(*also.conditions, *conditions),
    )


def narrowed(text: str, *, qualifier: str, value: str) -> str:
    """`text` with one more word; as it stands where it cannot be read or has the word already."""
    word = str(Word(qualifier, value))
    return text if word in text.split() else f"{text} {word}".strip()


def _ids(name: str, values: list[str], workspace_id: UUID) -> Iterable[object]:
    if name == "action":
        return [action for value in values for action in actions_of(value)]
    if name == "actor":
        return [*values, *map(str, _actors(values, workspace_id))]
    if name == "subject":
        return [*_uuids(values), *_named(Subject, values, workspace_id)]
    if name == "session":
        return [*_uuids(values), *_named(Session, values, workspace_id)]
    return values


def _actors(names: list[str], workspace_id: UUID) -> list[UUID]:
    agents = Agent.objects.filter(workspace_id=workspace_id, name__in=names).values_list("id", flat=True)
    return [*agents, *User.objects.filter(username__in=names).values_list("id", flat=True)]


def _named(model: type[Subject] | type[Session], names: list[str], workspace_id: UUID) -> Iterable[UUID]:
    found = model._default_manager.filter(workspace_id=workspace_id, external_id__in=names)
    return found.values_list("id", flat=True)


def _uuids(values: list[str]) -> list[UUID]:
    found = []
    for value in values:
        try:
            found.append(UUID(value))
        except ValueError:
            continue
    return found
