"""Surfacing: working memory, search, and what became of it."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar, cast
from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from facts.block import BlockTurn, fact_line, turn_line
from facts.models import FactType
from facts.recall import Receipted, recall_cite
from facts.retrieval.results import FactHit, TurnHit
from facts.search import Kind, SearchRequest, memory_search
from facts.working_memory import MemoryRequest, Viewpoint, WorkingMemory, block_fact, working_memory
from memoryhub.access.callers import Caller
from memoryhub.access.permissions import Permission
from memoryhub.api import examples
from memoryhub.api.base import KNOWING, ApiView, shown
from memoryhub.api.errors import ModeForbids
from memoryhub.api.inputs import CitedIn, SearchIn, WorkingMemoryIn
from memoryhub.api.outputs import SearchOut, WorkingMemoryOut
from memoryhub.api.schema import errors

MEMORY_SOURCE = re.compile(r"memory://facts/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z")


class WorkingMemoryView(ApiView):
    permissions: ClassVar = {"POST": Permission.MEMORY_READ}

    @extend_schema(
        operation_id="working_memory",
        summary="Get the working memory for a message",
        description=(
            "The block to put before the model when it answers `message`: the last turns of the agent's previous "
            "session with this person, and the facts that bear on the message, packed into the token budget. It is "
            "context from earlier sessions, never a replayed conversation.\n\n"
            "What is given out is recorded as a recall in the same transaction: `receipt` names the audit entry. "
            "Somebody who is not known gets an empty answer, and nothing is created. Parts that failed are left out "
            "and named in `degraded`. An agent in mode `episodic` gets recent turns only."
        ),
        request=WorkingMemoryIn,
        responses={
            200: WorkingMemoryOut,
            **errors(404, because={404: "`previous_session_id` names no session of this person."}),
        },
        examples=[examples.WORKING_MEMORY, examples.WORKING_MEMORY_GIVEN],
        tags=["Memory"],
    )
    def post(self, request: Request) -> Response:
        body = self.body(WorkingMemoryIn)
        ask = MemoryRequest(**body | {"types": _types(body)})
        memory = working_memory(view=viewpoint(self.caller), ask=ask)
        answer = receipted(memory.recall) | {
            "block": memory.block,
            "tokens_estimated": memory.tokens,
            "facts": memory.facts,
            "recent_turns": memory.turns,
            "search_results": list(_search_results(memory)) if ask.format == "search_results" else [],
            "omitted": memory.omitted,
            "pending_turns": memory.pending_turns,
            "degraded": memory.degraded,
            "paused": "surfacing" if memory.paused else None,
        }
        return Response(shown(WorkingMemoryOut, answer))


class Search(ApiView):
    permissions: ClassVar = {"POST": Permission.MEMORY_READ}

    @extend_schema(
        operation_id="search",
        summary="Search a person's facts and turns",
        description=(
            "Hybrid search inside one person's memory: by meaning, by word, by exact match. Scores mean the same for "
            "both kinds. Recorded as a recall, like everything that is given out. In mode `episodic` only turns can "
            "be searched."
        ),
        request=SearchIn,
        responses={200: SearchOut},
        examples=[examples.SEARCH],
        tags=["Memory"],
    )
    def post(self, request: Request) -> Response:
        body = self.body(SearchIn)
        ask = SearchRequest(
            user_id=body["user_id"],
            query=body["query"],
            kinds=_kinds(body.get("kinds"), self.caller),
            top_k=body["top_k"],
            score_threshold=body.get("score_threshold") or 0.0,
            min_similarity=body.get("min_similarity"),
            types=_types(body),
        )
        found = memory_search(view=viewpoint(self.caller), ask=ask)
        answer = receipted(found.recall) | {
            "hits": [_hit(hit) for hit in found.hits],
            "degraded": found.degraded,
            "paused": "surfacing" if found.paused else None,
        }
        return Response(shown(SearchOut, answer))


class Cited(ApiView):
    permissions: ClassVar = {"POST": Permission.MEMORY_READ}
    modes = KNOWING

    @extend_schema(
        operation_id="cite",
        summary="Tell which facts of a recall were used",
        description=(
            "Marks facts of one of the agent's own recalls as cited. Marking again changes nothing; facts that the "
            "recall did not hold are passed over."
        ),
        request=CitedIn,
        responses={
            204: OpenApiResponse(description="Marked."),
            **errors(404, because={404: "This agent has no such recall."}),
        },
        examples=[examples.CITED],
        tags=["Memory"],
    )
    def post(self, request: Request, recall_id: UUID) -> Response:
        body = self.body(CitedIn)
        caller = self.caller
        with self.workspace():
            recall_cite(
                workspace_id=caller.workspace_id,
                agent_id=caller.agent_id,
                recall_id=recall_id,
                actor=caller.actor,
                fact_ids=body["fact_ids"],
            )
        return Response(status=204)


def viewpoint(caller: Caller) -> Viewpoint:
    return Viewpoint.of(caller)


def receipted(recall: Receipted | None) -> dict[str, Any]:
    return {"recall_id": recall.recall_id if recall else None, "receipt": recall.receipt if recall else None}


def _types(body: dict[str, Any]) -> tuple[FactType, ...]:
    return tuple(FactType(one) for one in dict.fromkeys(body.get("types") or ()))


def _kinds(asked: list[str] | None, caller: Caller) -> tuple[Kind, ...]:
    if caller.mode in KNOWING:
        return cast(tuple[Kind, ...], tuple(dict.fromkeys(asked or ("fact", "turn"))))
    if asked and "fact" in asked:
        raise ModeForbids(
            f"The agent's memory mode is {caller.mode.value}: it has no facts.",
            fields={"kinds": ["Only turns can be searched in this mode."]},
        )
    return ("turn",)


def _hit(hit: FactHit | TurnHit) -> dict[str, Any]:
    scored = {"score": hit.score, "scores": hit.scores}
    if isinstance(hit, TurnHit):
        turn = hit.turn
        return scored | {
            "kind": "turn",
            "id": turn.id,
            "session_id": hit.told_in,
            "turn_index": turn.index,
            "role": turn.role,
            "handle": None,
            "version": None,
            "status": None,
            "valid_from": turn.occurred_at,
            "content": turn.text,
        }
    version = hit.version
    return scored | {
        "kind": "fact",
        "id": version.fact_id,
        "session_id": hit.told_in,
        "turn_index": None,
        "role": None,
        "handle": version.fact.handle_text,
        "version": version.number,
        "status": version.status,
        "valid_from": version.valid_from,
        "content": version.content,
    }


def _search_results(memory: WorkingMemory) -> Iterator[dict[str, Any]]:
    """What stands in the block as search_result blocks: Claude's own citations then name the facts."""
    for hit in memory.facts:
        line = block_fact(hit.version)
        yield _search_result(
            f"memory://facts/{hit.version.fact_id}", f"{line.handle} {line.type}", fact_line(line).removeprefix("- ")
        )
    for turn in memory.turns:
        told = turn_line(BlockTurn(key=turn.id, role=turn.role, name=turn.name, text=turn.text))
        yield _search_result(f"memory://turns/{turn.id}", "Previous session", told.removeprefix("- "))


def _search_result(source: str, title: str, text: str) -> dict[str, Any]:
    return {
        "type": "search_result",
        "source": source,
        "title": title,
        "content": [{"type": "text", "text": text}],
        "citations": {"enabled": True},
    }
