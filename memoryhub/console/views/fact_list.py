"""Facts of all people: looked through by what they are, and decided on together."""

from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from audit.reasons import REASONS
from audit.services import entries_together, record
from facts.listing import PAGE, VersionFilter, version_page, versions_decide
from facts.models import FactType, FactVersion, Source, Status
from memoryhub.access.models import Agent, Workspace
from memoryhub.access.permissions import Permission, role_may
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.forms import STALE_REASONS
from memoryhub.console.pages import page
from memoryhub.console.reveal import content_shown
from memoryhub.console.views.review import REJECT_REASONS

TOLD = 3
"""How many of those that were not changed are told one by one."""

SURE = {"low": (None, 0.5), "middle": (0.5, 0.8), "high": (0.8, None)}
AGES = {"day": 1, "week": 7, "month": 30, "year": 365}


class VersionFilterForm(forms.Form):
    about = forms.CharField(required=False, max_length=200, label="About")
    status = forms.ChoiceField(required=False, choices=Status.choices, label="Status")
    type = forms.ChoiceField(required=False, choices=[("", "every type"), *FactType.choices], label="Type")
    source = forms.ChoiceField(required=False, choices=[("", "every source"), *Source.choices], label="Source")
    agent = forms.ModelChoiceField(
        queryset=Agent.objects.none(), required=False, empty_label="every agent", label="Agent"
    )
    confidence = forms.ChoiceField(
        required=False,
        choices=[("", "any"), ("low", "under 0.5"), ("middle", "0.5 to 0.8"), ("high", "0.8 and more")],
        label="Confidence",
    )
    age = forms.ChoiceField(
        required=False,
        choices=[
            ("", "any"),
            ("day", "learned in 24 hours"),
            ("week", "in 7 days"),
            ("month", "in 30 days"),
            ("old-month", "more than 30 days ago"),
            ("old-year", "more than a year ago"),
        ],
        label="Age",
    )
    after = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, workspace_id: UUID, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["agent"].queryset = Agent.objects.filter(workspace_id=workspace_id).order_by("name")  # type: ignore[attr-defined]

    def wanted(self) -> VersionFilter:
        chosen = self.cleaned_data
        least, below = SURE.get(chosen["confidence"], (None, None))
        old, days = chosen["age"].startswith("old-"), AGES.get(chosen["age"].removeprefix("old-"))
        moment = timezone.now() - timedelta(days=days) if days else None
        return VersionFilter(
            status=chosen["status"] or Status.CURRENT,
            type=chosen["type"],
            about=chosen["about"],
            source=chosen["source"],
            agent_id=chosen["agent"].id if chosen["agent"] else None,
            below=below,
            least=least,
            since=None if old else moment,
            until=moment if old else None,
        )


class DecisionsForm(forms.Form):
    """What is done with the ticked ones."""

    do = forms.ChoiceField(choices=[("stale", ""), ("approve", ""), ("reject", "")])
    ids = forms.TypedMultipleChoiceField(
        coerce=UUID, error_messages={"required": "Tick at least one fact.", "invalid_choice": "That is no id."}
    )
    stale_reason = forms.ChoiceField(required=False, choices=[(one, REASONS[one]) for one in STALE_REASONS])
    reject_reason = forms.ChoiceField(required=False, choices=[(one, REASONS[one]) for one in REJECT_REASONS])
    note = forms.CharField(required=False, max_length=2000)

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        self.fields["ids"].choices = [(one, one) for one in data.getlist("ids")[:PAGE] if _is_uuid(one)]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        cleaned["reason"] = cleaned.get(f"{cleaned.get('do')}_reason", "")
        if cleaned.get("do") in ("stale", "reject") and not cleaned["reason"]:
            raise forms.ValidationError("Choose why.")
        return cleaned


DONE = {"stale": "marked stale", "approve": "let in", "reject": "turned down"}


@require_GET
@permission_required(Permission.METADATA_VIEW)
def fact_list(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = VersionFilterForm(request.GET, workspace_id=workspace.id)
    wanted = form.wanted() if form.is_valid() else None
    after = form.cleaned_data.get("after")
    shown = version_page(workspace_id=workspace.id, wanted=wanted, after=after) if wanted else None
    rows = [(one, content_shown(request, one.fact.subject_id)) for one in shown.rows] if shown else []
    _record_views(request, workspace, rows)
    context = {
        "form": form,
        "status": wanted.status if wanted else "",
        "shown": shown,
        "rows": rows,
        "filtered": wanted != VersionFilter(),
        "paged": bool(after),
        "stale_reasons": [(one, REASONS[one]) for one in STALE_REASONS],
        "reject_reasons": [(one, REASONS[one]) for one in REJECT_REASONS],
    }
    return page(
        request,
        workspace,
        "facts/version_list.html",
        context,
        section="facts",
        partial="facts/version_results.html",
    )


@require_POST
@permission_required(Permission.MEMORY_CORRECT)
def facts_decide(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = DecisionsForm(request.POST)
    if not form.is_valid():
        faults = [str(error) for errors in form.errors.values() for error in errors]
        messages.error(request, f"Nothing was changed: {' '.join(dict.fromkeys(faults))}")
        return _back(request, workspace)
    wanted = form.cleaned_data
    if wanted["do"] != "stale" and not role_may(request.membership.role, Permission.MEMORY_REVIEW):
        raise PermissionDenied
    decided = versions_decide(
        workspace_id=workspace.id,
        ids=wanted["ids"],
        do=wanted["do"],
        actor=actor_of(request),
        reason=wanted["reason"],
        note=wanted["note"],
    )
    if decided.done:
        messages.success(request, f"{decided.done} {DONE[wanted['do']]}.")
    for version, why in decided.refused[:TOLD]:
        messages.warning(request, f"{version.fact.handle_text} v{version.number} is as it was: {why}")
    if len(decided.refused) > TOLD:
        messages.warning(request, f"{len(decided.refused) - TOLD} more are as they were.")
    if not decided.done and not decided.refused:
        messages.warning(request, "Nothing was changed: none of them is here any more.")
    return _back(request, workspace)


def _record_views(request: ConsoleRequest, workspace: Workspace, rows: list[tuple[FactVersion, bool]]) -> None:
    """One entry for each person whose facts could be read; one for the list where none could."""
    read = Counter(version.fact.subject_id for version, readable in rows if readable)
    people = {version.fact.subject_id for version, _ in rows}
    with entries_together():
        record(
            actor_of(request), "subject.listed", workspace, workspace_id=workspace.id, data={"returned": len(people)}
        )
        for subject_id, count in read.items():
            record(
                actor_of(request),
                "memory.viewed",
                ("subject", subject_id),
                workspace_id=workspace.id,
                subject=subject_id,
                data={"what": "facts", "facts": count},
            )


def _back(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    """To the list as it was filtered."""
    query = request.GET.urlencode()
    response = redirect(reverse("fact-list", args=[workspace.slug]) + (f"?{query}" if query else ""))
    response.status_code = 303
    return response


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
