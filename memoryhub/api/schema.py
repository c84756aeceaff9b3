"""The OpenAPI description: what holds for every operation is said once, here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import Direction, OpenApiParameter, OpenApiResponse

from memoryhub.access.permissions import RULES
from memoryhub.api.inputs import Input
from memoryhub.api.outputs import ErrorOut

if TYPE_CHECKING:
    from memoryhub.api.base import ApiView

SESSION_ID = OpenApiParameter(
    "session_id",
    OpenApiTypes.STR,
    OpenApiParameter.PATH,
    description="Your id of the session, percent-encoded; at most 256 characters.",
)
REQUEST_ID = OpenApiParameter(
    "X-Request-ID",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    response=True,
    required=True,
    description="Stands in the log lines and audit entries of this request. You may send your own: 8 to 64 of "
    "A-Z a-z 0-9 . _ and -.",
)
RETRY_AFTER = OpenApiParameter(
    "Retry-After",
    OpenApiTypes.INT,
    OpenApiParameter.HEADER,
    response=[429, 503],
    required=True,
    description="Seconds to wait.",
)
MEANINGS = {
    400: "A field is not acceptable; `fields` names it.",
    401: "No key or token, or one that is unknown, revoked or expired.",
    403: "The key or token lacks the scope, the agent's memory mode forbids it, or surfacing is paused for the person.",
    404: "There is no such thing in this workspace, or not for the person that the subject token is for.",
    409: "What is there does not allow it.",
    410: "What is written was erased: this session, or what this person said before then.",
    411: "The body was sent in chunks, without a Content-Length.",
    413: "The body, or a turn's content, is too large.",
    415: "The body is not sent as application/json.",
    429: "The key, or the workspace, was used too often in this minute.",
    503: "The database cannot be reached. Nothing was changed; send it again.",
}


def errors(*codes: int, because: Mapping[int, str] | None = None) -> dict[int, OpenApiResponse]:
    """Error answers of an operation beyond those that every operation has."""
    return {code: OpenApiResponse(ErrorOut, description=(because or {}).get(code, MEANINGS[code])) for code in codes}


class Schema(AutoSchema):
    """Adds to every operation the errors it can answer with and the headers that every answer has."""

    def get_override_parameters(self) -> list[Any]:
        return [REQUEST_ID, RETRY_AFTER]

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            # From the same table as the refusal itself.
            scope = RULES[cast("ApiView", self.view).permissions[self.method]].scope
            needs = f"Needs the scope `{scope.value}`." if scope else "No key may do it."
            operation["description"] = f"{operation['description']}\n\n{needs}" if "description" in operation else needs
        return operation

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for code, response in errors(*self._common_errors()).items():
            if str(code) not in bodies:
                bodies[str(code)] = self._get_response_for_code(response, str(code), None, direction)
        return dict(sorted(bodies.items()))

    def _map_basic_serializer(self, serializer: Any, direction: Direction) -> dict[str, Any]:
        schema: dict[str, Any] = super()._map_basic_serializer(serializer, direction)
        if isinstance(serializer, Input):
            schema["additionalProperties"] = False
        return schema

    def _common_errors(self) -> list[int]:
        has_body = self.method != "GET" and self.get_request_serializer() is not None
        # Ids of ours are checked by the address itself; a session id is the caller's.
        takes_input = "session_id" in self.path or any(given["in"] == "query" for given in self._get_parameters())
        codes = [401, 403, 404, 429, 503]
        if has_body or takes_input:
            codes.append(400)
        if has_body:
            codes += [411, 413, 415]
        return codes


def without_enum_ids(result: Any, generator: Any, request: Any, public: bool) -> Any:
    """Take out the marks by which drf-spectacular would gather equal choices under one name."""
    if isinstance(result, dict):
        result.pop("x-spec-enum-id", None)
    for inner in result.values() if isinstance(result, dict) else result if isinstance(result, list) else ():
        without_enum_ids(inner, generator, request, public)
    return result


class KeyScheme(OpenApiAuthenticationExtension):
    target_class = "memoryhub.api.authentication.KeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key of an agent: it decides workspace, agent and memory mode. Or a subject token "
            "made with one, which is good for one person: with it `user_id` may be left out everywhere.",
        }
