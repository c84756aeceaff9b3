"""Who may see which page: who is signed in, and a member of its workspace in a role that has the permission needed."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from audit.actors import Actor
from audit.services import record
from memoryhub.access.models import Membership, User, Workspace
from memoryhub.access.permissions import RULES, Permission, role_may, roles_that_may
from memoryhub.access.selectors import memberships_of
from memoryhub.console.reveal import Revealed, hidden_page, revealed_until, subject_of
from memoryhub.console.second_factor import second_factor_missing, to_second_factor
from memoryhub.core.tenancy import in_workspace


class ConsoleRequest(HttpRequest):
    """What a view that `permission_required` guards may count on. For types only: no object of this class is made."""

    user: User
    htmx: HtmxDetails
    membership: Membership
    memberships: list[Membership]
    revealed: Revealed
    """Set where content is shown to somebody only because they said why."""


def actor_of(request: "ConsoleRequest") -> Actor:
    """The person at the console, for the log."""
    return Actor.user(request.user.pk, label=request.user.get_username())


def answers_outage(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A database that does not answer is a page that says so (503), never an empty list. Nothing is cached."""

    @wraps(view)
    def answering(request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
        except (OperationalError, InterfaceError):
            response = render(request, "console/unavailable.html", status=503)
        add_never_cache_headers(response)
        patch_vary_headers(response, ["HX-Request"])
        return response

    return answering


def permission_required(
    needed: Permission, *, transaction: bool = True
) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """Hand the view its `Workspace`, inside a transaction that sees this workspace only.

    Nobody signed in: to the sign-in page. No member: 404, the same as a workspace that does not exist. A member whose
    role lacks the permission: 403, recorded; where it is content that is hidden from them, a page without it (see
    `memoryhub.console.reveal`). With `transaction=False` the view opens its own, after work that must not hold one
    open.
    """

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @answers_outage
        @wraps(view)
        def guarded(request: Any, workspace: str, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return _answer(view, request, workspace, args, kwargs, needed, transaction)

        guarded.permission = needed  # type: ignore[attr-defined]
        return guarded

    return decorate


def _answer(
    view: Callable[..., HttpResponseBase],
    request: Any,
    slug: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    needed: Permission,
    transaction: bool,
) -> HttpResponseBase:
    if not request.user.is_authenticated:
        return _to_sign_in(request)
    if not hasattr(request, "memberships"):
        request.memberships = memberships_of(request.user.pk)
    membership = next((one for one in request.memberships if one.workspace.slug == slug), None)
    if membership is None:
        raise Http404
    request.membership = membership
    workspace: Workspace = membership.workspace
    if second_factor_missing(membership):
        return to_second_factor(request)
    if not role_may(membership.role, needed):
        if needed is not Permission.CONTENT_VIEW:
            return _denied(request, workspace, needed)
        with in_workspace(workspace.id):
            subject = subject_of(kwargs)
            until = revealed_until(request, subject.id)
            if until is None or not role_may(membership.role, Permission.CONTENT_REVEAL):
                record(actor_of(request), "subject.viewed", subject, subject=subject, data={"what": "metadata"})
                return hidden_page(request, workspace, subject)
            request.revealed = Revealed(subject, until)
    if not transaction:
        return view(request, workspace, *args, **kwargs)
    with in_workspace(workspace.id):
        return view(request, workspace, *args, **kwargs)


def _denied(request: Any, workspace: Workspace, needed: Permission) -> HttpResponse:
    with in_workspace(workspace.id):
        record(
            actor_of(request),
            "access.denied",
            workspace,
            workspace_id=workspace.id,
            outcome="denied",
            reason="missing_role",
            data={
                "permission": needed,
                "role": request.membership.role,
                "route": f"console.{request.resolver_match.url_name.replace('-', '_')}",
            },
        )
    context = {
        "needed": RULES[needed].meaning,
        "roles": sorted(role.label for role in roles_that_may(needed)),
        "workspace": workspace,
    }
    return render(request, "403.html", context, status=403)


def _to_sign_in(request: Any) -> HttpResponse:
    if request.htmx:
        # A redirect would be followed inside the panel that asked; this makes the whole page go there.
        return HttpResponseClientRedirect(redirect_to_login(request.htmx.current_url_abs_path or "/").url)
    return redirect_to_login(request.get_full_path())
