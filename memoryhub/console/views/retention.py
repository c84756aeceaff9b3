"""How long a workspace keeps what, and what the next sweep would remove."""

import json
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from memoryhub.access.errors import PolicyMoved
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission, role_may
from memoryhub.access.policy import WorkspacePolicy, differences, stored_policy
from memoryhub.access.retention import KINDS, LONGEST, RetentionRules, setting_of, shortened
from memoryhub.access.services import workspace_change
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.pages import page
from memoryhub.console.workspace_policy import policy_of
from memoryhub.retaining import audit_due, last_sweeps, preview


class RetentionForm(forms.Form):
    """Days for each kind; empty: until somebody erases it. `seen` is what the policy was when the page was made."""

    seen = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, data: QueryDict | None = None, *, stored: WorkspacePolicy) -> None:
        values = {setting_of(kind): stored.days(kind) for kind in KINDS}
        super().__init__(data, initial=values | {"seen": json.dumps(differences(stored), sort_keys=True)})
        defaults = RetentionRules()
        for kind, one in KINDS.items():
            self.fields[setting_of(kind)] = forms.IntegerField(
                required=False,
                min_value=1,
                max_value=LONGEST,
                label=f"{one.label}, days",
                widget=forms.NumberInput(attrs={"placeholder": "no end"}),
                help_text=f"{one.says} Default: {defaults.days(kind)}.",
            )

    def wanted(self, stored: WorkspacePolicy) -> WorkspacePolicy:
        return stored.model_copy(update={setting_of(kind): self.cleaned_data[setting_of(kind)] for kind in KINDS})

    @property
    def seen_policy(self) -> WorkspacePolicy | None:
        try:
            return stored_policy(self.cleaned_data["seen"])
        except (ValueError, AttributeError):
            return None


@require_GET
@permission_required(Permission.RECORDS_VIEW)
def retention(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    stored = policy_of(workspace)
    return _page(request, workspace, RetentionForm(stored=stored), stored, [])


@require_POST
@permission_required(Permission.RECORDS_MANAGE)
def retention_save(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    """Change it; in two steps where something is to be kept for less long: what would go is shown, then confirmed."""
    stored = policy_of(workspace)
    form = RetentionForm(request.POST, stored=stored)
    if not form.is_valid():
        return _page(request, workspace, form, stored, [], status=422)
    wanted = form.wanted(stored)
    confirming = shortened(stored, wanted)
    if form.seen_policy == stored and confirming and request.POST.get("confirm") != "yes":
        return _page(request, workspace, form, wanted, confirming)
    try:
        seen = form.seen_policy
        if seen is None:
            raise PolicyMoved("What the settings were is not known.")
        changed = workspace_change(workspace=workspace, policy=wanted, actor=actor_of(request), seen=seen)
    except PolicyMoved:
        workspace.refresh_from_db(fields=["policy"])
        stored = policy_of(workspace)
        form = RetentionForm(stored=stored)
        messages.error(request, "The settings were changed after you opened them. Below is what holds now.")
        return _page(request, workspace, form, stored, [], status=409)
    messages.success(request, "Saved. The next sweep goes by it." if changed else "Nothing changed.")
    response = redirect(reverse("retention", args=[workspace.slug]))
    response.status_code = 303
    return response


def _page(
    request: ConsoleRequest,
    workspace: Workspace,
    form: RetentionForm,
    rules: WorkspacePolicy,
    confirming: list[str],
    *,
    status: int = 200,
) -> HttpResponse:
    may_change = role_may(request.membership.role, Permission.RECORDS_MANAGE)
    context = _context(workspace, form, rules, confirming, may_change)
    return page(request, workspace, "console/retention.html", context, section="retention", status=status)


def _context(
    workspace: Workspace, form: RetentionForm, rules: WorkspacePolicy, confirming: list[str], may_change: bool
) -> dict[str, Any]:
    due = [*preview(workspace_id=workspace.id, rules=rules), audit_due(workspace_id=workspace.id, rules=rules)]
    last = last_sweeps(workspace.id)
    return {
        "form": form,
        "fields": [form[setting_of(kind)] for kind in KINDS],
        "rows": [(one, KINDS[one.kind], last.get(one.kind)) for one in due],
        "total": sum(one.items for one in due if KINDS[one.kind].swept),
        "confirming": [KINDS[kind].label for kind in confirming],
        "may_change": may_change,
    }
