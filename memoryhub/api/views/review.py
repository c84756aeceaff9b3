"""What waits for a person: looked at, let in, put right or turned down by whoever holds a reviewer's key."""

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from facts.exceptions import UnknownFact
from facts.models import FactVersion, RecallKind
from facts.recall import Item, Receipted, surface
from facts.review import (
    Reviewed,
    ReviewFilter,
    review_queue,
    reviewed,
    version_approve,
    version_edit,
    version_reject,
)
from memoryhub.access.callers import Caller
from memoryhub.access.permissions import Permission
from memoryhub.api import examples
from memoryhub.api.base import KNOWING, ApiView, shown
from memoryhub.api.inputs import ReviewApproveIn, ReviewQuery, ReviewRejectIn
from memoryhub.api.outputs import FactChangedOut, ReviewPageOut
from memoryhub.api.paging import cursor_after, cursor_id
from memoryhub.api.schema import errors
from sessions.models import NOT_SURFACED, Subject, none_set

BECAUSE = {
    403: "The key lacks the scope, or its agent wrote this itself: that is for somebody else to review.",
    404: "There is no such version in this workspace.",
    409: "The version's state does not allow this.",
}


class Review(ApiView):
    permissions: ClassVar = {"GET": Permission.MEMORY_REVIEW}
    modes = KNOWING
    keys_only = True

    @extend_schema(
        operation_id="list_review",
        summary="List what waits for review",
        description=(
            "Versions of facts that wait for a person, the oldest first, each with why it waits and what it would "
            "replace. This is content that nobody has vouched for: give such a key to a tool of yours, never to an "
            "agent that talks to people. What is listed is recorded as a recall of each person it is about; nothing is "
            "listed of people whose memory may not be surfaced now."
        ),
        parameters=[ReviewQuery],
        responses={200: ReviewPageOut},
        tags=["Review"],
    )
    def get(self, request: Request) -> Response:
        query = self.query(ReviewQuery)
        with self.workspace():
            versions = review_queue(self.caller.workspace_id, _wanted(query)).filter(
                none_set(NOT_SURFACED, "fact__subject__")
            )
            if "cursor" in query:
                versions = versions.filter(id__gt=cursor_id(query["cursor"]))
            rows = list(versions.select_related("fact__subject", "agent").order_by("id")[: query["limit"] + 1])
            page = rows[: query["limit"]]
            items = list(reviewed(page))
            receipts = _surfaced(self.caller, items)
            answer = {
                "items": [_item(one, receipts) for one in items],
                "next": cursor_after(page[-1].id) if len(rows) > len(page) else None,
            }
            return Response(shown(ReviewPageOut, answer))


class ReviewApprove(ApiView):
    permissions: ClassVar = {"POST": Permission.MEMORY_REVIEW}
    modes = KNOWING
    keys_only = True

    @extend_schema(
        operation_id="approve_review",
        summary="Let a version in",
        description=(
            "It becomes the fact's current version, shown to every agent; one that asks for its fact to count as "
            "stale makes it so. With `content`, yours is let in in its place. A version that was turned down can be "
            "let in after all."
        ),
        request=ReviewApproveIn,
        responses={200: FactChangedOut, **errors(403, 404, 409, because=BECAUSE)},
        examples=[examples.REVIEW_APPROVED],
        tags=["Review"],
    )
    def post(self, request: Request, version_id: UUID) -> Response:
        body = self.body(ReviewApproveIn)
        caller = self.caller
        with self.workspace():
            version = _version(caller, version_id)
            by: dict[str, Any] = {"actor": caller.actor, "agent_id": caller.agent_id, "note": body["note"]}
            if "content" in body:
                done = version_edit(
                    version=version,
                    content=body["content"],
                    value=body.get("value"),
                    unit=body.get("unit", ""),
                    **by,
                )
            else:
                done = version_approve(version=version, **by)
        return Response(shown(FactChangedOut, done))


class ReviewReject(ApiView):
    permissions: ClassVar = {"POST": Permission.MEMORY_REVIEW}
    modes = KNOWING
    keys_only = True

    @extend_schema(
        operation_id="reject_review",
        summary="Turn a version down",
        description=(
            "It is kept and shown to nobody. The same statement by the same writer joins it from then on instead of "
            "waiting anew. Turning it down again changes nothing."
        ),
        request=ReviewRejectIn,
        responses={200: FactChangedOut, **errors(404, 409, because=BECAUSE)},
        examples=[examples.REVIEW_REJECTED],
        tags=["Review"],
    )
    def post(self, request: Request, version_id: UUID) -> Response:
        body = self.body(ReviewRejectIn)
        caller = self.caller
        with self.workspace():
            version = version_reject(
                version=_version(caller, version_id),
                actor=caller.actor,
                agent_id=caller.agent_id,
                reason=body["reason"],
                note=body["note"],
            )
        return Response(shown(FactChangedOut, version))


def _wanted(query: dict[str, Any]) -> ReviewFilter:
    return ReviewFilter(
        state=query["state"],
        code=query.get("reason", ""),
        source=query.get("source", ""),
        subject_id=query.get("subject_id"),
        written_with=query.get("written_with", ""),
    )


def _version(caller: Caller, version_id: UUID) -> FactVersion:
    version = FactVersion.objects.filter(workspace_id=caller.workspace_id, pk=version_id).first()
    if version is None:
        raise UnknownFact("version_id", "There is no such version.")
    return version


def _surfaced(caller: Caller, items: Sequence[Reviewed]) -> dict[UUID, Receipted]:
    """The receipts of what is listed, by person."""
    people: dict[UUID, tuple[Subject, list[Item]]] = {}
    for one in items:
        subject = one.version.fact.subject
        given = people.setdefault(subject.id, (subject, []))[1]
        given += [Item(version=version) for version in (one.version, one.replaces) if version is not None]
    return {
        subject_id: surface(
            workspace_id=caller.workspace_id,
            subject=subject,
            kind=RecallKind.REVIEW,
            items=list({item.version.id: item for item in given if item.version}.values()),
            actor=caller.actor,
            agent_id=caller.agent_id,
        )
        for subject_id, (subject, given) in people.items()
    }


def _item(one: Reviewed, receipts: dict[UUID, Receipted]) -> dict[str, Any]:
    recall = receipts[one.version.fact.subject_id]
    return {
        "version": one.version,
        "replaces": one.replaces,
        "marks_stale": one.marks_stale,
        "recall_id": recall.recall_id,
        "receipt": recall.receipt,
    }
