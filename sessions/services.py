"""Writing episodic memory. Every function runs in the caller's workspace transaction: check, write, record."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from audit.actors import Actor
from audit.erasure.tombstones import Erased, refuse_erased
from audit.services import record
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.access.screening import Screening, kinds_of
from memoryhub.core.text import without_memory_blocks
from sessions.content import MessageContent, compact_json, message_digest, read_content
from sessions.exceptions import SessionOfAnother, TurnConflict, UnknownSession
from sessions.indexing import index_turns
from sessions.models import Session, Subject, Turn, TurnRole

NAME_LENGTH = 256
PAUSES = ("recording", "extraction", "surfacing")
MAX_INDEX = 2**31 - 1
DEFAULT_POLICY = WorkspacePolicy()


@dataclass(frozen=True)
class TurnInput:
    """One message to record, already read. Without `index` it is appended."""

    role: TurnRole
    message: MessageContent
    index: int | None = None
    client_id: str | None = None
    name: str = ""
    tool_name: str = ""
    tool_input: Any = None
    tool_result: Any = None
    occurred_at: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    findings: tuple[dict[str, Any], ...] = ()
    withheld: bool = False

    @property
    def holds_results(self) -> bool:
        """Whether what tools or searches returned is part of it: those are not its speaker's words."""
        return self.role == TurnRole.TOOL or self.tool_result is not None or self.message.holds_results

    @property
    def digest(self) -> bytes:
        return message_digest(
            role=self.role,
            name=self.name,
            content=self.message.content,
            tool_name=self.tool_name,
            tool_input=self.tool_input,
            tool_result=self.tool_result,
        )


def screened_turn(turn: TurnInput, policy: WorkspacePolicy) -> TurnInput:
    """`turn` as it may be kept: what `policy` redacts is gone from every part of it, with a note of what was found."""
    screening = Screening(policy)
    content = screening.json(turn.message.content, "content")
    cleaned = replace(
        turn,
        name=screening.text(turn.name, "name"),
        tool_input=screening.json(turn.tool_input, "tool_input"),
        tool_result=screening.json(turn.tool_result, "tool_result"),
        metadata=screening.json(turn.metadata, "metadata"),
    )
    if not screening.found:
        return turn
    return replace(
        cleaned,
        message=turn.message if content == turn.message.content else read_content(content),
        findings=tuple(screening.findings),
        withheld=screening.quarantine,
    )


@dataclass(frozen=True)
class Recorded:
    """What became of a request to record: `turns` holds every turn sent, new or known, in the order sent."""

    session_id: str
    turns: tuple[Turn, ...]
    recorded: int
    duplicates: int
    paused: bool = False
    extract_due_at: datetime | None = None


def subject_get_or_create(*, workspace_id: UUID, external_id: str, actor: Actor) -> Subject:
    """The subject that the caller calls `external_id`, made (and told so in the log) when new, once for all callers."""
    known = Subject.objects.filter(workspace_id=workspace_id, external_id=external_id).first()
    if known:
        return known
    new = Subject(workspace_id=workspace_id, external_id=external_id)
    Subject.objects.bulk_create([new], ignore_conflicts=True)
    subject = Subject.objects.get(workspace_id=workspace_id, external_id=external_id)
    if subject.id == new.id:
        record(actor, "subject.created", subject, subject=subject, commit={"external_id": external_id})
    return subject


def _known_subject(workspace_id: UUID, external_id: str) -> Subject | None:
    """The subject, held until the end of the transaction against being erased: who erases waits for who writes."""
    table = Subject._meta.db_table
    found = Subject.objects.raw(
        f"select * from {table} where workspace_id = %s and external_id = %s for key share",  # noqa: S608 - ours
        [workspace_id, external_id],
    )
    return next(iter(found), None)


