"""Tools for a model: their definitions, and carrying a call out. For the holders of subject tokens alone."""

from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.access.callers import Caller
from memoryhub.access.models import Scope
from memoryhub.access.permissions import Permission
from memoryhub.api import examples
from memoryhub.api.authentication import record_denial
from memoryhub.api.base import ApiView, shown
from memoryhub.api.errors import ModeForbids, NotFound, ScopeMissing
from memoryhub.api.fields import ExternalId, JsonObject
from memoryhub.api.inputs import Input
from memoryhub.api.outputs import Output
from memoryhub.api.schema import errors
from memoryhub.tools.services import Answer, NoSuchTool, NotOffered, tool_call, tools_of

RECALL_HEADER, RECEIPT_HEADER = "Memory-Recall-Id", "Memory-Receipt"
HEADERS = [
    OpenApiParameter(
        name, OpenApiTypes.STR, OpenApiParameter.HEADER, response=[200], required=False, description=description
    )
    for name, description in (
        (RECALL_HEADER, "The recall, where the tool gave something out."),
        (RECEIPT_HEADER, "Its receipt: the audit entry that says what was given out."),
    )
]
TOOL = OpenApiParameter("tool", OpenApiTypes.STR, OpenApiParameter.PATH, description="The tool's name.")


class ToolOut(Output):
    # One definition, as Claude's `tools=` takes it.

    name = serializers.CharField()
    description = serializers.CharField(help_text="Written for a model: when to use it, when not, what it answers.")
    input_schema = serializers.DictField(help_text="JSON schema of the input.")
    strict = serializers.BooleanField(help_text="The model is held to the schema.")


class ToolsOut(Output):
    tools = ToolOut(many=True)


class ToolCallIn(Input):
    input = JsonObject(required=False, help_text="As the model wrote it, from the tool_use block.")
    tool_use_id = ExternalId(required=False, allow_null=True, help_text="Of the tool_use block; it comes back.")


class ToolTextOut(Output):
    type = serializers.ChoiceField(["text"])
    text = serializers.CharField()


class ToolResultOut(Output):
    # A content block for the Messages API.

    type = serializers.ChoiceField(["tool_result"])
    tool_use_id = serializers.CharField(required=False, help_text="Where one was sent.")
    content = ToolTextOut(many=True)
    is_error = serializers.BooleanField(help_text="Whether the model has to do something else; the text says what.")


class Tools(ApiView):
    permissions: ClassVar = {"GET": Permission.MEMORY_READ}
    tokens_only = True

    @extend_schema(
        operation_id="list_tools",
        summary="List the tools a model may be given",
        description=(
            "Definitions for the `tools` of a Messages API request: those that go with the agent's memory mode and the "
            "token's scopes. `remember`, `mark_fact_stale` and `forget` need `facts:write` as well. With a subject "
            "token alone: a tool is about its person, and no argument names another."
        ),
        responses={200: ToolsOut},
        tags=["Tools"],
    )
    def get(self, request: Request) -> Response:
        return Response(shown(ToolsOut, {"tools": [tool.definition() for tool in tools_of(self.caller)]}))


class ToolCall(ApiView):
    permissions: ClassVar = {"POST": Permission.MEMORY_READ}
    tokens_only = True

    @extend_schema(
        operation_id="call_tool",
        summary="Carry a tool call out",
        description=(
            "Answers with a `tool_result` block, ready to be sent to the model. What the model can put right (a "
            "missing parameter, a handle that is not there, something that is not possible now) is a `tool_result` "
            "with `is_error` and a sentence that says what to do; nothing has changed then. What is wrong with the "
            "token is an error of HTTP. Whatever a tool gives out is a recall, named in the headers of the answer."
        ),
        request=ToolCallIn,
        parameters=[TOOL, *HEADERS],
        responses={200: ToolResultOut, **errors(404, because={404: "There is no such tool."})},
        examples=[examples.TOOL_CALL, examples.TOOL_RESULT],
        tags=["Tools"],
    )
    def post(self, request: Request, tool: str) -> Response:
        body = self.body(ToolCallIn)
        answer = called(self.caller, tool, body.get("input") or {}, route="tool-call")
        result: dict[str, Any] = {
            "type": "tool_result",
            "content": [{"type": "text", "text": answer.text}],
            "is_error": answer.is_error,
        }
        if body.get("tool_use_id") is not None:
            result["tool_use_id"] = body["tool_use_id"]
        return Response(shown(ToolResultOut, result), headers=recall_headers(answer))


def called(caller: Caller, name: str, given: dict[str, Any], *, route: str) -> Answer:
    """Carry a call out. Raises NotFound, and ModeForbids or ScopeMissing with the refusal in the log."""
    try:
        return tool_call(caller=caller, name=name, given=given)
    except NoSuchTool:
        raise NotFound("There is no such tool.", fields={"tool": ["There is no such tool."]}) from None
    except NotOffered as refused:
        if refused.lacks:
            record_denial(caller, Scope(refused.lacks), route, "missing_scope")
            raise ScopeMissing(
                f"This token lacks the scope {refused.lacks}.", fields={"scope": [refused.lacks]}
            ) from None
        record_denial(caller, Scope.MEMORY_READ, route, "memory_mode")
        raise ModeForbids(
            f"The agent's memory mode is {caller.mode.value}: {refused.tool.name} does not go with it."
        ) from None


def recall_headers(answer: Answer) -> dict[str, str]:
    if answer.recall is None:
        return {}
    return {RECALL_HEADER: str(answer.recall.recall_id), RECEIPT_HEADER: answer.recall.receipt}
