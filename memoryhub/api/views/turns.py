"""Recording conversations."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from facts.recall import recall_cite
from memoryhub.access.callers import Caller
from memoryhub.access.permissions import Permission
from memoryhub.api import examples
from memoryhub.api.base import KNOWING, ApiView, checked, shown
from memoryhub.api.errors import TooLarge
from memoryhub.api.inputs import SessionPath, TurnsIn
from memoryhub.api.outputs import ClosedOut, TurnsOut
from memoryhub.api.schema import SESSION_ID, errors
from memoryhub.api.views.memory import MEMORY_SOURCE
from sessions.content import MessageContent, compact_json
from sessions.models import Session, TurnRole
from sessions.services import Recorded, TurnInput, session_close, turns_record

HANDLE = re.compile(r"\[F(\d{1,9})\]")
EMPTY = MessageContent(content="", text="")


class Turns(ApiView):
    permissions: ClassVar = {"POST": Permission.TURNS_WRITE}

    @extend_schema(
        operation_id="record_turns",
        summary="Record turns of a session",
        description=(
            "Appends messages to a session, which comes into being with its first ones. Safe to send again: a turn "
            "that is known by its `id` or `turn_index` with the same content is counted as a duplicate, with other "
            "content the whole request is refused (409). All turns are kept, or none.\n\n"
            "`content` is kept as sent. A user message made only of `tool_result` blocks gets the role `tool`; a "
            "result whose call is nowhere in the session is kept and marked as an orphan. With `recall_id`, facts of "
            "that recall which the assistant cites (a citation of a search_result block, or `[F12]` in its text) are "
            "marked as cited.\n\nAnswers 201 when something new was kept, else 200: all were duplicates, or recording "
            "is paused for the person and `paused` says so."
        ),
        parameters=[SESSION_ID],
        request=TurnsIn,
        responses={
            201: OpenApiResponse(TurnsOut, description="Kept: a 201 is durable."),
            200: OpenApiResponse(TurnsOut, description="Nothing new was kept."),
            **errors(
                404,
                409,
                410,
                because={404: "There is no such recall.", 409: "Taken by other content, person or agent."},
            ),
        },
        examples=[examples.TURNS, examples.TOOL_TURNS, examples.TURNS_RECORDED],
        tags=["Recording"],
    )
    def post(self, request: Request, session_id: str) -> Response:
        external_id = checked(SessionPath, {"session_id": session_id})["session_id"]
        body = self.body(TurnsIn)
        turns = [_turn_input(turn) for turn in body["turns"]]
        _refuse_oversized(turns, self.caller.policy.turn_characters(settings.MAX_TURN_CHARACTERS))
        caller = self.caller
        extracts = caller.mode in KNOWING
        with self.workspace():
            recorded = turns_record(
                workspace_id=caller.workspace_id,
                agent_id=caller.agent_id,
                session_id=external_id,
                user_id=body["user_id"],
                turns=turns,
                actor=caller.actor,
                metadata=body.get("metadata"),
                extract=extracts,
                policy=caller.policy,
            )
            if body.get("recall_id") and not recorded.paused:
                _mark_cited(caller, body["recall_id"], turns)
        answer = {
            "session_id": external_id,
            "recorded": recorded.recorded,
            "duplicates": recorded.duplicates,
            "paused": "recording" if recorded.paused else None,
            "turns": recorded.turns,
            "extraction": _extraction_after(recorded, extracts=extracts),
        }
        return Response(shown(TurnsOut, answer), status=201 if recorded.recorded else 200)


class SessionClose(ApiView):
    permissions: ClassVar = {"POST": Permission.TURNS_WRITE}

    @extend_schema(
        operation_id="close_session",
        summary="Close a session",
        description=(
            "Says that the conversation is over: what is left of it is extracted soon. Takes no body. Closing twice "
            "changes nothing; further turns open the session again."
        ),
        parameters=[SESSION_ID],
        request=None,
        responses={202: ClosedOut, **errors(404, because={404: "This agent has no such session."})},
        tags=["Recording"],
    )
    def post(self, request: Request, session_id: str) -> Response:
        external_id = checked(SessionPath, {"session_id": session_id})["session_id"]
        caller = self.caller
        with self.workspace():
            session = session_close(
                workspace_id=caller.workspace_id,
                agent_id=caller.agent_id,
                session_id=external_id,
                actor=caller.actor,
            )
        answer = {
            "session_id": external_id,
            "closed_at": session.closed_at,
            "extraction": _extraction_of(session, extracts=caller.mode in KNOWING),
        }
        return Response(shown(ClosedOut, answer), status=202)


def _turn_input(turn: Mapping[str, Any]) -> TurnInput:
    message: MessageContent = turn.get("content") or EMPTY
    role = TurnRole(turn["role"])
    if role == TurnRole.USER and message.only_tool_results:
        role = TurnRole.TOOL
    return TurnInput(
        role=role,
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


def _refuse_oversized(turns: Sequence[TurnInput], limit: int) -> None:
    for position, turn in enumerate(turns):
        for field, value in (
            ("content", turn.message.content),
            ("tool_input", turn.tool_input),
            ("tool_result", turn.tool_result),
        ):
            size = len(value) if isinstance(value, str) else len(compact_json(value))
            if size > limit:
                says = f"Longer than {limit} characters ({size})."
                path = f"turns[{position}].{field}"
                raise TooLarge(f"{path}: {says}", fields={path: [says]})


def _extraction_after(recorded: Recorded, *, extracts: bool) -> dict[str, Any]:
    if not extracts or settings.EXTRACTOR == "none":
        return {"state": "off", "due_at": None}
    if recorded.extract_due_at:
        return {"state": "due", "due_at": recorded.extract_due_at}
    # New turns become due unless extraction is paused for the person.
    return {"state": "paused" if recorded.paused or recorded.recorded else "idle", "due_at": None}


def _extraction_of(session: Session, *, extracts: bool) -> dict[str, Any]:
    if not extracts or settings.EXTRACTOR == "none":
        return {"state": "off", "due_at": None}
    if not session.subject.readable:
        return {"state": "paused", "due_at": None}
    return {"state": "due" if session.extract_due_at else "idle", "due_at": session.extract_due_at}


def _mark_cited(caller: Caller, recall_id: UUID, turns: Iterable[TurnInput]) -> None:
    """Mark what the assistant cites of a recall. Raises UnknownFact when the agent has no such recall."""
    spoken = [turn.message for turn in turns if turn.role == TurnRole.ASSISTANT]
    recall_cite(
        workspace_id=caller.workspace_id,
        agent_id=caller.agent_id,
        recall_id=recall_id,
        actor=caller.actor,
        fact_ids=[fact_id for message in spoken for fact_id in _cited_sources(message)],
        handles=[int(number) for message in spoken for number in HANDLE.findall(message.text)],
    )


def _cited_sources(message: MessageContent) -> Iterator[UUID]:
    """The facts that citations in text blocks name as `memory://facts/<id>`."""
    blocks = message.content if isinstance(message.content, list) else []
    for block in blocks:
        citations = block.get("citations")
        for citation in citations if isinstance(citations, list) else []:
            source = citation.get("source") if isinstance(citation, dict) else None
            named = MEMORY_SOURCE.match(source) if isinstance(source, str) else None
            if named:
                yield UUID(named[1])
