"""Who calls, and may they: a key resolved in one round trip, its scopes and its agent's memory mode."""

import re
import time
from typing import TYPE_CHECKING, cast

from django.conf import settings
from django.db import connection
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, Throttled
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from audit.services import record
from memoryhub.access.callers import Caller
from memoryhub.access.models import MemoryMode, Scope, key_digest
from memoryhub.api.errors import ModeForbids, ScopeMissing
from memoryhub.core.observability import log_fields
from memoryhub.core.tenancy import in_workspace

if TYPE_CHECKING:
    # Views import this module while they are loaded.
    from rest_framework.views import APIView

# Anything else cannot be a key: it is not worth a query, and cannot carry what the database would stumble over.
KEY = re.compile(r"(mh_[0-9a-f]{8})_[A-Za-z0-9_-]{43}\Z")
AUTHENTICATE = """
select state, key_id, workspace_id, workspace_slug, text_config, agent_id, agent_name, mode, scopes, rate_per_minute,
       requests
  from access_authenticate(%s, %s)
"""


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>`. The request is counted in the same round trip; revoking is effective at once."""

    def authenticate(self, request: Request) -> tuple[Caller, Caller] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationFailed("Send the API key as `Authorization: Bearer <key>`.")
        caller = caller_of(key.strip())
        log_fields(workspace=caller.workspace_id, agent=caller.agent_id, key=caller.key_prefix)
        return caller, caller

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="memoryhub"'


def caller_of(key: str) -> Caller:
    """The agent that holds `key`.

    Raises AuthenticationFailed for a key that is unknown, revoked or expired, Throttled when it has been used more
    often in this minute than it may.
    """
    shaped = KEY.match(key)
    if not shaped:
        raise AuthenticationFailed("This is not a valid API key.")
    with connection.cursor() as cursor:
        cursor.execute(AUTHENTICATE, [shaped[1], key_digest(key)])
        row = cursor.fetchone()
    if row is None:
        raise AuthenticationFailed("This is not a valid API key.")
    state, key_id, workspace_id, slug, text_config, agent_id, agent_name, mode, scopes, rate, requests = row
    if state != "live":
        raise AuthenticationFailed(f"This API key is {state}.")
    if requests > (settings.THROTTLE_PER_MINUTE if rate is None else rate):
        raise Throttled(wait=60 - int(time.time()) % 60)
    return Caller(
        workspace_id=workspace_id,
        workspace_slug=slug,
        text_config=text_config,
        agent_id=agent_id,
        agent_name=agent_name,
        mode=MemoryMode(mode),
        scopes=frozenset(scopes),
        key_id=key_id,
        key_prefix=shaped[1],
    )


class HasScope(BasePermission):
    """The key has the scope that the view names for the method, and the agent's mode allows what the view does.

    A refusal is recorded: somebody holds a credential and asks for more than it may.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        caller = cast(Caller | None, request.auth)
        if caller is None:
            raise NotAuthenticated("Send an API key as `Authorization: Bearer <key>`.")
        method = "GET" if request.method == "HEAD" else str(request.method)
        scope: Scope | None = getattr(view, "scopes", {}).get(method)
        if scope is None:
            # A method without a scope is one that the view does not have, which is what the caller is told next;
            # a handler whose scope was forgotten serves nobody.
            return method.lower() not in view.http_method_names or not hasattr(view, method.lower())
        route = request.resolver_match.url_name if request.resolver_match else ""
        if scope not in caller.scopes:
            _record_denial(caller, scope, route, "missing_scope")
            raise ScopeMissing(f"This key lacks the scope {scope.value}.", fields={"scope": [scope.value]})
        if caller.mode not in getattr(view, "modes", ()):
            _record_denial(caller, scope, route, "memory_mode")
            raise ModeForbids(f"The agent's memory mode is {caller.mode.value}: it does not allow this.")
        return True


def _record_denial(caller: Caller, scope: Scope, route: str | None, reason: str) -> None:
    with in_workspace(caller.workspace_id):
        record(
            caller.actor,
            "access.denied",
            workspace_id=caller.workspace_id,
            outcome="denied",
            reason=reason,
            data={"scope": scope.value, "mode": caller.mode.value, "route": route or None},
        )
