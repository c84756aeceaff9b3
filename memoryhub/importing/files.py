"""Reading a file of turns and facts and writing it as memory. The formats: docs/import.md.

The whole file is checked before anything is written. Then each run of lines of one session, or of facts of one person,
is one transaction, which also leaves an audit entry naming the file's digest and its last line: an import that was
interrupted goes on after the last run that was written, and one that was finished changes nothing.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from django.db import connection

from audit.actors import Actor, ActorKind
from audit.models import Entry
from audit.services import record
from facts.exceptions import FactError
from facts.models import FactType, Source
from facts.review import import_approve
from facts.services import FactInput, facts_record
from facts.visibility import policy_of
from memoryhub.access.models import Agent
from memoryhub.api.errors import Refused, flat
from memoryhub.api.inputs import ExternalId, FactIn, Input, TurnIn
from memoryhub.api.rendering import parse_object
from memoryhub.core.tenancy import in_workspace
from memoryhub.importing.formats import FORMATS, NATIVE, format_of
from memoryhub.importing.records import Problem, is_lines, records_of, samples
from sessions.content import read_content
from sessions.exceptions import RecordingError
from sessions.models import Turn, TurnRole
from sessions.services import TurnInput, subject_get_or_create, turns_record

MOST_PROBLEMS = 50
LONGEST_RUN = 500
"""Lines of one transaction at the most: a long session is written in several, each whole."""


class TurnLine(Input):
    """A line that holds a turn."""

    user_id = ExternalId()
    session_id = ExternalId()
    turn = TurnIn()


class FactLine(Input):
    """A line that holds a fact."""

    fact = FactIn()


@dataclass(frozen=True)
class Line:
    """One checked line, or what a record of another format holds, in order.

    `of` says whose run it belongs to: a session, or a person's facts. `place` is where it stands in the file.
    """

    number: int
    place: str
    of: tuple[str, str, str]
    content: dict[str, Any]

    @property
    def is_turn(self) -> bool:
        return self.of[0] == "turn"


@dataclass(frozen=True)
class ImportFile:
    """A file that was read: what it holds, what is wrong with the rest, and the digest that names it in the log.

    Of our own format nothing is taken from a file with a problem; of others, which somebody else wrote, what is sound.
    """

    digest: str
    format: str
    lines: tuple[Line, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass
class Counts:
    """What an import holds, or did."""

    lines: int = 0
    subjects: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    turns: int = 0
    facts: int = 0
    duplicates: int = 0
    let_in: tuple[int, int] = (0, 0)
    """Facts and turns of an earlier import of this file that waited until now."""


class ImportFailed(Exception):
    """A run of lines could not be written; everything before it was. `problem` says why and where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class UnknownFormat(Exception):
    """None of the formats."""


