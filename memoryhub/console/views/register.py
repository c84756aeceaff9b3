"""The register of processing activities: to read, print, change and take along."""

import json

from django import forms
from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST
from pydantic import ValidationError

from memoryhub.access.errors import PolicyMoved
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission, role_may
from memoryhub.access.policy import WorkspacePolicy, differences, stored_policy
from memoryhub.access.register import TEXT, WORDS, LegalBasis, RegisterRules
from memoryhub.access.services import workspace_change
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.pages import page
from memoryhub.console.workspace_policy import policy_of
from memoryhub.registering import register_csv, register_of


class RegisterForm(forms.Form):
    """The statements. `seen` is what the policy was when the page was made."""

    seen = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, data: QueryDict | None = None, *, stored: WorkspacePolicy) -> None:
        values = {name: getattr(stored, name) for name in RegisterRules.model_fields}
        super().__init__(data, initial=values | {"seen": json.dumps(differences(stored), sort_keys=True)})
        for name, (label, says) in WORDS.items():
            if name == "register_basis":
                choices = [(one.value, one.value.replace("_", " ")) for one in LegalBasis]
                self.fields[name] = forms.ChoiceField(choices=choices, label=label, help_text=says)
                continue
            self.fields[name] = forms.CharField(
                required=name == "register_purpose",
                max_length=TEXT,
                label=label,
                help_text=says,
                widget=forms.Textarea(attrs={"rows": 3}),
            )

    def wanted(self, stored: WorkspacePolicy) -> WorkspacePolicy:
        """Raises pydantic.ValidationError."""
        values = {name: getattr(stored, name) for name in WorkspacePolicy.model_fields}
        values |= {name: self.cleaned_data[name] for name in RegisterRules.model_fields}
        return WorkspacePolicy.model_validate(values)

    @property
    def seen_policy(self) -> WorkspacePolicy | None:
        try:
            return stored_policy(self.cleaned_data["seen"])
        except (ValueError, AttributeError):
            return None


@require_GET
@permission_required(Permission.RECORDS_VIEW)
def register(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    return _page(request, workspace, RegisterForm(stored=policy_of(workspace)))


@require_GET
@permission_required(Permission.RECORDS_VIEW)
def register_json(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    body = json.dumps(register_of(workspace), ensure_ascii=False, indent=1)
    return _file(body, "application/json", "register.json")


@require_GET
@permission_required(Permission.RECORDS_VIEW)
def register_table(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    return _file(register_csv(register_of(workspace)), "text/csv; charset=utf-8", "register.csv")


@require_POST
@permission_required(Permission.RECORDS_MANAGE)
def register_save(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    stored = policy_of(workspace)
    form = RegisterForm(request.POST, stored=stored)
    if not form.is_valid():
        return _page(request, workspace, form, status=422)
    try:
        seen = form.seen_policy
        if seen is None:
            raise PolicyMoved("What the settings were is not known.")
        wanted = form.wanted(stored)
        changed = workspace_change(workspace=workspace, policy=wanted, actor=actor_of(request), seen=seen)
    except ValidationError as refused:
        for error in refused.errors():
            form.add_error(None, error["msg"])
        return _page(request, workspace, form, status=422)
    except PolicyMoved:
        workspace.refresh_from_db(fields=["policy"])
        messages.error(request, "The settings were changed after you opened them. Below is what holds now.")
        return _page(request, workspace, RegisterForm(stored=policy_of(workspace)), status=409)
    messages.success(request, "Saved." if changed else "Nothing changed.")
    response = redirect(reverse("register", args=[workspace.slug]))
    response.status_code = 303
    return response


def _page(request: ConsoleRequest, workspace: Workspace, form: RegisterForm, *, status: int = 200) -> HttpResponse:
    context = {
        "form": form,
        "fields": [form[name] for name in WORDS],
        "register": register_of(workspace),
        "may_change": role_may(request.membership.role, Permission.RECORDS_MANAGE),
    }
    return page(request, workspace, "console/register.html", context, section="register", status=status)


def _file(body: str, media: str, name: str) -> HttpResponse:
    response = HttpResponse(body, content_type=media)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