def turns_record(
    *,
    workspace_id: UUID,
    agent_id: UUID,
    session_id: str,
    user_id: str,
    turns: Sequence[TurnInput],
    actor: Actor,
    metadata: dict[str, Any] | None = None,
    extract: bool = True,
    withheld: str = "",
    policy: WorkspacePolicy = DEFAULT_POLICY,
) -> Recorded:
    """Append turns to a session, which comes into being with its first ones. Idempotent by client id or index.

    Sensitive data is treated as `policy` says before anything else happens: what it redacts is kept nowhere, and a turn
    that it quarantines is withheld. With `withheld`, a reason, all new ones are: kept, neither surfaced nor extracted
    from.

    Raises SessionOfAnother when the session exists under another subject or agent, TurnConflict when an index or id
    is taken by other content, Erased for what was erased; nothing is written then. While recording is paused for the
    subject nothing is kept.
    """
    subject = _known_subject(workspace_id, user_id)
    refuse_erased(
        workspace_id=workspace_id,
        user_id=user_id,
        session_id=session_id,
        subject_id=subject.id if subject else None,
        known_since=subject.created_at if subject else None,
        dated=[turn.occurred_at for turn in turns if turn.occurred_at],
    )
    subject = subject or subject_get_or_create(workspace_id=workspace_id, external_id=user_id, actor=actor)
    if subject.recording_paused_at:
        record(actor, "turns.recorded", subject, subject=subject.id, reason="recording_paused", data={"recorded": 0})
        return Recorded(session_id=session_id, turns=(), recorded=0, duplicates=0, paused=True)
    now = timezone.now()
    turns = [screened_turn(turn, policy) for turn in turns]
    session = _session_locked(
        workspace_id=workspace_id, subject=subject, agent_id=agent_id, external_id=session_id, at=_span(turns, now)
    )
    new, sent = _place(session, turns, now)
    if new:
        _mark_orphans(session, new, turns)
        for turn in new:
            turn.written_with = actor.credential
            if withheld:
                turn.withheld_at, turn.withheld_reason = now, withheld
        Turn.objects.bulk_create(new)
        first, last = _span(turns, now)
        session.started_at = min(session.started_at, first)
        session.last_turn_at = max(session.last_turn_at, last)
        session.turn_count += len(new)
        session.closed_at = None
        if metadata:
            session.metadata = session.metadata | Screening(policy).json(metadata, "metadata")
        if extract and settings.EXTRACTOR != "none":
            # Kept while extraction is paused for the person too: it waits, and goes on when the pause ends.
            full = session.turn_count - session.turns_planned >= settings.EXTRACT_EVERY_TURNS
            session.extract_due_at = now + timedelta(seconds=0 if full else settings.EXTRACT_AFTER_IDLE_SECONDS)
        session.save(
            update_fields=["started_at", "last_turn_at", "turn_count", "closed_at", "metadata", "extract_due_at"]
        )
        # What is withheld is not sent to an embedder either; it is indexed when it is released.
        index_turns(subject=subject, session=session, turns=[turn for turn in new if not turn.withheld_at])
    found = kinds_of(finding for turn in new for finding in turn.findings)
    record(
        actor,
        "turns.recorded",
        session,
        subject=subject.id,
        session=session.id,
        data={
            "recorded": len(new),
            "duplicates": len(sent) - len(new),
            "orphans": sum(turn.orphan for turn in new),
            "characters": sum(len(turn.text) for turn in new),
        }
        | ({"first_index": min(t.index for t in new), "last_index": max(t.index for t in new)} if new else {})
        | ({"found": found, "withheld": sum(turn.withheld_at is not None for turn in new)} if found else {}),
    )
    return Recorded(
        session_id=session_id,
        turns=tuple(sent),
        recorded=len(new),
        duplicates=len(sent) - len(new),
        extract_due_at=session.extract_due_at if subject.readable else None,
    )


def session_close(*, workspace_id: UUID, agent_id: UUID, session_id: str, actor: Actor) -> Session:
    """End a conversation: what is left of it becomes due for extraction at once. Closing twice changes nothing.

    Raises UnknownSession when the agent has no such session.
    """
    session = (
        Session.objects.select_for_update(of=("self",))
        .select_related("subject")
        .filter(workspace_id=workspace_id, agent_id=agent_id, external_id=session_id)
        .first()
    )
    if session is None:
        raise UnknownSession("session_id", "There is no such session.")
    if session.closed_at is None:
        session.closed_at = timezone.now()
        if session.extract_due_at:
            session.extract_due_at = session.closed_at
        session.save(update_fields=["closed_at", "extract_due_at"])
        record(
            actor,
            "session.closed",
            session,
            subject=session.subject_id,
            session=session.id,
            data={"turns": session.turn_count},
        )
    return session


def subject_restrict(*, subject: Subject, restricted: bool, actor: Actor, reason: str = "requested") -> Subject:
    """Restrict a person's memory (kept, but neither surfaced nor extracted from), or lift it. Twice changes nothing."""
    subject = Subject.objects.select_for_update().get(pk=subject.pk)
    if bool(subject.restricted_at) != restricted:
        subject.restricted_at = timezone.now() if restricted else None
        subject.save(update_fields=["restricted_at"])
        action = "subject.restricted" if restricted else "subject.unrestricted"
        record(actor, action, subject, subject=subject.id, reason=reason)
    return subject


def subject_pause(
    *, subject: Subject, what: Collection[str], paused: bool, actor: Actor, reason: str = "requested"
) -> Subject:
    """Pause or resume `recording`, `extraction`, `surfacing` for a person. What is so already is left as it is."""
    subject = Subject.objects.select_for_update().get(pk=subject.pk)
    changed = [part for part in PAUSES if part in what and bool(getattr(subject, f"{part}_paused_at")) != paused]
    if changed:
        for part in changed:
            setattr(subject, f"{part}_paused_at", timezone.now() if paused else None)
        subject.save(update_fields=[f"{part}_paused_at" for part in changed])
        action = "subject.paused" if paused else "subject.resumed"
        record(actor, action, subject, subject=subject.id, reason=reason, data={"what": changed})
    return subject


