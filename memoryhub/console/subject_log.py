"""One person's part of the audit log, in words: what happened, and who was shown what."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from audit.actions import ACTIONS
from audit.models import Entry
from audit.selectors import Condition, EntryFilters, EntryPage, entry_page
from facts.models import Fact
from memoryhub.console.selectors import actor_names
from sessions.models import Session

GIVEN = frozenset({"memory.surfaced", "memory.cited"})
SEEN = frozenset(
    {"memory.viewed", "memory.previewed", "content.revealed", "subject.viewed", "subject.exported", "subject.looked_up"}
)
KINDS: Mapping[str, tuple[str, frozenset[str]]] = {
    "said": ("said", frozenset(name for name in ACTIONS if name.startswith(("turns.", "session.")))),
    "learned": (
        "learned and put right",
        frozenset(name for name in ACTIONS if name.startswith(("fact.", "extraction.", "memory.r", "memory.erased"))),
    ),
    "given": ("given to agents", GIVEN),
    "seen": ("seen by people", SEEN),
    "rights": (
        "rights and states",
        frozenset(
            name
            for name in ACTIONS
            if name.startswith(("subject.", "erasure.", "request.", "hold.", "export.", "token.")) and name not in SEEN
        ),
    ),
}
"""The parts of a timeline: what each is called, and the actions in it."""
ACCESS = frozenset({"memory.surfaced"}) | SEEN

READ = {
    "facts": "facts",
    "fact": "a fact",
    "turns": "turns of a session",
    "recall": "a surfacing",
    "review": "facts in review",
    "roll_back": "what would be taken back",
    "sessions": "the list of sessions",
    "timeline": "the timeline",
    "access": "who was shown what",
}


@dataclass(frozen=True)
class Happening:
    """An entry in words, with what it leads to: a fact, a session, a recall."""

    entry: Entry
    actor: str
    says: str
    detail: str
    fact: Fact | None
    session: Session | None
    recall_id: UUID | None


@dataclass(frozen=True)
class LogPage:
    rows: list[Happening]
    next: UUID | None


def happenings(
    *, workspace_id: UUID, subject_id: UUID, actions: Iterable[str] | None = None, before: UUID | None = None
) -> LogPage:
    """What happened about one person, the newest first; only these `actions` if given. Five queries at most."""
    conditions = (Condition("action", "action", frozenset(actions)),) if actions is not None else ()
    found = entry_page(workspace_id, EntryFilters(subject_id=subject_id, conditions=conditions), before=before)
    return LogPage(_told(found), found.next)


def _told(found: EntryPage) -> list[Happening]:
    entries = found.entries
    names = actor_names((one.actor_kind, one.actor_id) for one in entries)
    facts = Fact.objects.in_bulk([one for entry in entries if (one := _id(entry.data.get("fact_id")))])
    sessions = Session.objects.in_bulk({one.session_id for one in entries if one.session_id})
    return [
        Happening(
            entry=entry,
            actor=names[entry.actor_kind, entry.actor_id],
            says=ACTIONS[entry.action].says if entry.action in ACTIONS else entry.action,
            detail=_detail(entry),
            fact=facts.get(_id(entry.data.get("fact_id"))),
            session=sessions.get(entry.session_id) if entry.session_id else None,
            recall_id=_id(entry.data.get("recall_id")),
        )
        for entry in entries
    ]


def _detail(entry: Entry) -> str:
    """The figures of an entry that matter to a reader: `4 turns`, `3 facts, 2 turns`."""
    data = entry.data
    if "items" in data and isinstance(data["items"], Sequence):
        return _counts({"fact": _of(data["items"], "fact"), "turn": _of(data["items"], "turn")}) or "nothing"
    if entry.action == "turns.recorded":
        return _counts({"turn": data.get("recorded", 0)}) or "nothing new"
    if entry.action in ("memory.viewed", "subject.viewed"):
        return READ.get(data.get("what", ""), data.get("what", ""))
    if entry.action.startswith("extraction."):
        return data.get("error", "") or ", ".join(
            f"{data[name]} {name}" for name in ("added", "confirmed", "superseded", "quarantined") if data.get(name)
        )
    if "version" in data:
        return f"version {data['version']}"
    return ""


def _of(items: Sequence[Any], kind: str) -> int:
    return sum(1 for one in items if isinstance(one, Mapping) and one.get("kind") == kind)


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {word}{'' if count == 1 else 's'}" for word, count in counted.items() if count)


def _id(text: Any) -> UUID | None:
    try:
        return UUID(text) if text else None
    except (ValueError, TypeError, AttributeError):
        return None
