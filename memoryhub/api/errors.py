"""What a caller is told when a request cannot be served: one JSON form for every error of the API.

`{"error": {"code": …, "message": …, "fields": {path: [messages]}}}`; a path names the place in the body, such as
`turns[2].role`, a query parameter, or a part of the URL.
"""

import logging
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.template import loader
from django.utils import timezone
from django.views import defaults
from rest_framework import exceptions, status
from rest_framework.response import Response

from audit.erasure.services import AlreadyErasing, ErasureError, OnHold
from audit.erasure.tombstones import Erased
from audit.requests.errors import ErasureRuns, NotNow, RequestError, SamePerson, Unacceptable
from facts.exceptions import (
    NotPossible,
    OwnWork,
    RecordingPaused,
    SurfacingPaused,
    TooManyFacts,
    UnknownFact,
    VersionConflict,
)
from memoryhub.core.errors import InputError
from memoryhub.core.web import csp_nonce
from memoryhub.erasing import NeedsRequest
from sessions.exceptions import SessionOfAnother, TurnConflict, UnknownSession, UnknownSubject

logger = logging.getLogger(__name__)

API_PREFIX = "/api/"
MCP_PATH = "/mcp"
RETRY_SECONDS = 1
"""After how long a caller may try again when the database was away: it restarts in less."""

Fields = Mapping[str, list[str]]

# Domain errors, the most specific first.
DOMAIN_ERRORS: tuple[tuple[type[InputError], int, str], ...] = (
    (UnknownSession, status.HTTP_404_NOT_FOUND, "not_found"),
    (UnknownSubject, status.HTTP_404_NOT_FOUND, "not_found"),
    (UnknownFact, status.HTTP_404_NOT_FOUND, "not_found"),
    (SessionOfAnother, status.HTTP_409_CONFLICT, "session_of_another"),
    (TurnConflict, status.HTTP_409_CONFLICT, "turn_conflict"),
    (VersionConflict, status.HTTP_409_CONFLICT, "version_conflict"),
    (SurfacingPaused, status.HTTP_403_FORBIDDEN, "surfacing_paused"),
    (RecordingPaused, status.HTTP_409_CONFLICT, "recording_paused"),
    (NotPossible, status.HTTP_409_CONFLICT, "not_possible"),
    (OwnWork, status.HTTP_403_FORBIDDEN, "own_work"),
    (TooManyFacts, status.HTTP_429_TOO_MANY_REQUESTS, "too_many_facts"),
    (Erased, status.HTTP_410_GONE, "erased"),
    (AlreadyErasing, status.HTTP_409_CONFLICT, "erasing"),
    (OnHold, status.HTTP_409_CONFLICT, "on_hold"),
    (NeedsRequest, status.HTTP_409_CONFLICT, "needs_request"),
    (Unacceptable, status.HTTP_400_BAD_REQUEST, "invalid"),
    (NotNow, status.HTTP_409_CONFLICT, "not_now"),
    (SamePerson, status.HTTP_409_CONFLICT, "same_person"),
    (ErasureRuns, status.HTTP_409_CONFLICT, "erasing"),
    (ErasureError, status.HTTP_404_NOT_FOUND, "not_found"),
    (RequestError, status.HTTP_404_NOT_FOUND, "not_found"),
)

# What DRF itself raises.
FRAMEWORK_CODES = {
    status.HTTP_400_BAD_REQUEST: "invalid",
    status.HTTP_401_UNAUTHORIZED: "unauthenticated",
    status.HTTP_403_FORBIDDEN: "forbidden",
    status.HTTP_404_NOT_FOUND: "not_found",
    status.HTTP_405_METHOD_NOT_ALLOWED: "method_not_allowed",
    status.HTTP_415_UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    status.HTTP_429_TOO_MANY_REQUESTS: "throttled",
}


