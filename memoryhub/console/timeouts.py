"""How long a sign-in lasts: until nothing was asked for some time, and never longer than a day's work.

The limits are those of the workspaces the person belongs to, the strictest of them.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from django.conf import settings
from django.contrib.auth import logout
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from audit.actors import Actor
from audit.models import INSTALLATION
from audit.services import record
from memoryhub.access.models import Membership
from memoryhub.access.policy import WorkspacePolicy, read_policy
from memoryhub.access.selectors import memberships_of
from memoryhub.core.tenancy import in_workspace

BEGAN, SEEN = "signed_in_at", "seen_at"
# Written at most so often, in seconds: not every page has to change the session.
PRECISION = 30
LIVE = "live"
"""The parameter of what a page asks for by itself, again and again: no sign that somebody is there."""


def begin(request: HttpRequest) -> None:
    """Start the clocks of a sign-in."""
    request.session[BEGAN] = request.session[SEEN] = int(time.time())


def limits(policies: Iterable[WorkspacePolicy]) -> tuple[int, int]:
    """Seconds without a request, and seconds in all, after which a sign-in is over."""
    known = list(policies) or [WorkspacePolicy()]
    return min(one.idle_minutes for one in known) * 60, min(one.absolute_hours for one in known) * 3600


class TimeoutMiddleware:
    """Signs people out when their time is over. Leaves `request.memberships` for whoever needs them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Neither who calls the API nor a probe has a session; a database that is away is for the page to tell.
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            with suppress(OperationalError, InterfaceError):
                if request.user.is_authenticated:
                    memberships = memberships_of(request.user.pk)
                    request.memberships = memberships  # type: ignore[attr-defined]
                    self._check(request, memberships)
        return self.get_response(request)

    def _check(self, request: HttpRequest, memberships: list[Membership]) -> None:
        now = int(time.time())
        began, seen = request.session.get(BEGAN), request.session.get(SEEN)
        if began is None or seen is None:
            begin(request)
            return
        idle, absolute = limits(read_policy(one.workspace.policy) for one in memberships)
        if now - seen > idle or now - began > absolute:
            user = request.user
            with in_workspace(INSTALLATION):
                record(Actor.user(user.pk), "user.session_expired", user, workspace_id=INSTALLATION)  # type: ignore[arg-type]
                logout(request)
        elif now - seen > PRECISION and LIVE not in request.GET:
            request.session[SEEN] = now
