"""Erasing a person, a part of their memory, or a fact: what would go, the decision, how far it is, the certificate."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django import forms
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit.erasure.certificate import certificate, certificate_digest
from audit.erasure.models import OPEN_ERASURES, Erasure
from audit.erasure.services import ErasureError, Plan, erasure_plan
from audit.reasons import REASONS
from audit.registry import Scope
from audit.services import record
from facts.models import Fact
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.pages import page
from memoryhub.erasing import erasure_retry, erasure_start
from sessions.models import Session, Subject

SHOWN = 50
WHY = ("subject_request", "legal_obligation", "requested", "other")
WORDS = {
    "posting": "search words",
    "vector": "search vectors",
    "pending": "waiting for a vector",
    "corpus": "search statistics",
    "commitments": "salts of the log",
    "sign_in": "mentions in sign-ins",
    "task_waiting": "queued tasks",
    "task_done": "finished tasks",
    "turn_redacted": "turns losing a statement",
    "recall_blanked": "recalls losing a block",
    "erased_evidence": "marks on turns",
    "fact_tally": "daily counts",
    "recalled_item": "surfaced items",
    "fact_transition": "changes of status, with notes",
    "fact_version": "fact versions",
    "evidence": "evidence",
}


class WhatForm(forms.Form):
    """Everything, or which part."""

    session = forms.UUIDField(required=False, label="Only this session, by the hub's id")
    since = forms.DateTimeField(
        required=False,
        label="or only from (UTC)",
        widget=forms.DateTimeInput(attrs={"placeholder": "2026-03-01 09:00"}),
    )
    until = forms.DateTimeField(
        required=False, label="until (UTC)", widget=forms.DateTimeInput(attrs={"placeholder": "2026-03-02 18:00"})
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        period = cleaned.get("since") or cleaned.get("until")
        if cleaned.get("session") and period:
            raise forms.ValidationError("Name a session or a period: one of the two.")
        if cleaned.get("since") and cleaned.get("until") and cleaned["since"] >= cleaned["until"]:
            raise forms.ValidationError("A period ends after it begins.")
        return cleaned


class ConfirmForm(forms.Form):
    """The decision. The phrase names the person, so that nobody confirms the page of another."""

    reason = forms.ChoiceField(choices=[(one, REASONS[one]) for one in WHY], label="Reason")
    phrase = forms.CharField(max_length=60, widget=forms.TextInput(attrs={"autocomplete": "off"}))

    def __init__(self, *args: Any, named: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.wanted = f"erase {named}"
        self.fields["phrase"].label = f"Type “{self.wanted}” to confirm"

    def clean_phrase(self) -> str:
        typed = " ".join(self.cleaned_data["phrase"].split()).casefold()
        if typed != self.wanted.casefold():
            raise forms.ValidationError(f"Type the words “{self.wanted}”.")
        return typed


class FactConfirmForm(ConfirmForm):
    statement = forms.ChoiceField(
        choices=[
            ("span", "only the sentences that state it; the rest of each turn stays"),
            ("turn", "all of the content of each turn that states it"),
        ],
        label="Of the turns that state it, erase",
    )
    field_order = ("statement", "reason", "phrase")


@require_http_methods(["GET", "POST"])
@permission_required(Permission.SUBJECTS_ERASE)
def subject_erase(request: ConsoleRequest, workspace: Workspace, subject_id: UUID) -> HttpResponse:
    """What would go, and the decision that it goes."""
    subject = get_object_or_404(Subject, workspace_id=workspace.id, pk=subject_id)
    asked = WhatForm(request.GET)
    form = ConfirmForm(request.POST if request.method == "POST" else None, named=str(subject.id)[:8])
    plan = None
    if asked.is_valid():
        chosen = asked.cleaned_data
        session = chosen["session"]
        if session and not Session.objects.filter(subject=subject, pk=session).exists():
            asked.add_error("session", "This person has no such session.")
        else:
            scope = Scope(subject.id, session_id=session, since=chosen["since"], until=chosen["until"])
            if form.is_bound and form.is_valid():
                begun = _begin(request, workspace, scope, form)
                if begun is not None:
                    return begun
            plan = _plan(request, workspace, subject, scope, asked)
    context = {"subject": subject, "asked": asked, "form": form, "plan": plan, "stores": told(plan) if plan else []}
    bad = form.is_bound or asked.errors
    return page(
        request, workspace, "erasure/subject_erase.html", context, section="subjects", status=422 if bad else 200
    )


@require_http_methods(["GET", "POST"])
@permission_required(Permission.SUBJECTS_ERASE)
def fact_erase(request: ConsoleRequest, workspace: Workspace, fact_id: UUID) -> HttpResponse:
    """The decision that a fact goes, with the statements of it."""
    fact = get_object_or_404(Fact.objects.select_related("subject"), workspace_id=workspace.id, pk=fact_id)
    form = FactConfirmForm(request.POST if request.method == "POST" else None, named=fact.handle_text)
    statement = form.data.get("statement", "span") if form.is_bound else "span"
    scope = Scope(fact.subject_id, fact_id=fact.id, statement="turn" if statement == "turn" else "span")
    if form.is_bound and form.is_valid():
        begun = _begin(request, workspace, scope, form)
        if begun is not None:
            return begun
    plan = _plan(request, workspace, fact.subject, scope, form)
    context = {
        "fact": fact,
        "subject": fact.subject,
        "form": form,
        "plan": plan,
        "stores": told(plan) if plan else [],
        "turns": plan.counts["sessions"].get("turn_redacted", 0) if plan else 0,
    }
    status = 422 if form.is_bound else 200
    return page(request, workspace, "erasure/fact_erase.html", context, section="subjects", status=status)


@require_GET
@permission_required(Permission.SUBJECTS_ERASE)
def erasure_list(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    rows = Erasure.objects.filter(workspace_id=workspace.id).order_by("-id")
    shown = Paginator(rows, SHOWN).get_page(request.GET.get("page"))
    context = {"page": shown, "open": OPEN_ERASURES}
    return page(request, workspace, "erasure/erasure_list.html", context, section="erasures")


@require_GET
@permission_required(Permission.SUBJECTS_ERASE)
def erasure_detail(request: ConsoleRequest, workspace: Workspace, erasure_id: UUID) -> HttpResponse:
    """How far it is; once it has ended, the certificate."""
    erasure = _erasure(workspace, erasure_id)
    going = erasure.state in OPEN_ERASURES
    planned = sum(sum(kinds.values()) for kinds in erasure.planned.values())
    erased = sum(sum(kinds.values()) for kinds in erasure.erased.values())
    context = {
        "erasure": erasure,
        "going": going,
        "planned": planned,
        "erased": erased,
        "steps": [(name, name in erasure.erased, name in erasure.failed) for name in reversed(list(erasure.planned))],
        "certificate": certificate(erasure),
        "stores": [
            {**one, "erased": _in_words(one["erased"]), "planned": _in_words(one["planned"])}
            for one in certificate(erasure)["stores"]
        ],
        "digest": "" if going else certificate_digest(erasure),
    }
    return page(
        request,
        workspace,
        "erasure/erasure_detail.html",
        context,
        section="erasures",
        partial="erasure/erasure_state.html",
    )


@require_GET
@permission_required(Permission.SUBJECTS_ERASE)
def erasure_file(request: ConsoleRequest, workspace: Workspace, erasure_id: UUID) -> HttpResponse:
    """The certificate, as JSON to keep."""
    erasure = _erasure(workspace, erasure_id)
    if erasure.state in OPEN_ERASURES:
        raise Http404
    text = json.dumps(certificate(erasure), indent=2, ensure_ascii=False)
    response = HttpResponse(text, content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="erasure-{erasure.id}.json"'
    return response


@require_POST
@permission_required(Permission.SUBJECTS_ERASE)
def erasure_again(request: ConsoleRequest, workspace: Workspace, erasure_id: UUID) -> HttpResponse:
    """Try one again that left something."""
    erasure = _erasure(workspace, erasure_id)
    erasure_retry(erasure, actor=actor_of(request))
    return _see(workspace, erasure)


def _begin(request: ConsoleRequest, workspace: Workspace, scope: Scope, form: ConfirmForm) -> HttpResponse | None:
    try:
        erasure = erasure_start(
            workspace_id=workspace.id, scope=scope, actor=actor_of(request), reason=form.cleaned_data["reason"]
        )
    except ErasureError as error:
        form.add_error(None, error.message)
        return None
    return _see(workspace, erasure)


def _plan(
    request: ConsoleRequest, workspace: Workspace, subject: Subject, scope: Scope, form: forms.Form
) -> Plan | None:
    try:
        plan = erasure_plan(scope)
    except ErasureError as error:
        form.add_error(None, error.message)
        return None
    data = {"kind": scope.kind, "rows": plan.rows}
    record(actor_of(request), "erasure.planned", subject, workspace_id=workspace.id, subject=subject, data=data)
    return plan


def told(plan: Plan) -> list[tuple[str, list[tuple[str, int]]]]:
    """What would go, by store, in words; what there is none of is left out."""
    return [(store, _in_words(kinds)) for store, kinds in plan.counts.items() if any(kinds.values())]


def _in_words(kinds: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(WORDS.get(kind, f"{kind.replace('_', ' ')}s"), count) for kind, count in kinds.items() if count]


def _erasure(workspace: Workspace, erasure_id: UUID) -> Erasure:
    return get_object_or_404(Erasure, workspace_id=workspace.id, pk=erasure_id)


def _see(workspace: Workspace, erasure: Erasure) -> HttpResponse:
    response = redirect(reverse("erasure-detail", args=[workspace.slug, erasure.id]))
    response.status_code = 303
    return response
