"""Requests of the people remembered, legal holds, and who was shown what. Ids, codes and dates; notes aside."""

from datetime import date
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.disclosures import disclosures
from audit.registry import Scope
from audit.requests.models import Channel, DataRequest, Hold, Identity
from audit.requests.selectors import overdue
from audit.requests.services import (
    Rules,
    request_assign,
    request_decide,
    request_extend,
    request_locked,
    request_noted,
    request_receive,
)
from audit.requests.states import DECISIONS, ENDED, RequestState, RequestType, Step, decisions_open
from audit.services import record
from memoryhub.access.models import Membership
from memoryhub.access.permissions import Permission
from memoryhub.api import examples
from memoryhub.api.base import ANY_MODE, ApiView, shown
from memoryhub.api.errors import FieldRefused, NotFound
from memoryhub.api.fields import ExternalId, OneOf, Text, Timestamp, Uuid, Whole
from memoryhub.api.inputs import Input, PageQuery
from memoryhub.api.outputs import NEXT_HELP, Output
from memoryhub.api.paging import cursor_after, cursor_id, cursor_parts, refused
from memoryhub.api.schema import errors
from memoryhub.desk import (
    EXTENSION_REASONS,
    HOLD_REASONS,
    STEP_REASONS,
    hold_end,
    person_hold,
    request_carry_out,
    rules_of,
)
from sessions.models import Session, Subject
from sessions.services import PAUSES

UNKNOWN = {404: "There is no such person, request or hold in this workspace."}
NOT_NOW = {409: "The state of things does not allow it; or a second person has to do it."}
NOTE = 2_000


