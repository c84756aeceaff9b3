"""Which turns are read together: cutting what is new in a conversation into windows, and loading one for reading."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Count, F, Func, IntegerField, Min, Q, QuerySet, Sum
from django.utils import timezone

from facts.extraction.interface import KnownFact, Window, WindowTurn
from facts.models import OPEN_STATES, Extraction, FactVersion, Status
from facts.provenance import echoed_parts_of, without
from facts.visibility import LET_IN, sight_of
from memoryhub.access.models import MemoryMode
from memoryhub.access.policy import read_policy
from memoryhub.core.tenancy import in_workspace
from sessions.models import NOT_READ, Session, Subject, Turn, TurnRole, none_set

EXTRACTING = (MemoryMode.FULL, MemoryMode.MANAGED)
"""Memory modes in which facts are taken from an agent's conversations."""
TESTIFYING = (TurnRole.USER, TurnRole.TOOL)
"""Who can state something: people, and tools, whose facts wait for review. Assistants repeat, systems instruct."""

SESSIONS_AT_ONCE = 200
CONTEXT_CHARACTERS = 2_000  # of one turn that is only context
KNOWN_MOST = 60  # facts that go along with a window
KNOWN_LOOKED_AT = 2_000

UNREAD = """
select t.session_id, t.index, length(t.text)
  from memory_sessions_turn t
  left join (select e.session_id, unnest(e.indexes) as index from facts_extraction e where e.session_id = any(%(ids)s))
       taken on taken.session_id = t.session_id and taken.index = t.index
 where t.session_id = any(%(ids)s) and t.withheld_at is null and taken.index is null
 order by t.session_id, t.index
"""


def may_be_read(*, session: str = "", subject: str = "subject__") -> Q:
    """What is extracted from now: an agent that has facts, a person who is neither restricted nor paused.

    `session` and `subject` are the paths to them from the model that is asked.
    """
    return Q(**{f"{session}agent__mode__in": EXTRACTING}) & none_set(NOT_READ, subject)


def due_sessions(*, workspace_id: UUID, now: datetime) -> QuerySet[Session]:
    """Sessions with something new in them that was closed, fell silent, or has grown enough."""
    return Session.objects.filter(may_be_read(), workspace_id=workspace_id, extract_due_at__lte=now)


def due_windows(*, workspace_id: UUID, now: datetime) -> QuerySet[Extraction]:
    """Windows that wait to be read, and nothing keeps them from it."""
    return Extraction.objects.filter(
        may_be_read(session="session__"),
        workspace_id=workspace_id,
        state__in=OPEN_STATES,
        batch__isnull=True,
        next_attempt_at__lte=now,
    )


def plan_windows(workspace_id: UUID) -> int:
    """Cut due sessions of the workspace into windows, one row each; returns how many.

    Every turn that is neither withheld nor in a window yet goes into exactly one. Turns are written under the lock of
    their session, which is held here, so none can slip in between.
    """
    with in_workspace(workspace_id):
        due = list(
            due_sessions(workspace_id=workspace_id, now=timezone.now())
            .select_for_update(skip_locked=True, of=("self",))
            .order_by("extract_due_at")[:SESSIONS_AT_ONCE]
        )
        if not due:
            return 0
        return len(plan_sessions(due))


def plan_sessions(sessions: Sequence[Session]) -> list[Extraction]:
    """The windows of what is unread in `sessions`, which the caller has locked; in the caller's transaction."""
    windows = unread_windows(sessions)
    Extraction.objects.bulk_create(windows)
    Session.objects.filter(pk__in=[session.pk for session in sessions]).update(
        extract_due_at=None, turns_planned=F("turn_count")
    )
    return windows


def unread_windows(sessions: Sequence[Session]) -> list[Extraction]:
    """The windows that the turns of `sessions` make which are in none yet; not saved."""
    by_id = {session.id: session for session in sessions}
    windows = []
    for session_id, turns in groupby(_unread(by_id), key=lambda row: row[0]):
        session = by_id[session_id]
        sizes = [(index, length) for _, index, length in turns]
        for indexes in cut(
            sizes, most_turns=settings.EXTRACT_WINDOW_TURNS, most_characters=settings.EXTRACT_WINDOW_CHARACTERS
        ):
            windows.append(
                Extraction(
                    workspace_id=session.workspace_id,
                    subject_id=session.subject_id,
                    session=session,
                    first_index=indexes[0],
                    last_index=indexes[-1],
                    indexes=indexes,
                )
            )
    return windows


def cut(turns: Sequence[tuple[int, int]], *, most_turns: int, most_characters: int) -> Iterator[list[int]]:
    """The indexes of each window, in order. `turns` are (index, characters); one that is too long stands alone."""
    window: list[int] = []
    characters = 0
    for index, length in turns:
        if window and (len(window) >= most_turns or characters + length > most_characters):
            yield window
            window, characters = [], 0
        window.append(index)
        characters += length
    if window:
        yield window


