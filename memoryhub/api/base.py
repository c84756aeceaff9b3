"""What every view of the API shares: a view parses, calls one service, serialises."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from rest_framework.exceptions import ValidationError
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from memoryhub.access.callers import Caller
from memoryhub.access.models import MemoryMode, Scope
from memoryhub.api.rendering import AlwaysJson
from memoryhub.core.tenancy import in_workspace

ANY_MODE = frozenset(MemoryMode)
REMEMBERING = frozenset({MemoryMode.EPISODIC, MemoryMode.FULL, MemoryMode.MANAGED})
"""Modes in which an agent has any memory."""
KNOWING = frozenset({MemoryMode.FULL, MemoryMode.MANAGED})
"""Modes in which an agent has facts."""


class ApiView(APIView):
    """A resource of the API. `scopes` names the scope for each method, `modes` who may call at all."""

    scopes: ClassVar[Mapping[str, Scope]] = {}
    modes: ClassVar[frozenset[MemoryMode]] = REMEMBERING
    content_negotiation_class = AlwaysJson
    # Without OPTIONS: it would describe what the schema describes.
    http_method_names = ["get", "head", "post", "patch"]

    @property
    def caller(self) -> Caller:
        caller: Caller = self.request.auth
        return caller

    def workspace(self) -> AbstractContextManager[None]:
        """The transaction in which a request does everything it does: an error takes all of it back."""
        return in_workspace(self.caller.workspace_id)

    def body(self, serializer: type[Serializer[Any]]) -> dict[str, Any]:
        """The request's body, checked. Raises ValidationError."""
        return checked(serializer, self.request.data)

    def query(self, serializer: type[Serializer[Any]]) -> dict[str, Any]:
        """The query parameters, checked: given twice, the last one counts."""
        return checked(serializer, self.request.query_params.dict())


def checked(serializer: type[Serializer[Any]], data: Any) -> dict[str, Any]:
    given = serializer(data=data)
    if not given.is_valid():
        raise ValidationError(given.errors)
    validated: dict[str, Any] = given.validated_data
    return validated
