"""The people remembered. Paths carry the hub's ids: a caller's id for a person may be an e-mail address."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from audit.services import record
from facts.models import Fact
from memoryhub.access.permissions import Permission
from memoryhub.api import examples
from memoryhub.api.base import ANY_MODE, ApiView, shown
from memoryhub.api.inputs import PageQuery, SubjectLookupIn, SubjectPauseIn, SubjectRestrictIn
from memoryhub.api.outputs import SubjectDetailOut, SubjectOut, SubjectPageOut
from memoryhub.api.paging import cursor_after, cursor_parts, refused
from memoryhub.api.schema import errors
from sessions.exceptions import UnknownSubject
from sessions.models import Session, Subject, Turn
from sessions.services import subject_pause, subject_restrict

UNKNOWN = {404: "There is no such person in this workspace."}


class SubjectView(ApiView):
    modes = ANY_MODE

    def subject(self, subject_id: UUID) -> Subject:
        """Raises UnknownSubject, also for somebody of another workspace."""
        subject = Subject.objects.filter(workspace_id=self.caller.workspace_id, pk=subject_id).first()
        if subject is None:
            raise UnknownSubject("subject_id", "There is no such person.")
        return subject

    def set_restricted(self, subject_id: UUID, *, restricted: bool) -> Response:
        body = self.body(SubjectRestrictIn)
        with self.workspace():
            subject = subject_restrict(
                subject=self.subject(subject_id),
                restricted=restricted,
                actor=self.caller.actor,
                reason=body["reason"],
            )
        return Response(shown(SubjectOut, subject))

    def set_paused(self, subject_id: UUID, *, paused: bool) -> Response:
        body = self.body(SubjectPauseIn)
        with self.workspace():
            subject = subject_pause(
                subject=self.subject(subject_id),
                what=body["what"],
                paused=paused,
                actor=self.caller.actor,
                reason=body["reason"],
            )
        return Response(shown(SubjectOut, subject))


class Subjects(SubjectView):
    permissions: ClassVar = {"GET": Permission.METADATA_VIEW}

    @extend_schema(
        operation_id="list_subjects",
        summary="List the people remembered",
        description="Newest first.",
        parameters=[PageQuery],
        responses={200: SubjectPageOut},
        tags=["Subjects"],
    )
    def get(self, request: Request) -> Response:
        query = self.query(PageQuery)
        limit = query["limit"]
        caller = self.caller
        with self.workspace():
            people = Subject.objects.filter(workspace_id=caller.workspace_id).order_by("-created_at", "-id")
            if "cursor" in query:
                people = people.filter(_after(query["cursor"]))
            rows = list(people[: limit + 1])
            page = rows[:limit]
            record(
                caller.actor,
                "subject.listed",
                workspace_id=caller.workspace_id,
                data={"returned": len(page)},
            )
        more = len(rows) > limit
        answer = {
            "subjects": page,
            "next": cursor_after(page[-1].created_at.isoformat(), page[-1].id) if more else None,
        }
        return Response(shown(SubjectPageOut, answer))


class SubjectLookup(SubjectView):
    permissions: ClassVar = {"POST": Permission.METADATA_VIEW}

    @extend_schema(
        operation_id="lookup_subject",
        summary="Find a person by your id",
        description="A POST, so that an id which names somebody stays out of addresses and their logs.",
        request=SubjectLookupIn,
        responses={200: SubjectDetailOut, **errors(404, because=UNKNOWN)},
        examples=[examples.SUBJECT_LOOKUP],
        tags=["Subjects"],
    )
    def post(self, request: Request) -> Response:
        body = self.body(SubjectLookupIn)
        caller = self.caller
        with self.workspace():
            found = Subject.objects.filter(workspace_id=caller.workspace_id, external_id=body["user_id"]).first()
            record(
                caller.actor,
                "subject.looked_up",
                found,
                workspace_id=caller.workspace_id,
                subject=found,
                data={"found": found is not None},
            )
            answer = _detail(found) if found else None
        if answer is None:
            # After the commit: that somebody was looked for in vain stays in the log.
            raise UnknownSubject("user_id", "There is no such person.")
        return Response(answer)


class SubjectDetail(SubjectView):
    permissions: ClassVar = {"GET": Permission.METADATA_VIEW}

    @extend_schema(
        operation_id="get_subject",
        summary="Get a person",
        description="Their state and how much is remembered; no content.",
        responses={200: SubjectDetailOut, **errors(404, because=UNKNOWN)},
        tags=["Subjects"],
    )
    def get(self, request: Request, subject_id: UUID) -> Response:
        with self.workspace():
            subject = self.subject(subject_id)
            record(self.caller.actor, "subject.viewed", subject, subject=subject)
            answer = _detail(subject)
        return Response(answer)


class SubjectRestrict(SubjectView):
    permissions: ClassVar = {"POST": Permission.SUBJECTS_MANAGE}

    @extend_schema(
        operation_id="restrict_subject",
        summary="Restrict a person's memory",
        description="It is kept, but neither surfaced nor extracted from (GDPR article 18). Effective at once.",
        request=SubjectRestrictIn,
        responses={200: SubjectOut, **errors(404, because=UNKNOWN)},
        tags=["Subjects"],
    )
    def post(self, request: Request, subject_id: UUID) -> Response:
        return self.set_restricted(subject_id, restricted=True)


class SubjectUnrestrict(SubjectView):
    permissions: ClassVar = {"POST": Permission.SUBJECTS_MANAGE}

    @extend_schema(
        operation_id="unrestrict_subject",
        summary="Lift the restriction of a person's memory",
        description="It is surfaced and extracted from again.",
        request=SubjectRestrictIn,
        responses={200: SubjectOut, **errors(404, because=UNKNOWN)},
        tags=["Subjects"],
    )
    def post(self, request: Request, subject_id: UUID) -> Response:
        return self.set_restricted(subject_id, restricted=False)


class SubjectPause(SubjectView):
    permissions: ClassVar = {"POST": Permission.SUBJECTS_MANAGE}

    @extend_schema(
        operation_id="pause_subject",
        summary="Pause recording, extraction or surfacing for a person",
        description="What is paused already is left as it is.",
        request=SubjectPauseIn,
        responses={200: SubjectOut, **errors(404, because=UNKNOWN)},
        examples=[examples.SUBJECT_PAUSE],
        tags=["Subjects"],
    )
    def post(self, request: Request, subject_id: UUID) -> Response:
        return self.set_paused(subject_id, paused=True)


class SubjectResume(SubjectView):
    permissions: ClassVar = {"POST": Permission.SUBJECTS_MANAGE}

    @extend_schema(
        operation_id="resume_subject",
        summary="Resume recording, extraction or surfacing for a person",
        description="What is not paused is left as it is.",
        request=SubjectPauseIn,
        responses={200: SubjectOut, **errors(404, because=UNKNOWN)},
        tags=["Subjects"],
    )
    def post(self, request: Request, subject_id: UUID) -> Response:
        return self.set_paused(subject_id, paused=False)


def _detail(subject: Subject) -> dict[str, Any]:
    counts = {
        "sessions": Session.objects.filter(subject=subject).count(),
        "turns": Turn.objects.filter(session__subject=subject).count(),
        "facts": Fact.objects.filter(subject=subject).count(),
    }
    return {**shown(SubjectOut, subject), **counts}


def _after(cursor: str) -> Q:
    """The people who come after the one in the cursor."""
    created, subject_id = cursor_parts(cursor, 2)
    try:
        at, last = datetime.fromisoformat(created), UUID(subject_id)
    except ValueError:
        raise refused() from None
    if at.tzinfo is None:
        raise refused()
    return Q(created_at__lt=at) | Q(created_at=at, id__lt=last)
