"""Windows of turns that are read for facts, and those that were given up on. Ids, codes and numbers; no content."""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from facts.extraction.replay import (
    DeadLetterFilter,
    dead_letters_put_back,
    dead_letters_replay,
    replay_progress,
)
from facts.models import Extraction, ExtractionState
from memoryhub.access.permissions import Permission
from memoryhub.api import examples
from memoryhub.api.base import ANY_MODE, ApiView, shown
from memoryhub.api.errors import NotFound
from memoryhub.api.inputs import DeadLetterQuery, DeadLetterReplayIn, ExtractionQuery
from memoryhub.api.outputs import ExtractionOut, ExtractionPageOut, ReplayedOut, ReplayProgressOut
from memoryhub.api.paging import cursor_after, cursor_id
from memoryhub.api.schema import errors
from memoryhub.core.ids import uuid7

UNKNOWN = {404: "There is no such window in this workspace."}
UNKNOWN_REPLAY = {404: "There is no such replay in this workspace, or all its windows were replayed again since."}
UNKNOWN_LETTER = {404: "There is no such dead letter in this workspace."}


class ExtractionView(ApiView):
    modes = ANY_MODE
    keys_only = True

    def all(self) -> QuerySet[Extraction]:
        return Extraction.objects.filter(workspace_id=self.caller.workspace_id).select_related("session")

    def page(self, rows: QuerySet[Extraction], *, cursor: str | None, limit: int) -> Response:
        """One page, newest first."""
        if cursor is not None:
            rows = rows.filter(id__lt=cursor_id(cursor))
        found = list(rows.order_by("-id")[: limit + 1])
        page = found[:limit]
        answer = {"extractions": page, "next": cursor_after(page[-1].id) if len(found) > limit else None}
        return Response(shown(ExtractionPageOut, answer))


class Extractions(ExtractionView):
    permissions: ClassVar = {"GET": Permission.EXTRACTIONS_VIEW}

    @extend_schema(
        operation_id="list_extractions",
        summary="List windows of turns",
        description="Each is a stretch of one session that is read for facts once. Newest first.",
        parameters=[ExtractionQuery],
        responses={200: ExtractionPageOut},
        tags=["Extraction"],
    )
    def get(self, request: Request) -> Response:
        query = self.query(ExtractionQuery)
        with self.workspace():
            rows = self.all()
            for name in ("state", "subject_id", "error"):
                if name in query:
                    rows = rows.filter(**{name: query[name]})
            if "session_id" in query:
                rows = rows.filter(session__external_id=query["session_id"])
            return self.page(rows, cursor=query.get("cursor"), limit=query["limit"])


class ExtractionDetail(ExtractionView):
    permissions: ClassVar = {"GET": Permission.EXTRACTIONS_VIEW}

    @extend_schema(
        operation_id="get_extraction",
        summary="Get a window of turns",
        description="Its state, attempts, the last failure as a code, tokens and cost, and what became of the facts.",
        responses={200: ExtractionOut, **errors(404, because=UNKNOWN)},
        tags=["Extraction"],
    )
    def get(self, request: Request, extraction_id: UUID) -> Response:
        with self.workspace():
            row = self.all().filter(pk=extraction_id).first()
            if row is None:
                raise NotFound("There is no such window.")
            return Response(shown(ExtractionOut, row))


class DeadLetters(ExtractionView):
    permissions: ClassVar = {"GET": Permission.EXTRACTIONS_VIEW}

    @extend_schema(
        operation_id="list_dead_letters",
        summary="List dead letters",
        description="Windows that were given up on, each with its cause. Their turns are untouched. Newest first.",
        parameters=[DeadLetterQuery],
        responses={200: ExtractionPageOut},
        tags=["Extraction"],
    )
    def get(self, request: Request) -> Response:
        query = self.query(DeadLetterQuery)
        limit, cursor = query.pop("limit"), query.pop("cursor", None)
        with self.workspace():
            rows = _which(query).of(self.caller.workspace_id).select_related("session")
            return self.page(rows, cursor=cursor, limit=limit)


class DeadLetterDetail(ExtractionView):
    permissions: ClassVar = {"GET": Permission.EXTRACTIONS_VIEW}

    @extend_schema(
        operation_id="get_dead_letter",
        summary="Get a dead letter",
        responses={200: ExtractionOut, **errors(404, because=UNKNOWN_LETTER)},
        tags=["Extraction"],
    )
    def get(self, request: Request, extraction_id: UUID) -> Response:
        with self.workspace():
            row = self.all().filter(pk=extraction_id, state=ExtractionState.DEAD).first()
            if row is None:
                raise NotFound("There is no such dead letter.")
            return Response(shown(ExtractionOut, row))


class DeadLetterReplay(ExtractionView):
    permissions: ClassVar = {"POST": Permission.EXTRACTIONS_REPLAY}

    @extend_schema(
        operation_id="replay_dead_letter",
        summary="Replay a dead letter",
        description="The window waits to be read again, with all its attempts. Takes no body.",
        request=None,
        responses={202: ReplayedOut, **errors(404, because=UNKNOWN_LETTER)},
        tags=["Extraction"],
    )
    def post(self, request: Request, extraction_id: UUID) -> Response:
        replay = uuid7()
        with self.workspace():
            windows = dead_letters_put_back(
                workspace_id=self.caller.workspace_id,
                which=DeadLetterFilter(ids=(extraction_id,)),
                actor=self.caller.actor,
                replay=replay,
            )
            if not windows:
                raise NotFound("There is no such dead letter.")
        return Response(shown(ReplayedOut, {"id": replay, "windows": windows}), status=202)


class DeadLettersReplay(ExtractionView):
    permissions: ClassVar = {"POST": Permission.EXTRACTIONS_REPLAY}

    @extend_schema(
        operation_id="replay_dead_letters",
        summary="Replay dead letters",
        description=(
            'Those that match everything you name, or `{"all": true}`. They wait to be read again, with all their '
            "attempts; ask for the progress under the id in the answer."
        ),
        request=DeadLetterReplayIn,
        responses={202: ReplayedOut},
        examples=[examples.DEAD_LETTERS_REPLAY],
        tags=["Extraction"],
    )
    def post(self, request: Request) -> Response:
        body = self.body(DeadLetterReplayIn)
        body.pop("all", None)
        replayed = dead_letters_replay(
            workspace_id=self.caller.workspace_id, which=_which(body), actor=self.caller.actor
        )
        return Response(shown(ReplayedOut, {"id": replayed.id, "windows": replayed.windows}), status=202)


class Replay(ExtractionView):
    permissions: ClassVar = {"GET": Permission.EXTRACTIONS_VIEW}

    @extend_schema(
        operation_id="get_replay",
        summary="See how far a replay has come",
        description="A window that was replayed again since counts with that replay alone.",
        responses={200: ReplayProgressOut, **errors(404, because=UNKNOWN_REPLAY)},
        tags=["Extraction"],
    )
    def get(self, request: Request, replay_id: UUID) -> Response:
        with self.workspace():
            progress = replay_progress(workspace_id=self.caller.workspace_id, replay=replay_id)
        if not progress.windows:
            raise NotFound("There is no such replay.")
        return Response(shown(ReplayProgressOut, progress))


def _which(given: Mapping[str, Any]) -> DeadLetterFilter:
    return DeadLetterFilter(
        error=given.get("error", ""),
        session=given.get("session_id", ""),
        subject_id=given.get("subject_id"),
        since=given.get("since"),
        before=given.get("before"),
        ids=tuple(given.get("ids", ())),
    )
