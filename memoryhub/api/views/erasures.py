"""Erasing: count, confirm, follow, and the certificate. Ids, codes and numbers; no content."""

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.erasure.certificate import certificate, certificate_digest
from audit.erasure.models import OPEN_ERASURES, Erasure, ErasureKind, ErasureState
from audit.erasure.services import Plan, erasure_plan
from audit.registry import Scope
from audit.services import record
from facts.models import Fact
from memoryhub.access.permissions import Permission
from memoryhub.api import examples
from memoryhub.api.base import ANY_MODE, KNOWING, ApiView, shown
from memoryhub.api.errors import FieldRefused, NotFound
from memoryhub.api.fields import ExternalId, OneOf, Text, Timestamp
from memoryhub.api.inputs import SUBJECT_REASONS, Input, PageQuery
from memoryhub.api.outputs import NEXT_HELP, Output
from memoryhub.api.paging import cursor_after, cursor_id
from memoryhub.api.schema import errors
from memoryhub.erasing import NotConfirmed, confirmation_of, confirmed, erasure_retry, erasure_start
from sessions.models import Session, Subject

UNKNOWN = {404: "There is no such person, session or fact in this workspace."}
BUSY = {409: "An erasure of this person is under way."}


class ErasurePlanIn(Input):
    session_id = ExternalId(required=False, allow_null=True, help_text="Yours: only this session.")
    since = Timestamp(required=False, allow_null=True, help_text="Only what was said from then on.")
    until = Timestamp(required=False, allow_null=True, help_text="Only what was said before then.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("session_id") and (attrs.get("since") or attrs.get("until")):
            raise serializers.ValidationError({"session_id": ["Either a session or a period."]})
        if attrs.get("since") and attrs.get("until") and attrs["since"] >= attrs["until"]:
            raise serializers.ValidationError({"until": ["A period ends after it begins."]})
        return attrs


class ErasureIn(Input):
    confirm = Text(max_length=2_000, help_text="`confirm` of the plan, at most half an hour old.")
    reason = OneOf(SUBJECT_REASONS, required=False, default="subject_request")


class FactEraseIn(Input):
    statement = OneOf(
        ("span", "turn"),
        required=False,
        default="span",
        help_text="What goes of the turns that state it: the sentences, or all of their content.",
    )
    reason = OneOf(SUBJECT_REASONS, required=False, default="subject_request")


class Rows(serializers.DictField):
    child = serializers.DictField(child=serializers.IntegerField())


class ErasurePlanOut(Output):
    subject_id = serializers.UUIDField()
    kind = serializers.ChoiceField(ErasureKind.values)
    rows = serializers.IntegerField(help_text="All of them together.")
    stores = Rows(help_text="What would go: rows by store and kind.")
    confirm = serializers.CharField(help_text="Send it back to have this carried out.")


class ErasureOut(Output):
    erasure_id = serializers.UUIDField(source="id")
    subject_id = serializers.UUIDField()
    kind = serializers.ChoiceField(ErasureKind.values)
    state = serializers.ChoiceField(
        ErasureState.values, help_text="`completed` only when the verification found nothing left."
    )
    reason = serializers.CharField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    attempts = serializers.IntegerField()
    planned = Rows()
    erased = Rows()
    left = serializers.SerializerMethodField(help_text="Places in which something was found left.")

    @extend_schema_field(OpenApiTypes.INT)
    def get_left(self, erasure: Erasure) -> int:
        return int(erasure.verification.get("left", 0))


class ErasureDetailOut(ErasureOut):
    certificate = serializers.SerializerMethodField(help_text="Null until it has ended.")
    certificate_sha256 = serializers.SerializerMethodField(help_text="As it stands in the audit log.")

    @extend_schema_field({"type": "object", "additionalProperties": {}, "nullable": True})
    def get_certificate(self, erasure: Erasure) -> dict[str, Any] | None:
        return None if erasure.state in OPEN_ERASURES else certificate(erasure)

    @extend_schema_field({"type": "string", "nullable": True})
    def get_certificate_sha256(self, erasure: Erasure) -> str | None:
        return None if erasure.state in OPEN_ERASURES else certificate_digest(erasure)


class ErasurePageOut(Output):
    erasures = ErasureOut(many=True, help_text="Newest first.")
    next = serializers.CharField(allow_null=True, help_text=NEXT_HELP)


class ErasureView(ApiView):
    modes = ANY_MODE
    keys_only = True

    def erasure(self, erasure_id: UUID) -> Erasure:
        found = Erasure.objects.filter(workspace_id=self.caller.workspace_id, pk=erasure_id).first()
        if found is None:
            raise NotFound("There is no such erasure.")
        return found

    def subject(self, subject_id: UUID) -> Subject:
        found = Subject.objects.filter(workspace_id=self.caller.workspace_id, pk=subject_id).first()
        if found is None:
            raise NotFound("There is no such person.", fields={"subject_id": ["There is no such person."]})
        return found


class ErasurePlans(ErasureView):
    permissions: ClassVar = {"POST": Permission.SUBJECTS_ERASE}

    @extend_schema(
        operation_id="plan_erasure",
        summary="Count what an erasure would remove",
        description="Of everything about a person, of one session, or of what was said in a period. Changes nothing.",
        request=ErasurePlanIn,
        responses={200: ErasurePlanOut, **errors(404, because=UNKNOWN)},
        examples=[examples.ERASURE_PLAN],
        tags=["Erasure"],
    )
    def post(self, request: Request, subject_id: UUID) -> Response:
        body = self.body(ErasurePlanIn)
        caller = self.caller
        with self.workspace():
            subject = self.subject(subject_id)
            session = None
            if body.get("session_id"):
                session = Session.objects.filter(subject=subject, external_id=body["session_id"]).first()
                if session is None:
                    raise NotFound("There is no such session.", fields={"session_id": ["There is no such session."]})
            plan = erasure_plan(
                Scope(
                    subject.id,
                    session_id=session.id if session else None,
                    since=body.get("since"),
                    until=body.get("until"),
                )
            )
            record(
                caller.actor,
                "erasure.planned",
                subject,
                subject=subject,
                data={"kind": plan.scope.kind, "rows": plan.rows},
            )
        return Response(_plan(plan, caller.workspace_id))


class SubjectErasures(ErasureView):
    permissions: ClassVar = {"POST": Permission.SUBJECTS_ERASE}

    @extend_schema(
        operation_id="begin_erasure",
        summary="Erase what a plan showed",
        description=(
            "From this answer on nothing of it is surfaced where all of a person goes, and late writes of it are "
            "answered with 410. Erasing goes on in the background and cannot be taken back; a verification by other "
            "code follows, then the certificate."
        ),
        request=ErasureIn,
        responses={202: ErasureOut, **errors(404, 409, because=UNKNOWN | BUSY)},
        examples=[examples.ERASURE],
        tags=["Erasure"],
    )
    def post(self, request: Request, subject_id: UUID) -> Response:
        body = self.body(ErasureIn)
        caller = self.caller
        with self.workspace():
            subject = self.subject(subject_id)
            try:
                scope = confirmed(body["confirm"], workspace_id=caller.workspace_id, subject_id=subject.id)
            except NotConfirmed:
                raise FieldRefused("confirm", "This is not of a plan for this person, or it is too old.") from None
            erasure = erasure_start(
                workspace_id=caller.workspace_id, scope=scope, actor=caller.actor, reason=body["reason"]
            )
        return Response(shown(ErasureOut, erasure), status=202)


class FactErase(ErasureView):
    permissions: ClassVar = {"POST": Permission.SUBJECTS_ERASE}
    modes = KNOWING

    @extend_schema(
        operation_id="erase_fact",
        summary="Erase a fact",
        description=(
            "With every version of it and the statements of it in turns, and it is not derived from them again. What "
            "the person says anew is known anew."
        ),
        request=FactEraseIn,
        responses={202: ErasureOut, **errors(404, 409, because=UNKNOWN | BUSY)},
        examples=[examples.FACT_ERASE],
        tags=["Erasure"],
    )
    def post(self, request: Request, fact_id: UUID) -> Response:
        body = self.body(FactEraseIn)
        caller = self.caller
        with self.workspace():
            fact = Fact.objects.filter(workspace_id=caller.workspace_id, pk=fact_id).first()
            if fact is None:
                raise NotFound("There is no such fact.")
            erasure = erasure_start(
                workspace_id=caller.workspace_id,
                scope=Scope(fact.subject_id, fact_id=fact.id, statement=body["statement"]),
                actor=caller.actor,
                reason=body["reason"],
            )
        return Response(shown(ErasureOut, erasure), status=202)


class Erasures(ErasureView):
    permissions: ClassVar = {"GET": Permission.SUBJECTS_ERASE}

    @extend_schema(
        operation_id="list_erasures",
        summary="List erasures",
        description="Newest first.",
        parameters=[PageQuery],
        responses={200: ErasurePageOut},
        tags=["Erasure"],
    )
    def get(self, request: Request) -> Response:
        query = self.query(PageQuery)
        limit = query["limit"]
        with self.workspace():
            rows = Erasure.objects.filter(workspace_id=self.caller.workspace_id).order_by("-id")
            if "cursor" in query:
                rows = rows.filter(id__lt=cursor_id(query["cursor"]))
            found = list(rows[: limit + 1])
        page = found[:limit]
        answer = {"erasures": page, "next": cursor_after(page[-1].id) if len(found) > limit else None}
        return Response(shown(ErasurePageOut, answer))


class ErasureDetail(ErasureView):
    permissions: ClassVar = {"GET": Permission.SUBJECTS_ERASE}

    @extend_schema(
        operation_id="get_erasure",
        summary="Follow an erasure",
        description="What was planned, what is gone, and the certificate once it has ended.",
        responses={200: ErasureDetailOut, **errors(404, because={404: "There is no such erasure in this workspace."})},
        tags=["Erasure"],
    )
    def get(self, request: Request, erasure_id: UUID) -> Response:
        with self.workspace():
            return Response(shown(ErasureDetailOut, self.erasure(erasure_id)))


class ErasureRetry(ErasureView):
    permissions: ClassVar = {"POST": Permission.SUBJECTS_ERASE}

    @extend_schema(
        operation_id="retry_erasure",
        summary="Try an erasure again that left something",
        description="One that goes on, or is complete, is left as it is.",
        request=Input,
        responses={202: ErasureOut, **errors(404, because={404: "There is no such erasure in this workspace."})},
        examples=[examples.ERASURE_RETRY],
        tags=["Erasure"],
    )
    def post(self, request: Request, erasure_id: UUID) -> Response:
        self.body(Input)
        with self.workspace():
            erasure = self.erasure(erasure_id)
            erasure_retry(erasure, actor=self.caller.actor)
        return Response(shown(ErasureOut, erasure), status=202)


def _plan(plan: Plan, workspace_id: UUID) -> dict[str, Any]:
    answer = {
        "subject_id": plan.scope.subject_id,
        "kind": plan.scope.kind,
        "rows": plan.rows,
        "stores": plan.counts,
        "confirm": confirmation_of(plan, workspace_id=workspace_id),
    }
    return shown(ErasurePlanOut, answer)
