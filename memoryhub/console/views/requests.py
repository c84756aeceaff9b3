"""The privacy desk: what people asked for, by when, what may be decided now, and the letters to them."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRefresh

from audit.erasure.models import OPEN_ERASURES, Erasure
from audit.erasure.services import ErasureError, Plan, erasure_plan
from audit.registry import Scope
from audit.requests.errors import RequestError
from audit.requests.holds import in_force, name_of
from audit.requests.letters import Letter, Sender, letter_file, letter_of, letters_open
from audit.requests.models import DataRequest, Hold
from audit.requests.selectors import OPEN, RequestFilter, requests_found
from audit.requests.services import (
    request_assign,
    request_decide,
    request_extend,
    request_locked,
    request_noted,
    request_receive,
    takes_notes,
)
from audit.requests.states import RequestState, RequestType, Step, decisions_open
from audit.services import record
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission, role_may
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.desk import (
    STATE_TONE,
    calendar_of,
    due_of,
    history_of,
    hold_rows,
    named,
    reckoning_of,
    rows_of,
    steps_shown,
    today_in,
    waiting_in,
)
from memoryhub.console.pages import page, wants_part
from memoryhub.console.request_forms import (
    AssignForm,
    DecisionForm,
    ExtendForm,
    NoteForm,
    RequestFilterForm,
    RequestForm,
    RunForm,
    StepForm,
)
from memoryhub.console.views.erasures import told
from memoryhub.console.workspace_policy import policy_of
from memoryhub.desk import request_carry_out, rules_of
from sessions.models import Session, Subject
from sessions.services import PAUSES

SHOWN = 50
GOING = (RequestState.RUNNING, RequestState.VERIFYING)


@require_GET
@permission_required(Permission.REQUESTS_VIEW)
def request_list(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = RequestFilterForm(request.GET, workspace=workspace)
    valid = form.is_valid()
    wanted = _wanted(form) if valid else RequestFilter()
    rows = requests_found(workspace_id=workspace.id, wanted=wanted, today=today_in(workspace))
    shown = Paginator(rows if valid else rows.none(), SHOWN).get_page(request.GET.get("page"))
    context = {
        "form": form,
        "page": shown,
        "rows": rows_of(list(shown), workspace),
        "waiting": waiting_in(workspace),
        "filtered": not valid or wanted != RequestFilter(),
        "me": str(request.user.pk),
    }
    return page(
        request, workspace, "requests/request_list.html", context, section="requests", partial="requests/results.html"
    )


@require_http_methods(["GET", "POST"])
@permission_required(Permission.REQUESTS_MANAGE)
def request_new(request: ConsoleRequest, workspace: Workspace, subject_id: UUID) -> HttpResponse:
    """Taking up what a person asked for."""
    subject = get_object_or_404(Subject, workspace_id=workspace.id, pk=subject_id)
    form = RequestForm(request.POST if request.method == "POST" else None, workspace=workspace)
    if form.is_bound and form.is_valid():
        made = _receive(request, workspace, subject, form)
        if made is not None:
            messages.success(request, "Taken up.")
            return _see(workspace, made.id)
    context = {"subject": subject, "form": form}
    status = 422 if form.is_bound else 200
    return page(request, workspace, "requests/request_new.html", context, section="subjects", status=status)


@require_GET
@permission_required(Permission.REQUESTS_VIEW)
def request_detail(request: ConsoleRequest, workspace: Workspace, request_id: UUID) -> HttpResponse:
    """Everything about one; while its erasure runs, for htmx, only how far that is."""
    found = _request(workspace, request_id)
    erasure = _erasure_of(found)
    going = erasure is not None and found.state in GOING
    progress = {"found": found, "erasure": erasure, "going": going, **(_progress(erasure) if erasure else {})}
    if wants_part(request):
        if not going:
            return HttpResponseClientRefresh()
        return page(request, workspace, "requests/progress.html", progress, section="requests", partial=PROGRESS)
    may_manage = role_may(request.membership.role, Permission.REQUESTS_MANAGE)
    record(actor_of(request), "request.viewed", found, subject=found.subject_id)
    context = progress | _told_of(request, workspace, found) | {"may_manage": may_manage}
    if may_manage:
        context |= _forms(request, workspace, found)
    return page(request, workspace, "requests/request_detail.html", context, section="requests")


PROGRESS = "requests/progress.html"


@require_POST
@permission_required(Permission.REQUESTS_MANAGE)
def request_step(request: ConsoleRequest, workspace: Workspace, request_id: UUID) -> HttpResponse:
    """A decision, but for that to carry it out."""
    form = DecisionForm(request.POST)

    def decide(found: DataRequest) -> str:
        step = Step(form.cleaned_data["step"])
        after = request_decide(
            request=found,
            step=step,
            actor=actor_of(request),
            rules=rules_of(policy_of(workspace)),
            reason=form.cleaned_data["reason"],
            note=form.cleaned_data["note"],
        )
        if step is Step.APPROVE and after.state == RequestState.REVIEW:
            return "Approved by you. A second person has to approve it too."
        return f"The request is {RequestState(after.state).label}."

    return _changed(request, workspace, request_id, form, decide)


@require_POST
@permission_required(Permission.REQUESTS_MANAGE)
def request_longer(request: ConsoleRequest, workspace: Workspace, request_id: UUID) -> HttpResponse:
    form = ExtendForm(request.POST)

    def extend(found: DataRequest) -> str:
        chosen = form.cleaned_data
        after = request_extend(
            request=found,
            told_on=chosen["told_on"],
            reason=chosen["reason"],
            note=chosen["note"],
            actor=actor_of(request),
            rules=rules_of(policy_of(workspace)),
        )
        return f"Extended: it is due on {after.due_on}."

    return _changed(request, workspace, request_id, form, extend)


@require_POST
@permission_required(Permission.REQUESTS_MANAGE)
def request_assignee(request: ConsoleRequest, workspace: Workspace, request_id: UUID) -> HttpResponse:
    form = AssignForm(request.POST, workspace=workspace)

    def assign(found: DataRequest) -> str:
        who = form.cleaned_data["assignee"]
        request_assign(request=found, assignee_id=UUID(who) if who else None, actor=actor_of(request))
        return "Assigned." if who else "Nobody looks after it now."

    return _changed(request, workspace, request_id, form, assign)


@require_POST
@permission_required(Permission.REQUESTS_MANAGE)
def request_remark(request: ConsoleRequest, workspace: Workspace, request_id: UUID) -> HttpResponse:
    form = NoteForm(request.POST)

    def note(found: DataRequest) -> str:
        request_noted(request=found, note=form.cleaned_data["note"], actor=actor_of(request))
        return "The note is in the history."

    return _changed(request, workspace, request_id, form, note)


@require_http_methods(["GET", "POST"])
@permission_required(Permission.REQUESTS_MANAGE)
def request_run(request: ConsoleRequest, workspace: Workspace, request_id: UUID) -> HttpResponse:
    """Carrying it out: what that does, of an erasure how much goes, and the decision."""
    found = _request(workspace, request_id)
    is_open = Step.CARRY_OUT in decisions_open(found.type, found.state)
    form = RunForm(
        request.POST if request.method == "POST" else None,
        type_=found.type,
        named=str(found.subject_id)[:8],
        notes=takes_notes(found),
    )
    if form.is_bound and form.is_valid():
        answer = _run(request, workspace, found.id, form)
        if answer is not None:
            return answer
    subject = Subject.objects.filter(workspace_id=workspace.id, pk=found.subject_id).first()
    plan = _plan(request, found, subject, form) if is_open and found.type == RequestType.ERASURE else None
    context = {
        "found": found,
        "is_open": is_open,
        "subject": subject,
        "form": form,
        "plan": plan,
        "stores": told(plan) if plan else [],
        "holds": _holds(request, found),
    }
    status = 422 if form.is_bound else 200
    return page(request, workspace, "requests/request_run.html", context, section="requests", status=status)


@require_GET
@permission_required(Permission.REQUESTS_VIEW)
def request_letter(request: ConsoleRequest, workspace: Workspace, request_id: UUID) -> HttpResponse:
    """What to write to the person, to be read first. It prints as it stands."""
    found = _request(workspace, request_id)
    letter = _letter(request, workspace, found)
    context = {"found": found, "letter": letter, "kinds": letters_open(found)}
    return page(request, workspace, "requests/letter.html", context, section="requests")


@require_GET
@permission_required(Permission.REQUESTS_VIEW)
def request_letter_file(request: ConsoleRequest, workspace: Workspace, request_id: UUID) -> HttpResponse:
    """The letter as one HTML file that needs no network."""
    found = _request(workspace, request_id)
    letter = _letter(request, workspace, found)
    response = HttpResponse(letter_file(letter), content_type="text/html; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{letter.about}-{found.id}.html"'
    return response


def _wanted(form: RequestFilterForm) -> RequestFilter:
    chosen = form.cleaned_data
    return RequestFilter(
        type=chosen["type"],
        state=chosen["state"] or OPEN,
        assignee=chosen["assignee"],
        subject_id=chosen["subject"],
        overdue=chosen["due"] == "overdue",
    )


def _receive(request: ConsoleRequest, workspace: Workspace, subject: Subject, form: RequestForm) -> DataRequest | None:
    chosen = form.cleaned_data
    session = chosen["session"]
    if session and not Session.objects.filter(subject=subject, pk=session).exists():
        form.add_error("session", "This person has no such session.")
        return None
    try:
        with transaction.atomic():
            return request_receive(
                workspace_id=workspace.id,
                scope=Scope(subject.id, session_id=session, since=chosen["since"], until=chosen["until"]),
                type_=chosen["type"],
                received_at=form.received_at,
                channel=chosen["channel"],
                identity=chosen["identity"],
                note=chosen["note"],
                actor=actor_of(request),
                rules=rules_of(policy_of(workspace)),
            )
    except RequestError as refused:
        form.add_error(None, refused.message)
        return None


def _told_of(request: ConsoleRequest, workspace: Workspace, found: DataRequest) -> dict[str, Any]:
    calendar = calendar_of(workspace)
    reckoning = reckoning_of(found, calendar)
    [row] = rows_of([found], workspace)
    first = named(found.first_approval_by).get(found.first_approval_by, "") if found.first_approval_by else ""
    return {
        "row": row,
        "due": due_of(found, calendar, today_in(workspace)),
        "tone": STATE_TONE[found.state],
        "reckoning": reckoning,
        "moved_since": reckoning.due != found.due_on,
        "calendar": calendar,
        "history": history_of(found.steps.order_by("id")),
        "holds": _holds(request, found),
        "first_approval": first,
    }


def _forms(request: ConsoleRequest, workspace: Workspace, found: DataRequest) -> dict[str, Any]:
    viewer = name_of(actor_of(request))
    two = policy_of(workspace).two_approve_erasure
    notes = takes_notes(found)
    steps = steps_shown(found, viewer, two=two)
    waits = two and found.first_approval_by == viewer and found.state == RequestState.REVIEW
    return {
        "steps": [(one.value, StepForm(one, notes=notes)) for one in steps if one is not Step.CARRY_OUT],
        "may_run": Step.CARRY_OUT in steps,
        "needs_second": waits,
        "two_approve": two and found.type == RequestType.ERASURE,
        "extend": None
        if found.ended or found.extended_on
        else ExtendForm(initial={"told_on": today_in(workspace)}, auto_id="extend_%s"),
        "assign": AssignForm(workspace=workspace, initial={"assignee": str(found.assignee_id or "")}),
        "remark": NoteForm(auto_id="remark_%s") if notes else None,
        "assign_me": str(request.user.pk),
    }


def _changed(
    request: ConsoleRequest,
    workspace: Workspace,
    request_id: UUID,
    form: forms.Form,
    change: Callable[[DataRequest], str],
) -> HttpResponse:
    """Do it and tell, or tell why not; then to the request again."""
    found = _request(workspace, request_id)
    if not form.is_valid():
        faults = [str(error) for errors in form.errors.values() for error in errors]
        messages.error(request, f"Nothing was changed: {' '.join(faults)}")
        return _see(workspace, found.id)
    try:
        with transaction.atomic():
            says = change(request_locked(workspace_id=workspace.id, request_id=found.id))
    except RequestError as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, says)
    return _see(workspace, found.id)


def _run(request: ConsoleRequest, workspace: Workspace, request_id: UUID, form: RunForm) -> HttpResponse | None:
    try:
        with transaction.atomic():
            after = request_carry_out(
                request=request_locked(workspace_id=workspace.id, request_id=request_id),
                actor=actor_of(request),
                pauses=form.cleaned_data.get("what", PAUSES),
                note=form.cleaned_data.get("note", ""),
            )
    except (RequestError, ErasureError) as refused:
        form.add_error(None, refused.message)
        return None
    if after.state == RequestState.BLOCKED:
        messages.warning(request, "A legal hold keeps it. The request goes on by itself when the hold is released.")
    elif after.state == RequestState.COMPLETED:
        messages.success(request, "Done.")
    return _see(workspace, after.id)


def _plan(request: ConsoleRequest, found: DataRequest, subject: Subject | None, form: forms.Form) -> Plan | None:
    try:
        plan = erasure_plan(found.scope)
    except ErasureError as error:
        form.add_error(None, error.message) if form.is_bound else None
        return None
    data = {"kind": found.scope.kind, "rows": plan.rows}
    about = subject or ("subject", found.subject_id)
    record(
        actor_of(request),
        "erasure.planned",
        about,
        workspace_id=found.workspace_id,
        subject=found.subject_id,
        data=data,
    )
    return plan


def _progress(erasure: Erasure) -> dict[str, Any]:
    return {
        "planned": sum(sum(kinds.values()) for kinds in erasure.planned.values()),
        "erased": sum(sum(kinds.values()) for kinds in erasure.erased.values()),
        "erasure_open": erasure.state in OPEN_ERASURES,
    }


def _letter(request: ConsoleRequest, workspace: Workspace, found: DataRequest) -> Letter:
    """The letter that is asked for, or the latest."""
    kinds = letters_open(found)
    wanted = request.GET.get("about", "")
    about = next((one for one in kinds if one == wanted), kinds[0])
    record(actor_of(request), "request.viewed", found, subject=found.subject_id)
    policy = policy_of(workspace)
    subject = Subject.objects.filter(workspace_id=workspace.id, pk=found.subject_id).first()
    return letter_of(
        found,
        about,
        steps=list(found.steps.order_by("id")),
        sender=Sender(policy.register_controller, policy.register_contact),
        erasure=_erasure_of(found),
        stopped=[one for one in PAUSES if subject and getattr(subject, f"{one}_paused_at")],
    )


def _holds(request: ConsoleRequest, found: DataRequest) -> list[Any]:
    """What keeps it from being carried out."""
    if found.type != RequestType.ERASURE or found.ended:
        return []
    holds: list[Hold] = list(in_force(found.scope))
    return hold_rows(holds, name_of(actor_of(request)))


def _erasure_of(found: DataRequest) -> Erasure | None:
    if found.erasure_id is None:
        return None
    return Erasure.objects.filter(workspace_id=found.workspace_id, pk=found.erasure_id).first()


def _request(workspace: Workspace, request_id: UUID) -> DataRequest:
    return get_object_or_404(DataRequest, workspace_id=workspace.id, pk=request_id)


def _see(workspace: Workspace, request_id: UUID) -> HttpResponse:
    response = redirect(reverse("request-detail", args=[workspace.slug, request_id]))
    response.status_code = 303
    return response
