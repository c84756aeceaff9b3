"""The register of processing activities."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.access.register import LegalBasis
from memoryhub.api.base import ANY_MODE, ApiView, shown
from memoryhub.api.outputs import Output
from memoryhub.registering import register_of


class RegisterRecipientOut(Output):
    who = serializers.CharField(help_text="`agent:` and its name, `model:` or `embedder:` and whose.")
    what = serializers.CharField()


class RegisterRetentionOut(Output):
    kind = serializers.CharField()
    days = serializers.IntegerField(allow_null=True, help_text="null: until somebody erases it.")
    counted = serializers.CharField(help_text="From when the days count.")


class RegisterOut(Output):
    form = serializers.CharField(help_text="`memoryhub.register/1`; another one when a field goes or changes.")
    made_at = serializers.DateTimeField()
    workspace = serializers.CharField()
    controller = serializers.CharField(allow_blank=True)
    contact = serializers.CharField(allow_blank=True)
    purpose = serializers.CharField()
    legal_basis = serializers.ChoiceField(choices=[one.value for one in LegalBasis], help_text="Of GDPR art. 6(1).")
    people = serializers.CharField(allow_blank=True)
    categories = serializers.ListField(child=serializers.CharField())
    recipients = RegisterRecipientOut(many=True, help_text="As it is configured now.")
    transfers = serializers.CharField(allow_blank=True)
    retention = RegisterRetentionOut(many=True)
    security = serializers.ListField(child=serializers.CharField())


class Register(ApiView):
    permissions: ClassVar = {"GET": Permission.RECORDS_VIEW}
    modes = ANY_MODE

    @extend_schema(
        operation_id="get_register",
        summary="The register of processing activities",
        description=(
            "Of the key's workspace, as GDPR art. 30 asks for: what the workspace states, and what follows from how "
            "the hub is set up. Holds nobody's personal data."
        ),
        responses={200: RegisterOut},
        tags=["Requests"],
    )
    def get(self, request: Request) -> Response:
        with self.workspace():
            workspace = Workspace.objects.get(pk=self.caller.workspace_id)
            return Response(shown(RegisterOut, register_of(workspace)))