class Refused(exceptions.APIException):
    """A refusal with a code of its own, and the fields it is about."""

    status_code: int = status.HTTP_400_BAD_REQUEST
    default_code = "invalid"

    def __init__(self, message: str, *, fields: Fields | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fields = dict(fields or {})


class Malformed(Refused):
    """The body cannot be read as the JSON object that is wanted."""

    default_code = "malformed"


class FieldRefused(Refused):
    """One field is not acceptable."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}", fields={field: [message]})


class TooLarge(Refused):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


class LengthRequired(Refused):
    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_code = "length_required"


class ScopeMissing(Refused):
    status_code = status.HTTP_403_FORBIDDEN
    default_code = "scope_missing"


class TokenForbids(Refused):
    """The call is for keys only."""

    status_code = status.HTTP_403_FORBIDDEN
    default_code = "token_forbids"


class KeyForbids(Refused):
    """The call is for subject tokens only."""

    status_code = status.HTTP_403_FORBIDDEN
    default_code = "key_forbids"


class ModeForbids(Refused):
    status_code = status.HTTP_403_FORBIDDEN
    default_code = "mode_forbids"


class NotFound(Refused):
    status_code = status.HTTP_404_NOT_FOUND
    default_code = "not_found"


def error_body(code: str, message: str, fields: Fields | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "fields": dict(fields or {})}}


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> Response | None:
    """The answer to an exception raised while a request was served; None for a defect of ours, which becomes a 500."""
    if isinstance(exc, InputError):
        for kind, status_code, code in DOMAIN_ERRORS:
            if isinstance(exc, kind):
                headers = {"Retry-After": str(_seconds_of_today())} if kind is TooManyFacts else None
                body = error_body(code, exc.message, {exc.field: [exc.message]})
                return Response(body, status=status_code, headers=headers)
        return None
    if isinstance(exc, OperationalError | InterfaceError):
        # The class alone: a server's message may quote a row.
        logger.warning("database_unavailable", extra={"error": type(exc).__name__})
        return Response(
            error_body("unavailable", "Memory is not available now. Nothing was changed; try again."),
            status=status.HTTP_503_SERVICE_UNAVAILABLE,
            headers={"Retry-After": str(RETRY_SECONDS)},
        )
    if isinstance(exc, RequestDataTooBig):
        exc = TooLarge(_too_large(exc))
    elif isinstance(exc, UnreadablePostError):
        exc = Malformed("The body ended before it was complete.")
    elif isinstance(exc, Http404):
        exc = exceptions.NotFound()
    elif isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    if not isinstance(exc, exceptions.APIException):
        return None
    headers = {}
    if auth_header := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = auth_header
    if wait := getattr(exc, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return Response(_body(exc), status=exc.status_code, headers=headers)


def _seconds_of_today() -> int:
    """How many are left, in UTC, by whose days is counted what an agent writes."""
    now = timezone.now().astimezone(UTC)
    return 86_400 - (now.hour * 3600 + now.minute * 60 + now.second)


def _body(exc: exceptions.APIException) -> dict[str, Any]:
    if isinstance(exc, Refused):
        return error_body(exc.default_code, exc.message, exc.fields)
    code = FRAMEWORK_CODES.get(exc.status_code, exc.default_code)
    if isinstance(exc, exceptions.ValidationError):
        fields = flat(exc.detail)
        first, messages = next(iter(fields.items()))
        more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
        return error_body(code, f"{first}: {messages[0]}{more}", fields)
    return error_body(code, str(exc.detail))


def flat(detail: Any, path: str = "") -> dict[str, list[str]]:
    """Nested validation errors as path → messages: `{"turns": [{}, {"role": ["…"]}]}` is `turns[1].role`."""
    if isinstance(detail, Mapping):
        found: dict[str, list[str]] = {}
        for key, inner in detail.items():
            for place, messages in flat(inner, _below(path, key)).items():
                found.setdefault(place, []).extend(messages)
        return found
    if isinstance(detail, list | tuple):
        if all(isinstance(item, str) for item in detail):
            return {path or "body": [str(item) for item in detail]}
        return {
            place: messages
            for position, inner in enumerate(detail)
            if inner
            for place, messages in flat(inner, f"{path}[{position}]").items()
        }
    return {path or "body": [str(detail)]}


def _below(path: str, key: Any) -> str:
    if key == "non_field_errors":
        return path
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not path or str(key).startswith("["):
        return f"{path}{key}"
    return f"{path}.{key}"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 400, as JSON below /api/; a body over the limit is a 413."""
    if isinstance(exception, RequestDataTooBig):
        told = _too_large(exception)
        if _is_api(request):
            return JsonResponse(error_body("too_large", told), status=status.HTTP_413_REQUEST_ENTITY_TOO_LARGE)
        return _page("413.html", request, status.HTTP_413_REQUEST_ENTITY_TOO_LARGE, told=told)
    if not _is_api(request):
        # Also for a Host that the hub does not answer to: nothing on the page may depend on it.
        return _page("400.html", request, status.HTTP_400_BAD_REQUEST)
    return JsonResponse(error_body("malformed", "The request cannot be read."), status=400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 403, as JSON below /api/."""
    if not _is_api(request):
        return defaults.permission_denied(request, exception)
    return JsonResponse(error_body("forbidden", "This is not allowed."), status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 404, as JSON below /api/."""
    if not _is_api(request):
        return defaults.page_not_found(request, exception)
    return JsonResponse(error_body("not_found", "There is nothing here."), status=404)


def failed(request: HttpRequest) -> HttpResponse:
    """Django's 500, as JSON below /api/. What went wrong is in the log, under the request's id."""
    if not _is_api(request):
        return _page("500.html", request, status.HTTP_500_INTERNAL_SERVER_ERROR)
    return JsonResponse(error_body("internal", "The hub failed. The request id names the log lines."), status=500)


def _page(template: str, request: HttpRequest, status_code: int, **context: object) -> HttpResponse:
    """An error's page, made of nothing that may have failed itself: no session, no person, no database."""
    return HttpResponse(loader.render_to_string(template, csp_nonce(request) | context), status=status_code)


def _too_large(error: RequestDataTooBig) -> str:
    """What was too large, with the limit. Django's own words, for forms, tell of none."""
    told = str(error)
    form = f"The form is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes."
    return told if told.startswith("The body") else form


def _is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith(API_PREFIX) or request.path_info == MCP_PATH