class RequestIn(Input):
    type = OneOf(RequestType.values)
    received_at = Timestamp(required=False, help_text="When it reached you. Default: now.")
    channel = OneOf(Channel.values, required=False, default=Channel.IN_PRODUCT, help_text="How it reached you.")
    identity = OneOf(
        Identity.values,
        required=False,
        default=Identity.UNVERIFIED,
        help_text="`verified`: you know that it is the person; the request goes to review at once.",
    )
    session_id = ExternalId(required=False, allow_null=True, help_text="Of an erasure: only this session, by your id.")
    since = Timestamp(required=False, allow_null=True, help_text="Of an erasure: only what was said from then on.")
    until = Timestamp(required=False, allow_null=True, help_text="Of an erasure: only what was said before then.")
    note = Text(required=False, max_length=NOTE, allow_blank=True, default="", help_text="Erased with the person.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        period = attrs.get("since") or attrs.get("until")
        if attrs.get("session_id") and period:
            raise serializers.ValidationError({"session_id": ["Either a session or a period."]})
        if attrs.get("since") and attrs.get("until") and attrs["since"] >= attrs["until"]:
            raise serializers.ValidationError({"until": ["A period ends after it begins."]})
        return attrs


class RequestStepIn(Input):
    step = OneOf([step.value for step in DECISIONS], help_text="One of the request's `open_steps`.")
    reason = OneOf(STEP_REASONS, required=False, allow_blank=True, default="", help_text="A refusal needs one.")
    note = Text(required=False, max_length=NOTE, allow_blank=True, default="")
    what = serializers.ListField(
        child=OneOf(PAUSES),
        required=False,
        min_length=1,
        max_length=3,
        help_text="What an objection pauses when it is carried out. Default: all three.",
    )


class RequestExtendIn(Input):
    reason = OneOf(EXTENSION_REASONS)
    told_on = serializers.DateField(required=False, help_text="The day on which the person was told. Default: today.")
    note = Text(required=False, max_length=NOTE, allow_blank=True, default="")


class RequestAssignIn(Input):
    assignee_id = Uuid(allow_null=True, help_text="A member of the workspace who handles requests; null: nobody.")


class RequestNoteIn(Input):
    note = Text(max_length=NOTE, help_text="Erased with the person.")


class RequestQuery(PageQuery):
    subject_id = Uuid(required=False)
    type = OneOf(RequestType.values, required=False)
    assignee_id = Uuid(required=False, help_text="Only those that this member looks after.")
    overdue = serializers.BooleanField(
        required=False, default=False, help_text="Only those past their day whose clock does not stand still."
    )
    state = OneOf([*RequestState.values, "open", "any"], required=False, default="open", help_text="`open`: not ended.")


class HoldIn(Input):
    session_id = ExternalId(required=False, allow_null=True, help_text="Yours: only this session.")
    reason = OneOf(HOLD_REASONS)
    note = Text(required=False, max_length=NOTE, allow_blank=True, default="", help_text="The matter it is about.")


class HoldQuery(PageQuery):
    subject_id = Uuid(required=False)
    state = OneOf(("in_force", "any"), required=False, default="in_force")


class DisclosureQuery(Input):
    since = Timestamp(required=False)
    until = Timestamp(required=False)
    fact_id = Uuid(required=False, help_text="Only who was given this fact.")
    version = Whole(required=False, min_value=1, help_text="Only this version of it: who was given the wrong one.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "version" in attrs and "fact_id" not in attrs:
            raise serializers.ValidationError({"version": ["A version is one of a fact: name that too."]})
        return attrs


class RequestOut(Output):
    request_id = serializers.UUIDField(source="id")
    subject_id = serializers.UUIDField()
    type = serializers.ChoiceField(RequestType.values)
    state = serializers.ChoiceField(RequestState.values)
    channel = serializers.ChoiceField(Channel.values)
    identity = serializers.ChoiceField(Identity.values)
    received_at = serializers.DateTimeField()
    due_on = serializers.DateField(help_text="The last day on which the answer is in time, in the workspace's zone.")
    paused_on = serializers.DateField(allow_null=True, help_text="Since when the clock stands still.")
    extended_on = serializers.DateField(allow_null=True)
    session_id = serializers.UUIDField(allow_null=True, help_text="The hub's id: an erasure of this session alone.")
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True)
    assignee_id = serializers.UUIDField(allow_null=True)
    erasure_id = serializers.UUIDField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    open_steps = serializers.SerializerMethodField(help_text="What may be decided now.")

    @extend_schema_field({"type": "array", "items": {"type": "string", "enum": [step.value for step in DECISIONS]}})
    def get_open_steps(self, request: DataRequest) -> list[str]:
        return [step.value for step in decisions_open(request.type, request.state)]


class RequestStepOut(Output):
    step = serializers.ChoiceField([step.value for step in Step])
    before = serializers.CharField()
    after = serializers.CharField()
    reason = serializers.CharField()
    note = serializers.CharField()
    by = serializers.SerializerMethodField(help_text="The actor, as in the audit log.")
    at = serializers.DateTimeField()

    @extend_schema_field(OpenApiTypes.STR)
    def get_by(self, step: Any) -> str:
        return f"{step.actor_kind}:{step.actor_id}"


class RequestDetailOut(RequestOut):
    steps = RequestStepOut(many=True, help_text="What was done, in order.")


class RequestPageOut(Output):
    requests = RequestOut(many=True, help_text="What is due first comes first.")
    next = serializers.CharField(allow_null=True, help_text=NEXT_HELP)


class HoldOut(Output):
    hold_id = serializers.UUIDField(source="id")
    subject_id = serializers.UUIDField()
    session_id = serializers.UUIDField(allow_null=True, help_text="The hub's id; null: everything of the person.")
    reason = serializers.CharField()
    placed_by = serializers.CharField()
    placed_at = serializers.DateTimeField()
    released_by = serializers.CharField()
    released_at = serializers.DateTimeField(allow_null=True)


class HoldPageOut(Output):
    holds = HoldOut(many=True, help_text="Newest first.")
    next = serializers.CharField(allow_null=True, help_text=NEXT_HELP)


class DisclosureOut(Output):
    who = serializers.CharField(help_text="The actor, as in the audit log.")
    action = serializers.CharField()
    kind = serializers.CharField(help_text="In what way, such as working_memory.")
    times = serializers.IntegerField()
    first = serializers.DateTimeField()
    last = serializers.DateTimeField()


class DisclosuresOut(Output):
    disclosures = DisclosureOut(many=True, help_text="The latest first.")


class DeskView(ApiView):
    modes = ANY_MODE
    keys_only = True

    @property
    def rules(self) -> Rules:
        return rules_of(self.caller.policy)

    def subject(self, subject_id: UUID) -> Subject:
        found = Subject.objects.filter(workspace_id=self.caller.workspace_id, pk=subject_id).first()
        if found is None:
            raise NotFound("There is no such person.", fields={"subject_id": ["There is no such person."]})
        return found

    def session_id(self, subject: Subject, body: dict[str, Any]) -> UUID | None:
        """The hub's id of the session that the body names. Raises NotFound."""
        if not body.get("session_id"):
            return None
        session = Session.objects.filter(subject=subject, external_id=body["session_id"]).first()
        if session is None:
            raise NotFound("There is no such session.", fields={"session_id": ["There is no such session."]})
        return session.id

    def request_(self, request_id: UUID) -> DataRequest:
        return request_locked(workspace_id=self.caller.workspace_id, request_id=request_id)


class SubjectRequests(DeskView):
    permissions: ClassVar = {"POST": Permission.REQUESTS_MANAGE}

    @extend_schema(
        operation_id="open_request",
        summary="Take up a person's request",
        description=(
            "Access, portability, rectification, restriction, objection or erasure. From this answer on nothing about "
            "the person is surfaced when they object or ask to erase, until that is decided. It is due after one "
            "calendar month, on a working day of the workspace's calendar."
        ),
        request=RequestIn,
        responses={201: RequestDetailOut, **errors(404, because=UNKNOWN)},
        examples=[examples.REQUEST],
        tags=["Requests"],
    )
    def post(self, request: Request, subject_id: UUID) -> Response:
        body = self.body(RequestIn)
        with self.workspace():
            subject = self.subject(subject_id)
            made = request_receive(
                workspace_id=self.caller.workspace_id,
                scope=Scope(
                    subject.id,
                    session_id=self.session_id(subject, body),
                    since=body.get("since"),
                    until=body.get("until"),
                ),
                type_=body["type"],
                received_at=body.get("received_at") or timezone.now(),
                channel=body["channel"],
                identity=body["identity"],
                note=body["note"],
                actor=self.caller.actor,
                rules=self.rules,
            )
            answer = _detail(made)
        return Response(answer, status=201)


class Requests(DeskView):
    permissions: ClassVar = {"GET": Permission.REQUESTS_VIEW}

    @extend_schema(
        operation_id="list_requests",
        summary="List people's requests",
        description="What is due first comes first.",
        parameters=[RequestQuery],
        responses={200: RequestPageOut},
        tags=["Requests"],
    )
    def get(self, request: Request) -> Response:
        query = self.query(RequestQuery)
        limit = query["limit"]
        with self.workspace():
            rows = DataRequest.objects.filter(workspace_id=self.caller.workspace_id).order_by("due_on", "id")
            if query["state"] == "open":
                rows = rows.exclude(state__in=ENDED)
            elif query["state"] != "any":
                rows = rows.filter(state=query["state"])
            for name in ("subject_id", "type", "assignee_id"):
                if name in query:
                    rows = rows.filter(**{name: query[name]})
            if query["overdue"]:
                rows = rows.filter(overdue(self.rules.today))
            if "cursor" in query:
                rows = rows.filter(_after(query["cursor"]))
            found = list(rows[: limit + 1])
        page = found[:limit]
        more = len(found) > limit
        answer = {"requests": page, "next": cursor_after(page[-1].due_on, page[-1].id) if more else None}
        return Response(shown(RequestPageOut, answer))


class RequestDetail(DeskView):
    permissions: ClassVar = {"GET": Permission.REQUESTS_MANAGE}

    @extend_schema(
        operation_id="get_request",
        summary="Get a request with its history",
        description="Notes included.",
        responses={200: RequestDetailOut, **errors(404, because=UNKNOWN)},
        tags=["Requests"],
    )
    def get(self, request: Request, request_id: UUID) -> Response:
        with self.workspace():
            found = DataRequest.objects.filter(workspace_id=self.caller.workspace_id, pk=request_id).first()
            if found is None:
                raise NotFound("There is no such request.")
            record(self.caller.actor, "request.viewed", found, subject=found.subject_id)
            return Response(_detail(found))


class RequestSteps(DeskView):
    permissions: ClassVar = {"POST": Permission.REQUESTS_MANAGE}

    @extend_schema(
        operation_id="decide_request",
        summary="Decide about a request",
        description=(
            "`doubt_identity` (the clock stands still until `confirm_identity`), `approve`, `refuse` with a reason, "
            "`cancel`, `carry_out`, `complete`. Carrying out an erasure begins it, or waits while a legal hold is in "
            "force; a restriction and an objection are done at once; the others run until `complete`."
        ),
        request=RequestStepIn,
        responses={200: RequestDetailOut, **errors(404, 409, because=UNKNOWN | NOT_NOW)},
        examples=[examples.REQUEST_STEP],
        tags=["Requests"],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        body = self.body(RequestStepIn)
        step = Step(body["step"])
        with self.workspace():
            found = self.request_(request_id)
            if step is Step.CARRY_OUT:
                request_carry_out(
                    request=found, actor=self.caller.actor, pauses=body.get("what", PAUSES), note=body["note"]
                )
            else:
                request_decide(
                    request=found,
                    step=step,
                    actor=self.caller.actor,
                    rules=self.rules,
                    reason=body["reason"],
                    note=body["note"],
                )
            return Response(_detail(found))


class RequestExtend(DeskView):
    permissions: ClassVar = {"POST": Permission.REQUESTS_MANAGE}

    @extend_schema(
        operation_id="extend_request",
        summary="Take two more months",
        description="Once, for a reason that the person is told within the first month (GDPR article 12(3)).",
        request=RequestExtendIn,
        responses={200: RequestDetailOut, **errors(404, 409, because=UNKNOWN | NOT_NOW)},
        examples=[examples.REQUEST_EXTEND],
        tags=["Requests"],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        body = self.body(RequestExtendIn)
        with self.workspace():
            found = request_extend(
                request=self.request_(request_id),
                told_on=body.get("told_on"),
                reason=body["reason"],
                note=body["note"],
                actor=self.caller.actor,
                rules=self.rules,
            )
            return Response(_detail(found))


class RequestAssign(DeskView):
    permissions: ClassVar = {"POST": Permission.REQUESTS_MANAGE}

    @extend_schema(
        operation_id="assign_request",
        summary="Say who looks after a request",
        description="A member of the workspace, by the id that the audit log has for them.",
        request=RequestAssignIn,
        responses={200: RequestDetailOut, **errors(404, because=UNKNOWN)},
        examples=[examples.REQUEST_ASSIGN],
        tags=["Requests"],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        body = self.body(RequestAssignIn)
        assignee = body["assignee_id"]
        with self.workspace():
            found = self.request_(request_id)
            if assignee and not Membership.objects.filter(user_id=assignee).exists():
                raise FieldRefused("assignee_id", "This is no member of the workspace.")
            return Response(_detail(request_assign(request=found, assignee_id=assignee, actor=self.caller.actor)))


class RequestNotes(DeskView):
    permissions: ClassVar = {"POST": Permission.REQUESTS_MANAGE}

    @extend_schema(
        operation_id="note_on_request",
        summary="Write a note on a request",
        description=(
            "It stands in the request's history, for those who handle requests. Once all of the person is erased, or "
            "about to be, none is taken: nothing would erase it."
        ),
        request=RequestNoteIn,
        responses={201: RequestDetailOut, **errors(404, 409, because=UNKNOWN | NOT_NOW)},
        examples=[examples.REQUEST_NOTE],
        tags=["Requests"],
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        body = self.body(RequestNoteIn)
        with self.workspace():
            found = request_noted(request=self.request_(request_id), note=body["note"], actor=self.caller.actor)
            return Response(_detail(found), status=201)


class SubjectHolds(DeskView):
    permissions: ClassVar = {"POST": Permission.REQUESTS_MANAGE}

    @extend_schema(
        operation_id="place_hold",
        summary="Place a legal hold",
        description=(
            "On everything of a person or on one session: nothing of it is erased or ends by retention until the hold "
            "is released. While an erasure of the person runs it is refused, with what is left."
        ),
        request=HoldIn,
        responses={201: HoldOut, **errors(404, 409, because=UNKNOWN | {409: "An erasure is under way."})},
        examples=[examples.HOLD],
        tags=["Requests"],
    )
    def post(self, request: Request, subject_id: UUID) -> Response:
        body = self.body(HoldIn)
        with self.workspace():
            subject = self.subject(subject_id)
            hold = person_hold(
                workspace_id=self.caller.workspace_id,
                subject_id=subject.id,
                session_id=self.session_id(subject, body),
                reason=body["reason"],
                note=body["note"],
                actor=self.caller.actor,
            )
        return Response(shown(HoldOut, hold), status=201)


class Holds(DeskView):
    permissions: ClassVar = {"GET": Permission.REQUESTS_VIEW}

    @extend_schema(
        operation_id="list_holds",
        summary="List legal holds",
        description="Newest first.",
        parameters=[HoldQuery],
        responses={200: HoldPageOut},
        tags=["Requests"],
    )
    def get(self, request: Request) -> Response:
        query = self.query(HoldQuery)
        limit = query["limit"]
        with self.workspace():
            rows = Hold.objects.filter(workspace_id=self.caller.workspace_id).order_by("-id")
            if query["state"] == "in_force":
                rows = rows.filter(released_at__isnull=True)
            if "subject_id" in query:
                rows = rows.filter(subject_id=query["subject_id"])
            if "cursor" in query:
                rows = rows.filter(id__lt=cursor_id(query["cursor"]))
            found = list(rows[: limit + 1])
        page = found[:limit]
        answer = {"holds": page, "next": cursor_after(page[-1].id) if len(found) > limit else None}
        return Response(shown(HoldPageOut, answer))


class HoldRelease(DeskView):
    permissions: ClassVar = {"POST": Permission.REQUESTS_MANAGE}

    @extend_schema(
        operation_id="release_hold",
        summary="Release a legal hold",
        description="By another than placed it. Requests that waited for it go on by themselves.",
        request=Input,
        responses={200: HoldOut, **errors(404, 409, because=UNKNOWN | NOT_NOW)},
        examples=[examples.HOLD_RELEASE],
        tags=["Requests"],
    )
    def post(self, request: Request, hold_id: UUID) -> Response:
        self.body(Input)
        with self.workspace():
            hold = hold_end(workspace_id=self.caller.workspace_id, hold_id=hold_id, actor=self.caller.actor)
        return Response(shown(HoldOut, hold))


class SubjectDisclosures(DeskView):
    permissions: ClassVar = {"GET": Permission.REQUESTS_VIEW}

    @extend_schema(
        operation_id="list_disclosures",
        summary="Who was shown a person's data",
        description=(
            "Agents, people and commands, how often and from when to when, as the audit log tells. Also after the "
            "person was erased. With `fact_id` and `version`: who was given the wrong version of a fact."
        ),
        parameters=[DisclosureQuery],
        responses={200: DisclosuresOut, **errors(404, because=UNKNOWN)},
        tags=["Requests"],
    )
    def get(self, request: Request, subject_id: UUID) -> Response:
        query = self.query(DisclosureQuery)
        caller = self.caller
        with self.workspace():
            found = disclosures(workspace_id=caller.workspace_id, subject_id=subject_id, **query)
            if not found:
                self.subject(subject_id)
            record(
                caller.actor,
                "audit.read",
                workspace_id=caller.workspace_id,
                subject=subject_id,
                data={"returned": len(found), "filters": ["disclosures"]},
            )
        return Response(shown(DisclosuresOut, {"disclosures": found}))


def _detail(request: DataRequest) -> dict[str, Any]:
    steps = [shown(RequestStepOut, step) for step in request.steps.order_by("id")]
    return {**shown(RequestOut, request), "steps": steps}


def _after(cursor: str) -> Q:
    """The requests that come after the one in the cursor."""
    due, request_id = cursor_parts(cursor, 2)
    try:
        day, last = date.fromisoformat(due), UUID(request_id)
    except ValueError:
        raise refused() from None
    return Q(due_on__gt=day) | Q(due_on=day, id__gt=last)
