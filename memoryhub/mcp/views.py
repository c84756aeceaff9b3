"""The door at /mcp: streamable HTTP without a stream. Each POST is one message, and its answer is one JSON object."""

from typing import ClassVar, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import status
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.access.permissions import Permission
from memoryhub.api.base import ApiView
from memoryhub.api.errors import LengthRequired, Refused, TooLarge
from memoryhub.api.rendering import MEDIA_TYPE
from memoryhub.mcp.messages import Id, Refusal, read_message, reply
from memoryhub.mcp.methods import answer
from memoryhub.mcp.protocol import spoken


class OriginRefused(Refused):
    """A page of another site asks."""

    status_code = status.HTTP_403_FORBIDDEN
    default_code = "origin"


class Endpoint(ApiView):
    """Authentication, limits and confinement are the API's. A stream is not offered (GET is 405), and no session is
    kept that DELETE could end."""

    permissions: ClassVar = {"POST": Permission.MEMORY_READ}
    tokens_only = True
    http_method_names = ["post"]

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        _refuse_other_origin(request)
        super().initial(request, *args, **kwargs)

    def post(self, request: Request) -> Response:
        id: Id | None = None
        try:
            message = read_message(self._raw())
            id = message.id
            in_version = spoken(message, request.headers)
            if id is None or not message.method:
                # A notification, or an answer to what was never asked.
                return Response(status=status.HTTP_202_ACCEPTED)
            return Response(reply(id, answer(self.caller, message, in_version)))
        except Refusal as refused:
            return Response(refused.body(id), status=refused.status)

    def _raw(self) -> bytes:
        request = self.request
        if (request.content_type or "").partition(";")[0].strip().lower() != MEDIA_TYPE:
            raise UnsupportedMediaType(request.content_type or "")
        if not request.META.get("CONTENT_LENGTH") and "HTTP_TRANSFER_ENCODING" in request.META:
            raise LengthRequired("Send the body with a Content-Length, not in chunks.")
        raw = request._request.body
        limit = self.caller.policy.body_bytes(settings.MAX_BODY_BYTES)
        if len(raw) > limit:
            raise TooLarge(f"The body is larger than {limit} bytes.")
        return raw


def _refuse_other_origin(request: Request) -> None:
    """Raises OriginRefused where a browser says that a page of another site is behind the request."""
    origin = request.headers.get("Origin")
    own = f"{request.scheme}://{request.get_host()}"
    if origin is not None and origin != own and origin not in settings.CSRF_TRUSTED_ORIGINS:
        raise OriginRefused("Pages of other sites may not ask. List the site in CSRF_TRUSTED_ORIGINS if it is yours.")


_endpoint = Endpoint.as_view()


@csrf_exempt
def mcp(request: HttpRequest) -> HttpResponse:
    return cast(HttpResponse, _endpoint(request))