def load_window(extraction: Extraction, *, handles: Sequence[int] | None = None) -> Window:
    """The window as an extractor reads it; without turns that were erased or withheld meanwhile.

    `handles` asks for these facts to go along, as they did when the window was first sent; without, the related ones.
    """
    readable = (
        Turn.objects.filter(session=extraction.session_id, withheld_at__isnull=True)
        .exclude(text="")
        .only("index", "role", "name", "text", "occurred_at", "recorded_at", "tool_name", "session_id")
    )
    rows = list(readable.filter(index__in=extraction.indexes, erased_evidence__isnull=True).order_by("index"))
    for turn in rows:
        turn.session = extraction.session
    # Memory that was pasted into a message says nothing new.
    echoed = echoed_parts_of([turn for turn in rows if turn.role in TESTIFYING])
    said_by = [(turn, without(turn.text, echoed[turn.id]) if turn.id in echoed else turn.text) for turn in rows]
    turns = [replace(_window_turn(turn), text=text) for turn, text in said_by if text.strip()]
    earlier = readable.filter(index__lt=extraction.first_index).order_by("-index")[: settings.EXTRACT_CONTEXT_TURNS]
    context = [replace(turn, text=turn.text[-CONTEXT_CHARACTERS:]) for turn in map(_window_turn, reversed(earlier))]
    said = " ".join(turn.text for turn in turns)
    return Window(
        extraction_id=extraction.id,
        workspace_id=extraction.workspace_id,
        subject_id=extraction.subject_id,
        session_external_id=extraction.session.external_id,
        turns=tuple(turns),
        context=tuple(context),
        known=tuple(_known_facts(extraction, said, handles)),
    )


def has_something_to_read(window: Window) -> bool:
    """Whether anybody speaks in it who can state something."""
    return any(turn.role in TESTIFYING for turn in window.turns)


def halved(window: Window) -> tuple[Window, Window] | None:
    """The window as two, the first being context of the second; None when it cannot be made smaller.

    A single turn is cut near its middle, at a break between words.
    """
    turns = window.turns
    if len(turns) > 1:
        middle = len(turns) // 2
        first, second = turns[:middle], turns[middle:]
    else:
        if not turns or len(turns[0].text) < SHORTEST_HALF * 2:
            return None
        text = turns[0].text
        middle = len(text) // 2
        at = next((match.end() for match in BREAK.finditer(text, middle)), middle)
        at = at if at < len(text) - SHORTEST_HALF else middle
        first, second = (replace(turns[0], text=text[:at]),), (replace(turns[0], text=text[at:]),)
    near = settings.EXTRACT_CONTEXT_TURNS
    context = [replace(turn, text=turn.text[-CONTEXT_CHARACTERS:]) for turn in first]
    return (
        replace(window, turns=first),
        replace(window, turns=second, context=(*window.context, *context)[-near:] if near else ()),
    )


SHORTEST_HALF = 500  # characters
BREAK = re.compile(r"\s+")


def unread_turns(subject: Subject) -> int:
    """How many of the person's turns were not yet read for facts: waiting to be cut up, or in windows still open."""
    if settings.EXTRACTOR == "none":
        return 0
    uncut = Session.objects.filter(subject=subject, extract_due_at__isnull=False).aggregate(
        turns=Sum(F("turn_count") - F("turns_planned"))
    )
    waiting = Extraction.objects.filter(subject=subject, state__in=OPEN_STATES).aggregate(
        turns=Sum(Func("indexes", function="cardinality", output_field=IntegerField()))
    )
    return (uncut["turns"] or 0) + (waiting["turns"] or 0)


def waiting_work(*, workspace_id: UUID, now: datetime) -> list[tuple[int, datetime]]:
    """(how many, since when the oldest is due) of the sessions to be cut up and of the windows to be read."""
    return [
        (found["count"], found["oldest"])
        for found in (
            due_sessions(workspace_id=workspace_id, now=now).aggregate(count=Count("pk"), oldest=Min("extract_due_at")),
            due_windows(workspace_id=workspace_id, now=now).aggregate(count=Count("pk"), oldest=Min("next_attempt_at")),
        )
        if found["count"]
    ]


def related(facts: Iterable[KnownFact], text: str, *, most: int) -> list[KnownFact]:
    """The facts that share words with `text`, those with the most first, then the newest; at most `most`."""
    said = _words(text)

    def rank(fact: KnownFact) -> tuple[int, datetime]:
        return len(said & _words(f"{fact.entity} {fact.attribute} {fact.content}")), fact.date

    return sorted(facts, key=rank, reverse=True)[:most]


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.casefold().replace("_", " ")) if len(word) > 2}


def _unread(ids: Iterable[UUID]) -> list[tuple[UUID, int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(UNREAD, {"ids": list(ids)})
        return list(cursor.fetchall())


def _window_turn(turn: Turn) -> WindowTurn:
    return WindowTurn(turn.index, turn.role, turn.name, turn.text, turn.occurred_at, turn.tool_name)


def _known_facts(extraction: Extraction, said: str, handles: Sequence[int] | None) -> list[KnownFact]:
    """What is known of the person and shown to the agent of the session, as an extractor is told it.

    What others wrote and nobody stands behind, or what waits for review, must not speak to the extractor either.
    """
    sight = sight_of(agent_id=extraction.session.agent_id, policy=read_policy(extraction.workspace.policy))
    versions = FactVersion.objects.filter(sight.versions(), fact__subject=extraction.subject_id, status__in=LET_IN)
    if handles is not None:
        versions = versions.filter(fact__handle__in=handles).order_by("fact_id", "-number").distinct("fact_id")
    else:
        versions = versions.filter(status=Status.CURRENT).order_by("-valid_from")[:KNOWN_LOOKED_AT]
    facts = [
        KnownFact(
            handle=version.fact.handle_text,
            fact_id=version.fact_id,
            type=version.fact.type,
            entity=version.fact.entity,
            attribute=version.fact.attribute,
            content=version.content,
            value=version.value,
            unit=version.unit,
            date=version.valid_from,
        )
        for version in versions.select_related("fact")
    ]
    if handles is not None:
        return sorted(facts, key=lambda fact: list(handles).index(int(fact.handle[1:])))
    # In the order of their handles: the same facts are the same bytes in the next window's prompt.
    return sorted(related(facts, said, most=KNOWN_MOST), key=lambda fact: int(fact.handle[1:]))
