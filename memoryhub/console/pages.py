"""What every page of the console has around its content."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from audit.requests.selectors import Waiting
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission, role_may
from memoryhub.console.desk import waiting_in
from memoryhub.core.tenancy import in_workspace

if TYPE_CHECKING:
    from memoryhub.console.access import ConsoleRequest


@dataclass(frozen=True)
class NavItem:
    section: str
    label: str
    url_name: str
    needed: Permission = Permission.METADATA_VIEW


NAVIGATION: tuple[tuple[str, tuple[NavItem, ...]], ...] = (
    ("", (NavItem("overview", "Overview", "overview"),)),
    (
        "Memory",
        (
            NavItem("subjects", "Subjects", "subject-list"),
            NavItem("facts", "Facts", "fact-list"),
            NavItem("review", "Review", "review", Permission.MEMORY_REVIEW),
            NavItem("dead-letters", "Dead letters", "dead-letters", Permission.EXTRACTIONS_VIEW),
        ),
    ),
    (
        "What agents saw",
        (
            NavItem("surfacings", "Surfacings", "recall-list"),
            NavItem("quality", "Retrieval quality", "retrieval-quality"),
        ),
    ),
    (
        "Governance",
        (
            NavItem("requests", "Requests", "request-list", Permission.REQUESTS_VIEW),
            NavItem("holds", "Legal holds", "hold-list", Permission.REQUESTS_VIEW),
            NavItem("erasures", "Erasures", "erasures", Permission.SUBJECTS_ERASE),
            NavItem("register", "Register", "register", Permission.RECORDS_VIEW),
            NavItem("retention", "Retention", "retention", Permission.RECORDS_VIEW),
            NavItem("audit", "Audit log", "audit-log", Permission.AUDIT_READ),
            NavItem("integrity", "Integrity", "integrity", Permission.INTEGRITY_VERIFY),
        ),
    ),
    (
        "Workspace",
        (
            NavItem("people", "People and roles", "people", Permission.PEOPLE_MANAGE),
            NavItem("agents", "Agents and keys", "agent-list", Permission.AGENTS_MANAGE),
            NavItem("settings", "Settings", "settings", Permission.SETTINGS_MANAGE),
            NavItem("system", "System", "system", Permission.SYSTEM_VIEW),
        ),
    ),
)


PEEK = "peek"
"""The element that a page is peeked at in: its content without what stands around it."""


def wants_part(request: "ConsoleRequest") -> bool:
    """Whether htmx asked for a part of the page. Going back through the browser's history asks for the whole one."""
    return bool(request.htmx) and not request.htmx.history_restore_request and request.htmx.target != PEEK


def page(
    request: "ConsoleRequest",
    workspace: Workspace,
    template: str,
    context: Mapping[str, Any],
    *,
    section: str,
    partial: str | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render `template` inside the frame; for an htmx request only `partial`, the part of it that was asked for."""
    role = request.membership.role
    around: dict[str, Any] = {
        "workspace": workspace,
        "role": request.membership.get_role_display(),
        "may": {permission.name.lower(): role_may(role, permission) for permission in Permission},
    }
    if partial and wants_part(request):
        return render(request, partial, {**around, **context}, status=status)
    if request.htmx and request.htmx.target == PEEK:
        return render(request, template, {**around, **context, "peek": True}, status=status)
    around["navigation"] = navigation(workspace, role, section)
    if role_may(role, Permission.REQUESTS_VIEW):
        around["waiting_at"] = reverse("request-list", args=[workspace.slug])
        around["waiting"] = context.get("waiting") or _waiting(workspace)
    around["other_workspaces"] = [one.workspace for one in request.memberships if one.workspace_id != workspace.id]
    return render(request, template, {**around, **context}, status=status)


def navigation(workspace: Workspace, role: str, section: str = "") -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """The pages that `role` may open, in their groups: label, address, whether it is the present one."""
    return [
        (group, shown)
        for group, items in NAVIGATION
        if (
            shown := [
                (item.label, reverse(item.url_name, args=[workspace.slug]), item.section == section)
                for item in items
                if role_may(role, item.needed)
            ]
        )
    ]


def _waiting(workspace: Workspace) -> Waiting:
    """The requests that have not ended, also for a view without a transaction of its own."""
    if connection.in_atomic_block:
        return waiting_in(workspace)
    with in_workspace(workspace.id):
        return waiting_in(workspace)
