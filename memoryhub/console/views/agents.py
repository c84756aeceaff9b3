"""Agents and their keys: who may reach this workspace's memory, and how."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from memoryhub.access.errors import AccessError
from memoryhub.access.models import Agent, ApiKey, MemoryMode, Workspace
from memoryhub.access.permissions import Permission
from memoryhub.access.selectors import agents_with_keys, key_of_workspace, key_shown, requests_of_workspace
from memoryhub.access.services import NewKey, agent_change, agent_get_or_create, key_create, key_revoke, key_rotate
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.agent_forms import AgentForm, KeyForm, ModeForm, RevokeForm, RotateForm
from memoryhub.console.pages import page
from memoryhub.console.workspace_policy import policy_of


@require_GET
@permission_required(Permission.AGENTS_MANAGE)
def agent_list(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    most = policy_of(workspace).requests_per_minute
    context = {
        "agents": [(shown, ModeForm(initial={"mode": shown.agent.mode})) for shown in agents_with_keys(workspace)],
        "most_per_minute": most,
        "requests": requests_of_workspace(workspace) if most else None,
    }
    return page(request, workspace, "console/agent_list.html", context, section="agents")


@require_http_methods(["GET", "POST"])
@permission_required(Permission.AGENTS_MANAGE)
def agent_create(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = AgentForm(request.POST if request.method == "POST" else None, workspace_id=workspace.id)
    if form.is_valid():
        agent = agent_get_or_create(
            workspace_id=workspace.id,
            name=form.cleaned_data["name"],
            mode=MemoryMode(form.cleaned_data["mode"]),
            actor=actor_of(request),
        )
        messages.success(request, f"Agent {agent.name} was added. It needs a key to reach this hub.")
        return _to_list(workspace)
    return page(
        request, workspace, "console/agent_new.html", {"form": form}, section="agents", status=_status(form.is_bound)
    )


@require_POST
@permission_required(Permission.AGENTS_MANAGE)
def agent_mode(request: ConsoleRequest, workspace: Workspace, agent_id: UUID) -> HttpResponse:
    agent = _agent(workspace, agent_id)
    form = ModeForm(request.POST)
    if not form.is_valid():
        messages.error(request, "This is not a memory mode.")
        return _to_list(workspace)
    agent = agent_change(agent=agent, mode=MemoryMode(form.cleaned_data["mode"]), actor=actor_of(request))
    messages.success(request, f"The memory mode of {agent.name} is {agent.mode}, from its next request on.")
    return _to_list(workspace)


@sensitive_variables("new")
@require_http_methods(["GET", "POST"])
@permission_required(Permission.KEYS_MANAGE)
def key_new(request: ConsoleRequest, workspace: Workspace, agent_id: UUID) -> HttpResponse:
    agent = _agent(workspace, agent_id)
    form = KeyForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        new = key_create(
            agent=agent,
            actor=actor_of(request),
            scopes=form.scopes_wanted,
            expires_at=form.expires_at,
            rate_per_minute=form.cleaned_data["rate_per_minute"],
        )
        return _show_once(request, workspace, agent, new)
    context = {"form": form, "agent": agent}
    return page(
        request, workspace, "console/agent_key_new.html", context, section="agents", status=_status(form.is_bound)
    )


@sensitive_variables("new")
@require_http_methods(["GET", "POST"])
@permission_required(Permission.KEYS_MANAGE)
def key_rotate_view(request: ConsoleRequest, workspace: Workspace, key_id: UUID) -> HttpResponse:
    key = _key(workspace, key_id)
    form = RotateForm(request.POST if request.method == "POST" else None)
    status = _status(form.is_bound)
    if form.is_valid():
        try:
            new = key_rotate(key=key, overlap=form.overlap_wanted, actor=actor_of(request))
        except AccessError as refused:
            form.add_error(None, refused.message)
            status = 409
        else:
            return _show_once(request, workspace, key.agent, new, replaces=key_shown(key).key)
    context = {"form": form, "shown": key_shown(key)}
    return page(request, workspace, "console/agent_key_rotate.html", context, section="agents", status=status)


@require_http_methods(["GET", "POST"])
@permission_required(Permission.KEYS_MANAGE)
def key_revoke_view(request: ConsoleRequest, workspace: Workspace, key_id: UUID) -> HttpResponse:
    key = _key(workspace, key_id)
    form = RevokeForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        key_revoke(key=key, actor=actor_of(request), reason=form.cleaned_data["reason"])
        messages.success(request, f"{key.prefix} is revoked. Whoever holds it is refused from now on.")
        return _to_list(workspace)
    context = {"form": form, "shown": key_shown(key)}
    return page(
        request, workspace, "console/agent_key_revoke.html", context, section="agents", status=_status(form.is_bound)
    )


def _show_once(
    request: ConsoleRequest, workspace: Workspace, agent: Agent, new: NewKey, *, replaces: ApiKey | None = None
) -> HttpResponse:
    """The only page that ever holds a key. It answers the POST that made it, and nobody may keep it."""
    context = {"agent": agent, "new": new, "replaces": replaces}
    return page(request, workspace, "console/agent_key_made.html", context, section="agents")


def _agent(workspace: Workspace, agent_id: UUID) -> Agent:
    return get_object_or_404(Agent, workspace_id=workspace.id, pk=agent_id)


def _key(workspace: Workspace, key_id: UUID) -> ApiKey:
    key = key_of_workspace(workspace.id, key_id)
    if key is None:
        raise Http404
    return key


def _status(sent: bool) -> int:
    return 422 if sent else 200


def _to_list(workspace: Workspace) -> HttpResponse:
    response = redirect(reverse("agent-list", args=[workspace.slug]))
    response.status_code = 303
    return response
