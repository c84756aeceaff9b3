"""Two tabs of a subject: all that happened, and who was shown what. Ids, codes and figures, never content."""

from uuid import UUID

from django import forms
from django.http import HttpResponse
from django.views.decorators.http import require_GET

from audit.services import record
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.subject_log import ACCESS, GIVEN, KINDS, SEEN, happenings
from memoryhub.console.views.subjects import subject_in, subject_page_of


class TimelineForm(forms.Form):
    kind = forms.ChoiceField(
        required=False,
        choices=[("", "everything"), *((code, words) for code, (words, _) in KINDS.items())],
        label="Show",
    )
    before = forms.UUIDField(required=False, widget=forms.HiddenInput)


class AccessForm(forms.Form):
    who = forms.ChoiceField(
        required=False,
        choices=[("", "agents and people"), ("agents", "agents"), ("people", "people and commands")],
        label="Who",
    )
    before = forms.UUIDField(required=False, widget=forms.HiddenInput)


WHO = {"agents": ACCESS & GIVEN, "people": ACCESS & SEEN}


@require_GET
@permission_required(Permission.METADATA_VIEW)
def subject_timeline(request: ConsoleRequest, workspace: Workspace, subject_id: UUID) -> HttpResponse:
    form = TimelineForm(request.GET)
    kind = form.cleaned_data["kind"] if form.is_valid() else ""
    return _log(request, workspace, subject_id, "timeline", form, KINDS[kind][1] if kind else None)


@require_GET
@permission_required(Permission.METADATA_VIEW)
def subject_access(request: ConsoleRequest, workspace: Workspace, subject_id: UUID) -> HttpResponse:
    form = AccessForm(request.GET)
    who = form.cleaned_data["who"] if form.is_valid() else ""
    return _log(request, workspace, subject_id, "access", form, WHO.get(who, ACCESS))


def _log(
    request: ConsoleRequest,
    workspace: Workspace,
    subject_id: UUID,
    tab: str,
    form: forms.Form,
    actions: frozenset[str] | None,
) -> HttpResponse:
    subject = subject_in(workspace, subject_id)
    before = form.cleaned_data.get("before") if form.is_valid() else None
    found = happenings(workspace_id=workspace.id, subject_id=subject.id, actions=actions, before=before)
    # Written after it was read: a look at the log is not in what it shows.
    record(actor_of(request), "subject.viewed", subject, subject=subject, data={"what": tab})
    first = next(iter(form.fields))
    context = {
        "filter": form,
        "field": form[first],
        "found": found,
        "filtered": bool(form.is_valid() and form.cleaned_data[first]),
        "paged": bool(before),
    }
    return subject_page_of(
        request,
        workspace,
        subject,
        tab,
        "audit/subject_log.html",
        context,
        partial="audit/subject_log_results.html",
    )