def read_file(path: Path, *, form: str | None = None, user_id: str = "") -> ImportFile:
    """Read and check everything in a file of the format `form`, which is told by its records where it is None.

    `user_id` is whose records are that name nobody. Raises OSError and UnknownFormat; what is wrong inside the file is
    in `problems`, of our own format the first 50.
    """
    form = form or format_of(samples(path))
    if form is None and not is_lines(path) and path.stat().st_size:
        raise UnknownFormat
    if form in (None, NATIVE):
        return _read_native(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    lines: list[Line] = []
    problems: list[Problem] = []
    for number, found in enumerate(FORMATS[form].convert(records_of(path), user_id), start=1):
        if isinstance(found, Problem):
            problems.append(found)
            continue
        if not (found.line.get("fact") or found.line)["user_id"]:
            problems.append(Problem(found.place, "user_id", "It names nobody: say whose it is with --user-id."))
            continue
        try:
            lines.append(_read_line(number, found.place, json.dumps(found.line).encode(), {}))
        except _BadLine as bad:
            problems += [Problem(found.place, name, message) for name, message in bad.faults]
    # Whose it is shapes what is written: the same file for somebody else is another import.
    whose = hashlib.sha256(f"{digest}:{user_id}".encode(errors="surrogatepass")).hexdigest() if user_id else digest
    return ImportFile(whose, form, tuple(lines), tuple(problems))


def _read_native(path: Path) -> ImportFile:
    digest = hashlib.sha256()
    lines: list[Line] = []
    problems: list[Problem] = []
    places: dict[str, int] = {}
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            digest.update(raw)
            if not raw.strip() or len(problems) >= MOST_PROBLEMS:
                continue
            place = f"line {number}"
            try:
                lines.append(_read_line(number, place, raw, places))
            except _BadLine as bad:
                problems += [Problem(place, name, message) for name, message in bad.faults]
    return ImportFile(digest.hexdigest(), NATIVE, () if problems else tuple(lines), tuple(problems[:MOST_PROBLEMS]))


def count(lines: Sequence[Line]) -> Counts:
    """What a file holds, before anything is written."""
    counts = Counts(lines=len(lines))
    for line in lines:
        if line.is_turn:
            counts.turns += 1
            counts.sessions.add(line.of[2])
        else:
            counts.facts += 1
        counts.subjects.add(line.of[1])
    return counts


def import_actor(source: ImportFile) -> Actor:
    """Who imports: the command, and as its credential the file. What it wrote is kept, and found again, under that."""
    return Actor(ActorKind.COMMAND, "import_sessions", credential=f"import:{source.digest[:16]}", label="import")


def write_file(
    source: ImportFile,
    *,
    agent: Agent,
    actor: Actor,
    approved: bool = False,
    progress: Callable[[int], None] = lambda line: None,
) -> Counts:
    """Write what is not written yet; `progress` is told the number of the last line after each transaction.

    Nothing of it reaches an agent before a person vouches for it: turns are withheld and facts wait for review, unless
    `approved` says that somebody does. What the file brought in before is let in then too.

    Raises ImportFailed when a run conflicts with what is remembered already.
    """
    counts = Counts()
    written = _written_until(agent, source.digest)
    if approved and written:
        with in_workspace(agent.workspace_id):
            counts.let_in = import_approve(workspace_id=agent.workspace_id, written_with=actor.credential, actor=actor)
    for run in _runs(source.lines):
        if run[-1].number <= written:
            continue
        with in_workspace(agent.workspace_id):
            turns, facts, duplicates = _write_run(run, agent, actor, approved)
            record(
                actor,
                "memory.imported",
                agent,
                data={
                    "file": source.digest,
                    "lines": run[-1].number,
                    "turns": turns,
                    "facts": facts,
                    "duplicates": duplicates,
                },
            )
        counts.lines += len(run)
        counts.turns += turns
        counts.facts += facts
        counts.duplicates += duplicates
        counts.subjects.add(run[0].of[1])
        if run[0].is_turn:
            counts.sessions.add(run[0].of[2])
        progress(run[-1].number)
    return counts


class _BadLine(Exception):
    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.faults = faults


def _read_line(number: int, place: str, raw: bytes, places: dict[str, int]) -> Line:
    try:
        content = parse_object(raw)
    except Refused as error:
        message = error.message.replace("The body", "The line")
        named = [(name, said) for name, all_said in error.fields.items() for said in all_said]
        raise _BadLine(named or [("", message)]) from error
    if ("turn" in content) == ("fact" in content):
        raise _BadLine([("", "A line holds either a turn or a fact.")])
    serializer = (TurnLine if "turn" in content else FactLine)(data=content)
    if not serializer.is_valid():
        raise _BadLine([(name, message) for name, said in flat(serializer.errors).items() for message in said])
    checked: dict[str, Any] = serializer.validated_data
    if "fact" in checked:
        if checked["fact"].get("replaces") is not None:
            raise _BadLine([("fact.replaces", "An import goes by type, entity and attribute; this is not taken.")])
        return Line(number, place, ("fact", checked["fact"]["user_id"], ""), checked["fact"])
    session, turn = checked["session_id"], checked["turn"]
    # Its place in the file is its place in the session, so that it is the same turn when the file comes again.
    if turn.get("turn_index") is None and turn.get("id") is None:
        turn["turn_index"] = places.get(session, 0)
    places[session] = places.get(session, 0) + 1
    return Line(number, place, ("turn", checked["user_id"], session), turn)


def _runs(lines: Sequence[Line]) -> Iterator[list[Line]]:
    for _, same in groupby(lines, key=lambda line: line.of):
        run = list(same)
        yield from (run[at : at + LONGEST_RUN] for at in range(0, len(run), LONGEST_RUN))


def _written_until(agent: Agent, digest: str) -> int:
    """The last line of this file that an earlier import by this agent wrote; 0 when there was none."""
    with in_workspace(agent.workspace_id), connection.cursor() as cursor:
        cursor.execute(
            f"select coalesce(max((data->>'lines')::bigint), 0) from {Entry._meta.db_table} "  # noqa: S608
            "where workspace_id = %s and action = 'memory.imported' and object_id = %s and data->>'file' = %s",
            [agent.workspace_id, str(agent.id), digest],
        )
        return int(cursor.fetchone()[0])


def _write_run(run: Sequence[Line], agent: Agent, actor: Actor, approved: bool) -> tuple[int, int, int]:
    """Write one run; returns (turns, facts, duplicates)."""
    kind, user_id, session_id = run[0].of
    first = run[0].place
    try:
        if kind == "turn":
            recorded = turns_record(
                workspace_id=agent.workspace_id,
                agent_id=agent.id,
                session_id=session_id,
                user_id=user_id,
                turns=[_turn(line.content) for line in run],
                actor=actor,
                withheld="" if approved else "untrusted_source",
                policy=policy_of(agent.workspace_id),
            )
            return recorded.recorded, 0, recorded.duplicates
        subject = subject_get_or_create(workspace_id=agent.workspace_id, external_id=user_id, actor=actor)
        inputs = [_fact(agent, user_id, line) for line in run]
        facts_record(
            subject=subject,
            facts=inputs,
            source=Source.IMPORT,
            actor=actor,
            agent_id=agent.id,
            approved=approved,
        )
    except (RecordingError, FactError) as error:
        raise ImportFailed(Problem(first, error.field, error.message)) from error
    return 0, len(run), 0


def _turn(turn: dict[str, Any]) -> TurnInput:
    message = turn.get("content") or read_content("")
    role = TurnRole(turn["role"])
    return TurnInput(
        role=TurnRole.TOOL if role == TurnRole.USER and message.only_tool_results else role,
        message=message,
        index=turn.get("turn_index"),
        client_id=turn.get("id"),
        name=turn.get("name", ""),
        tool_name=turn.get("tool_name", ""),
        tool_input=turn.get("tool_input"),
        tool_result=turn.get("tool_result"),
        occurred_at=turn.get("timestamp"),
        metadata=turn.get("metadata", {}),
    )


def _fact(agent: Agent, user_id: str, line: Line) -> FactInput:
    fact = line.content
    return FactInput(
        type=FactType(fact["type"]),
        entity=fact["entity"],
        attribute=fact.get("attribute", ""),
        content=fact["content"],
        value=fact.get("value"),
        unit=fact.get("unit", ""),
        mentions=tuple(fact.get("mentions", ())),
        confidence=fact.get("confidence", 1.0),
        turn=_evidence(agent, user_id, line) if fact.get("session_id") is not None else None,
        coexists=fact["coexists"],
        valid_from=fact.get("valid_from"),
        expires_at=fact.get("expires_at"),
    )


def _evidence(agent: Agent, user_id: str, line: Line) -> Turn:
    """The turn that states the fact: one of this person's, written before it."""
    turn = (
        Turn.objects.filter(
            workspace_id=agent.workspace_id,
            session__subject__external_id=user_id,
            session__external_id=line.content["session_id"],
            index=line.content["turn_index"],
        )
        .select_related("session")
        .first()
    )
    if turn is None:
        raise ImportFailed(Problem(line.place, "fact.turn_index", "This person's session has no such turn."))
    return turn