def _session_locked(
    *, workspace_id: UUID, subject: Subject, agent_id: UUID, external_id: str, at: tuple[datetime, datetime]
) -> Session:
    """The session, locked so that two writers cannot take the same index."""
    mine = Session.objects.select_for_update().filter(workspace_id=workspace_id, external_id=external_id)
    session = mine.first()
    if session is None:
        fresh = Session(
            workspace_id=workspace_id,
            subject=subject,
            agent_id=agent_id,
            external_id=external_id,
            started_at=at[0],
            last_turn_at=at[1],
        )
        Session.objects.bulk_create([fresh], ignore_conflicts=True)
        session = mine.first()
    if session is None:
        # Taken by somebody else, of whom the holder of a subject token is not to know.
        raise UnknownSession("session_id", "There is no such session.")
    if session.subject_id != subject.id:
        raise SessionOfAnother("user_id", "This session belongs to another user_id.")
    if session.agent_id != agent_id:
        raise SessionOfAnother("session_id", "This session belongs to another agent.")
    return session


def _place(session: Session, turns: Sequence[TurnInput], now: datetime) -> tuple[list[Turn], list[Turn]]:
    """Decide which of `turns` are new and where they go: (the new ones, all of them in the order sent)."""
    by_index: dict[int, Turn] = {}
    by_client_id: dict[str, Turn] = {}
    indexes = [turn.index for turn in turns if turn.index is not None]
    client_ids = [turn.client_id for turn in turns if turn.client_id is not None]
    next_index = 0
    if session.turn_count:
        known = session.turns.only("id", "index", "client_id", "digest", "session_id", "findings", "erased_at")
        if indexes:
            by_index = {turn.index: turn for turn in known.filter(index__in=indexes)}
        if client_ids:
            by_client_id = {turn.client_id: turn for turn in known.filter(client_id__in=client_ids) if turn.client_id}
        next_index = session.turns.aggregate(last=Max("index"))["last"] + 1
    new: list[Turn] = []
    sent: list[Turn] = []
    for position, turn in enumerate(turns):
        path = f"turns[{position}]"
        there = by_client_id.get(turn.client_id) if turn.client_id is not None else None
        if there is not None and turn.index is not None and there.index != turn.index:
            raise TurnConflict(f"{path}.id", f"This id was recorded at turn_index {there.index}.")
        if there is None and turn.index is not None:
            there = by_index.get(turn.index)
            if there is not None and turn.client_id is not None and there.client_id != turn.client_id:
                raise TurnConflict(f"{path}.turn_index", "This turn_index is taken by a turn with another id.")
        if there is not None:
            if there.erased_at:
                raise Erased(path, "What this turn said was erased.")
            if bytes(there.digest) != turn.digest:
                taken_by = "id" if turn.client_id is not None else "turn_index"
                raise TurnConflict(f"{path}.{taken_by}", f"This {taken_by} was recorded with other content.")
            sent.append(there)
            continue
        index = turn.index if turn.index is not None else next_index
        if index > MAX_INDEX:
            raise TurnConflict(f"{path}.turn_index", "The session has no index left after its last turn.")
        next_index = max(next_index, index + 1)
        row = Turn(
            workspace_id=session.workspace_id,
            session=session,
            index=index,
            client_id=turn.client_id,
            role=turn.role,
            name=turn.name,
            content=turn.message.content,
            text=without_memory_blocks(turn.message.text or _tool_text(turn)),
            tool_name=turn.tool_name
            or (turn.message.tool_calls[0][1][:NAME_LENGTH] if turn.message.tool_calls else ""),
            tool_input=turn.tool_input,
            tool_result=turn.tool_result,
            holds_results=turn.holds_results,
            metadata=turn.metadata,
            occurred_at=turn.occurred_at or now,
            digest=turn.digest,
            findings=list(turn.findings),
            withheld_at=now if turn.withheld else None,
            withheld_reason="sensitive" if turn.withheld else "",
        )
        by_index[index] = row
        if turn.client_id is not None:
            by_client_id[turn.client_id] = row
        new.append(row)
        sent.append(row)
    return new, sent


def _tool_text(turn: TurnInput) -> str:
    """The readable text of a turn that carries its tool result beside its content."""
    if turn.tool_result is None:
        return ""
    return turn.tool_result if isinstance(turn.tool_result, str) else compact_json(turn.tool_result)


def _mark_orphans(session: Session, new: Sequence[Turn], turns: Sequence[TurnInput]) -> None:
    """Mark the new turns whose tool result answers a call that is nowhere in the session."""
    wanted = {call for turn in turns for call in turn.message.tool_results}
    if not wanted:
        return
    called = {call for turn in turns for call, _, _ in turn.message.tool_calls}
    for missing in wanted - called:
        if session.turns.filter(content__contains=[{"id": missing}]).exists():
            called.add(missing)
    for row in new:
        blocks = row.content if isinstance(row.content, list) else []
        row.orphan = any(block.get("tool_use_id") not in called for block in blocks if "tool_use_id" in block)


def _span(turns: Sequence[TurnInput], now: datetime) -> tuple[datetime, datetime]:
    """When the earliest and the latest of `turns` were said."""
    times = [turn.occurred_at or now for turn in turns]
    return min(times, default=now), max(times, default=now)
