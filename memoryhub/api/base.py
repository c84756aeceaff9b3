"""What every view of the API shares: a view parses, calls one service, serialises."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, ClassVar, cast
from uuid import UUID

from django.http import HttpRequest, StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from memoryhub.access.callers import Caller
from memoryhub.access.models import MemoryMode
from memoryhub.access.permissions import Permission
from memoryhub.api.confinement import confined_input, refuse_other_path
from memoryhub.api.errors import LengthRequired
from memoryhub.api.rendering import AlwaysJson
from memoryhub.core.tenancy import confined_subject_id, confined_to, in_workspace

ANY_MODE = frozenset(MemoryMode)
REMEMBERING = frozenset({MemoryMode.EPISODIC, MemoryMode.FULL, MemoryMode.MANAGED})
"""Modes in which an agent has any memory."""
KNOWING = frozenset({MemoryMode.FULL, MemoryMode.MANAGED})
"""Modes in which an agent has facts."""


class ApiView(APIView):
    """A resource of the API. `permissions` names what each method takes, `modes` who may call at all.

    Whoever comes with a subject token is confined to its person without the view's doing: the database shows no other's
    rows, and what the address, the body or the query names is compared with the token before the view sees it. With
    `keys_only` a token may not call it at all, with `tokens_only` nobody else may.
    """

    permissions: ClassVar[Mapping[str, Permission]] = {}
    modes: ClassVar[frozenset[MemoryMode]] = REMEMBERING
    keys_only: ClassVar[bool] = False
    tokens_only: ClassVar[bool] = False
    content_negotiation_class = AlwaysJson
    # Without OPTIONS: it would describe what the schema describes.
    http_method_names = ["get", "head", "post", "patch"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:
        # A token's holder is confined from authentication on, and no longer than the request lasts.
        with confined_to(None):
            response = super().dispatch(request, *args, **kwargs)
            subject_id = confined_subject_id()
        if subject_id and isinstance(response, StreamingHttpResponse):
            # What is streamed is read after this has returned.
            response.streaming_content = _confined(cast(Iterable[bytes], response.streaming_content), subject_id)
        return cast(Response, response)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.caller.bound:
            refuse_other_path(self.caller, kwargs)

    @property
    def caller(self) -> Caller:
        return cast(Caller, self.request.auth)

    def workspace(self) -> AbstractContextManager[None]:
        """The transaction in which a request does everything it does: an error takes all of it back."""
        return in_workspace(self.caller.workspace_id)

    def body(self, serializer: type[Serializer[Any]]) -> dict[str, Any]:
        """The request's body, checked. Raises ValidationError, and LengthRequired for one of unknown length."""
        if not self.request.META.get("CONTENT_LENGTH") and "HTTP_TRANSFER_ENCODING" in self.request.META:
            # Django reads as much as was announced: what was not would look empty.
            raise LengthRequired("Send the body with a Content-Length, not in chunks.")
        return self._checked(serializer, self.request.data)

    def query(self, serializer: type[Serializer[Any]]) -> dict[str, Any]:
        """The query parameters, checked: given twice, the last one counts."""
        return self._checked(serializer, self.request.query_params.dict())

    def _checked(self, serializer: type[Serializer[Any]], data: Any) -> dict[str, Any]:
        if self.caller.bound:
            data = confined_input(self.caller, _ready(serializer), data)
        return checked(serializer, data)


def _confined(chunks: Iterable[bytes], subject_id: UUID) -> Iterator[bytes]:
    """The chunks of a streamed answer, each read under the confinement that the request had."""
    pending = iter(chunks)
    while True:
        with confined_to(subject_id):
            try:
                chunk = next(pending)
            except StopIteration:
                return
        yield chunk


def checked(serializer: type[Serializer[Any]], data: Any) -> dict[str, Any]:
    """`data` as `serializer` takes it. Raises ValidationError."""
    validated: dict[str, Any] = _ready(serializer).run_validation(data)
    return validated


def shown(serializer: type[Serializer[Any]], value: Any) -> dict[str, Any]:
    """`value` as `serializer` gives it out."""
    representation: dict[str, Any] = _ready(serializer).to_representation(value)
    return representation


@cache
def _ready(serializer: type[Serializer[Any]]) -> Serializer[Any]:
    # Making one copies every field of it, which costs more than using it; neither way of using it changes it.
    return serializer()
