"""Who calls, and may they: a key resolved in one round trip, its scopes and its agent's memory mode."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast
from uuid import UUID

from django.conf import settings
from django.db import connection
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, Throttled
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from audit.services import record
from memoryhub.access.callers import Binding, Caller
from memoryhub.access.models import MemoryMode, Scope, key_digest
from memoryhub.access.permissions import RULES, Permission
from memoryhub.access.policy import stored_policy
from memoryhub.access.tokens import PREFIX, BadToken, read_token
from memoryhub.api.errors import KeyForbids, ModeForbids, ScopeMissing, TokenForbids
from memoryhub.core.observability import log_fields
from memoryhub.core.tenancy import confine_to, in_workspace

if TYPE_CHECKING:
    # Views import this module while they are loaded.
    from rest_framework.views import APIView

# Anything else cannot be a key: it is not worth a query, and cannot carry what the database would stumble over.
KEY = re.compile(r"(mh_[0-9a-f]{8})_[A-Za-z0-9_-]{43}\Z")
COLUMNS = """state, key_id, key_prefix, expires_at, workspace_id, workspace_slug, text_config, policy, agent_id,
       agent_name, mode, scopes, over, retry_after"""
AUTHENTICATE = f"select {COLUMNS} from access_authenticate(%s, %s, %s)"  # noqa: S608 - names of ours
AUTHENTICATE_TOKEN = f"select {COLUMNS}, also from memory_sessions_authenticate_token(%s, %s, %s, %s)"  # noqa: S608


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key or subject token>`.

    The request is counted in the same round trip; revoking is effective at once. From here to the end of the request a
    token's holder sees one person: the database shows no other's rows.
    """

    def authenticate(self, request: Request) -> tuple[Caller, Caller] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        scheme, _, credential = header.partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationFailed("Send the API key as `Authorization: Bearer <key>`.")
        caller = caller_of(credential.strip())
        confine_to(caller.subject_id)
        log_fields(workspace=caller.workspace_id, agent=caller.agent_id, key=caller.key_prefix)
        return caller, caller

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="memoryhub"'


@dataclass(frozen=True, slots=True)
class _Row:
    """What the database answers about a credential."""

    state: str
    key_id: UUID
    key_prefix: str
    expires_at: datetime | None
    workspace_id: UUID
    workspace_slug: str
    text_config: str
    policy: str
    agent_id: UUID
    agent_name: str
    mode: str
    scopes: list[str]
    over: str | None
    retry_after: int
    user_id: str = ""


def caller_of(credential: str) -> Caller:
    """The agent that holds `credential`, an API key or a subject token made with one.

    Raises AuthenticationFailed for one that is unknown, revoked or expired, and for a token whose agent has another
    mode by now or whose person is restricted or gone; Throttled when the key, or all keys of the workspace together,
    were used more often in this minute than they may.
    """
    return _caller_of_token(credential) if credential.startswith(PREFIX) else _caller_of_key(credential)


def _caller_of_key(key: str) -> Caller:
    shaped = KEY.match(key)
    if not shaped:
        raise AuthenticationFailed("This is not a valid API key.")
    row = _ask(AUTHENTICATE, [shaped[1], key_digest(key), settings.THROTTLE_PER_MINUTE])
    if row is None:
        raise AuthenticationFailed("This is not a valid API key.")
    if row.state != "live":
        raise AuthenticationFailed(f"This API key is {row.state}.")
    return _caller(row, frozenset(row.scopes), None)


def _caller_of_token(text: str) -> Caller:
    try:
        token = read_token(text)
    except BadToken as refused:
        raise AuthenticationFailed(str(refused)) from None
    row = _ask(AUTHENTICATE_TOKEN, [token.key_id, token.mode, token.subject_id, settings.THROTTLE_PER_MINUTE])
    # One answer for every reason: what became of the key, the agent or the person is not the token holder's to know.
    if row is None or row.state != "live":
        raise AuthenticationFailed("This token is no longer valid.")
    bound = Binding(token_id=token.id, subject_id=token.subject_id, user_id=row.user_id, session=token.session)
    return _caller(row, token.scopes.intersection(row.scopes), bound)


def _ask(query: str, parameters: Sequence[str | bytes | int | UUID]) -> _Row | None:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        found = cursor.fetchone()
    return _Row(*found) if found else None


def _caller(row: _Row, scopes: frozenset[str], bound: Binding | None) -> Caller:
    if row.over:
        who = "This workspace" if row.over == "workspace" else "This API key"
        raise Throttled(wait=row.retry_after, detail=f"{who} was used too often in this minute.")
    return Caller(
        workspace_id=row.workspace_id,
        workspace_slug=row.workspace_slug,
        text_config=row.text_config,
        policy=stored_policy(row.policy),
        agent_id=row.agent_id,
        agent_name=row.agent_name,
        mode=MemoryMode(row.mode),
        scopes=scopes,
        key_id=row.key_id,
        key_prefix=row.key_prefix,
        key_expires_at=row.expires_at,
        bound=bound,
    )


class HasScope(BasePermission):
    """The credential has the scope that the table of permissions asks for and may be a token, and the mode allows it.

    A refusal is recorded: somebody holds a credential and asks for more than it may.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        caller = cast(Caller | None, request.auth)
        if caller is None:
            raise NotAuthenticated("Send an API key as `Authorization: Bearer <key>`.")
        method = "GET" if request.method == "HEAD" else str(request.method)
        permission: Permission | None = getattr(view, "permissions", {}).get(method)
        scope = RULES[permission].scope if permission else None
        if scope is None:
            # A method without a permission is one that the view does not have, which is what the caller is told next;
            # a handler whose permission was forgotten serves nobody.
            return method.lower() not in view.http_method_names or not hasattr(view, method.lower())
        route = request.resolver_match.url_name if request.resolver_match else ""
        if scope not in caller.scopes:
            record_denial(caller, scope, route, "missing_scope")
            raise ScopeMissing(f"This key lacks the scope {scope.value}.", fields={"scope": [scope.value]})
        if caller.mode not in getattr(view, "modes", ()):
            record_denial(caller, scope, route, "memory_mode")
            raise ModeForbids(f"The agent's memory mode is {caller.mode.value}: it does not allow this.")
        if caller.bound and getattr(view, "keys_only", False):
            record_denial(caller, scope, route, "keys_only")
            raise TokenForbids("This is for API keys: a subject token may not do it.")
        if not caller.bound and getattr(view, "tokens_only", False):
            record_denial(caller, scope, route, "tokens_only")
            raise KeyForbids("This is for subject tokens: make one with this key (POST /api/v1/subject-tokens).")
        return True


def record_denial(caller: Caller, scope: Scope, route: str | None, reason: str) -> None:
    """Write down that `caller` asked for more than it may."""
    with in_workspace(caller.workspace_id):
        record(
            caller.actor,
            "access.denied",
            workspace_id=caller.workspace_id,
            outcome="denied",
            reason=reason,
            data={"scope": scope.value, "mode": caller.mode.value, "route": route or None},
        )
