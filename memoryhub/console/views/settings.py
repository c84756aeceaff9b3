"""What a workspace decides for itself."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from memoryhub.access.errors import PolicyMoved
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.access.services import workspace_change
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.pages import page
from memoryhub.console.workspace_policy import PolicyForm, policy_of


@require_http_methods(["GET", "POST"])
@permission_required(Permission.SETTINGS_MANAGE)
def workspace_settings(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = PolicyForm(request.POST if request.method == "POST" else None, stored=policy_of(workspace))
    status = 422 if form.is_bound else 200
    if form.is_valid():
        try:
            seen = form.seen_policy
            if seen is None:
                raise PolicyMoved("What the settings were is not known.")
            changed = workspace_change(workspace=workspace, policy=form.policy, actor=actor_of(request), seen=seen)
        except PolicyMoved:
            workspace.refresh_from_db(fields=["policy"])
            form.look_again(policy_of(workspace))
            status = 409
        else:
            messages.success(request, "Saved. It holds from the next request on." if changed else "Nothing changed.")
            response = redirect(reverse("settings", args=[workspace.slug]))
            response.status_code = 303
            return response
    context = {"form": form, "sections": list(form.sections())}
    return page(request, workspace, "console/settings.html", context, section="settings", status=status)
