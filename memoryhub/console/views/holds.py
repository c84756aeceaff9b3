"""Legal holds: what is kept from erasure and retention, why, and who ends it."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit.erasure.models import OPEN_ERASURES, Erasure
from audit.requests.errors import ErasureRuns, RequestError
from audit.requests.holds import name_of
from audit.requests.models import DataRequest, Hold
from audit.requests.selectors import holds_on
from audit.requests.states import RequestState
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.desk import hold_rows
from memoryhub.console.pages import page
from memoryhub.console.request_forms import HoldFilterForm, HoldForm
from memoryhub.desk import hold_end, person_hold
from sessions.models import Subject

SHOWN = 50


@require_GET
@permission_required(Permission.REQUESTS_VIEW)
def hold_list(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = HoldFilterForm(request.GET)
    chosen = form.cleaned_data if form.is_valid() else {}
    rows = Hold.objects.filter(workspace_id=workspace.id).order_by("-id")
    if chosen.get("state") != "any":
        rows = rows.filter(released_at__isnull=True)
    if chosen.get("subject"):
        rows = rows.filter(subject_id=chosen["subject"])
    shown = Paginator(rows, SHOWN).get_page(request.GET.get("page"))
    blocked = DataRequest.objects.filter(
        workspace_id=workspace.id, state=RequestState.BLOCKED, subject_id__in=[one.subject_id for one in shown]
    )
    waiting: dict[UUID, list[UUID]] = {}
    for one in blocked.order_by("id"):
        waiting.setdefault(one.subject_id, []).append(one.id)
    holds = hold_rows(list(shown), name_of(actor_of(request)))
    context = {
        "form": form,
        "page": shown,
        "rows": [(one, waiting.get(one.hold.subject_id, [])) for one in holds],
        "filtered": any(chosen.values()),
    }
    return page(request, workspace, "requests/hold_list.html", context, section="holds")


@require_http_methods(["GET", "POST"])
@permission_required(Permission.REQUESTS_MANAGE)
def hold_new(request: ConsoleRequest, workspace: Workspace, subject_id: UUID) -> HttpResponse:
    """Placing one. Where an erasure is under way it comes too late, and the page says what is left."""
    subject = get_object_or_404(Subject, workspace_id=workspace.id, pk=subject_id)
    data = request.POST if request.method == "POST" else None
    form = HoldForm(data, initial={"session": request.GET.get("session", "")})
    context: dict[str, Any] = {"subject": subject, "form": form}
    status = 200
    if form.is_bound:
        status = 422
        if form.is_valid():
            try:
                with transaction.atomic():
                    person_hold(
                        workspace_id=workspace.id,
                        subject_id=subject.id,
                        session_id=form.cleaned_data["session"],
                        reason=form.cleaned_data["reason"],
                        note=form.cleaned_data["note"],
                        actor=actor_of(request),
                    )
            except ErasureRuns as late:
                status = 409
                running = Erasure.objects.filter(subject_id=subject.id, state__in=OPEN_ERASURES).first()
                left = [(store, count) for store, count in late.left.items() if count]
                context |= {"late": True, "left": left, "rows_left": sum(late.left.values()), "running": running}
            except RequestError as refused:
                form.add_error("session" if refused.field == "session_id" else None, refused.message)
            else:
                messages.success(request, "Held. Nothing of it is erased until somebody else releases the hold.")
                return _see(reverse("subject-facts", args=[workspace.slug, subject.id]))
    context["holds"] = hold_rows(
        list(holds_on(workspace_id=workspace.id, subject_id=subject.id)), name_of(actor_of(request))
    )
    return page(request, workspace, "requests/hold_new.html", context, section="subjects", status=status)


@require_POST
@permission_required(Permission.REQUESTS_MANAGE)
def hold_lift(request: ConsoleRequest, workspace: Workspace, hold_id: UUID) -> HttpResponse:
    """Releasing one, by another person than placed it. What waited for it goes on."""
    hold = get_object_or_404(Hold, workspace_id=workspace.id, pk=hold_id)
    waited = _blocked(workspace, hold)
    try:
        with transaction.atomic():
            hold_end(workspace_id=workspace.id, hold_id=hold.id, actor=actor_of(request))
    except RequestError as refused:
        messages.error(request, refused.message)
    else:
        went_on = waited - _blocked(workspace, hold)
        messages.success(request, f"Released.{' A request that waited for it goes on.' if went_on else ''}")
    return _see(reverse("hold-list", args=[workspace.slug]))


def _blocked(workspace: Workspace, hold: Hold) -> int:
    return DataRequest.objects.filter(
        workspace_id=workspace.id, subject_id=hold.subject_id, state=RequestState.BLOCKED
    ).count()


def _see(address: str) -> HttpResponse:
    response = redirect(address)
    response.status_code = 303
    return response
