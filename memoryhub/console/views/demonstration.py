"""The demonstration: one click away, and one click gone."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from audit.erasure.services import ErasureError
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.demo.workspace import demo_workspace_create
from memoryhub.demonstration import demo_workspace_remove


@require_POST
@permission_required(Permission.SETTINGS_MANAGE, transaction=False)
def demo_open(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    """To the demonstration that this person has already, or to a new one."""
    demo = next((one.workspace for one in request.memberships if one.workspace.is_demo), None)
    if demo is None:
        demo = demo_workspace_create(user=request.user, actor=actor_of(request))
    return _see(demo.slug)


@require_POST
@permission_required(Permission.SETTINGS_MANAGE, transaction=False)
def demo_remove(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    if not workspace.is_demo:
        messages.error(request, "Nothing was removed: this workspace is no demonstration.")
        return _see(workspace.slug)
    try:
        demo_workspace_remove(workspace=workspace, actor=actor_of(request))
    except ErasureError as error:
        messages.error(request, f"The demonstration stays: {error.message}")
        return _see(workspace.slug)
    messages.success(request, "The demonstration is removed.")
    return redirect("home", permanent=False)


def _see(slug: str) -> HttpResponse:
    response = redirect("overview", workspace=slug)
    response.status_code = 303
    return response
