"""Who was shown a person's data, when: a tab of their page, and a table to take along."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from audit.disclosures import Disclosure, disclosures
from audit.services import record
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.pages import page
from memoryhub.console.selectors import actor_names, subject_summary
from memoryhub.core.spreadsheet import csv_lines
from sessions.models import Subject

COLUMNS = ("who", "name", "action", "kind", "times", "first", "last")


class PeriodForm(forms.Form):
    since = forms.DateField(required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, label="To and with", widget=forms.DateInput(attrs={"type": "date"}))

    @property
    def period(self) -> dict[str, datetime]:
        """Whole days, UTC."""
        since, until = self.cleaned_data.get("since"), self.cleaned_data.get("until")
        told = {"since": datetime.combine(since, time(), UTC)} if since else {}
        if until and until.year < 9999:
            told["until"] = datetime.combine(until + timedelta(days=1), time(), UTC)
        return told


@require_GET
@permission_required(Permission.REQUESTS_VIEW)
def subject_disclosures(request: ConsoleRequest, workspace: Workspace, subject_id: UUID) -> HttpResponse:
    subject = get_object_or_404(Subject, workspace=workspace, pk=subject_id)
    form = PeriodForm(request.GET)
    rows = _told(request, workspace, subject, form.period) if form.is_valid() else []
    context = {
        "subject": subject,
        "tab": "disclosures",
        "summary": subject_summary(subject),
        "form": form,
        "rows": rows,
        "query": request.GET.urlencode(),
    }
    return page(request, workspace, "sessions/disclosure_list.html", context, section="subjects")


@require_GET
@permission_required(Permission.REQUESTS_VIEW)
def subject_disclosures_file(request: ConsoleRequest, workspace: Workspace, subject_id: UUID) -> HttpResponse:
    subject = get_object_or_404(Subject, workspace=workspace, pk=subject_id)
    form = PeriodForm(request.GET)
    rows = _told(request, workspace, subject, form.period) if form.is_valid() else []
    lines = [
        [one.who, name, one.action, one.kind, str(one.times), one.first.isoformat(), one.last.isoformat()]
        for one, name in rows
    ]
    response = HttpResponse(csv_lines([list(COLUMNS), *lines]), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="disclosures-{subject.id}.csv"'
    return response


def _told(
    request: ConsoleRequest, workspace: Workspace, subject: Subject, period: dict[str, Any]
) -> list[tuple[Disclosure, str]]:
    found = disclosures(workspace_id=workspace.id, subject_id=subject.id, **period)
    data = {"returned": len(found), "filters": ["disclosures"]}
    record(actor_of(request), "audit.read", workspace_id=workspace.id, subject=subject.id, data=data)
    pairs = [(one.who.partition(":")[0], one.who.partition(":")[2]) for one in found]
    names = actor_names(pairs)
    return [(one, names.get(pair, pair[1])) for one, pair in zip(found, pairs, strict=True)]
