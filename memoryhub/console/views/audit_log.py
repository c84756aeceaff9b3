"""The audit log, newest first, searched by qualifiers."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from audit.actions import ACTIONS, Action
from audit.export import MEDIA_TYPES, ExportForm, export_begin, export_chunks, file_name
from audit.models import Entry
from audit.query import QUALIFIERS, Mistake, QueryRefused
from audit.selectors import NO_FILTERS, EntryFilters, EntryPage, entry_page
from audit.services import record
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.forms import AuditFilter
from memoryhub.console.pages import page
from memoryhub.console.selectors import actor_names, subjects_named
from memoryhub.core.tenancy import in_workspace
from sessions.log_search import log_filters, narrowed

QUICK = (
    ("Memory surfaced", "action:memory.surfaced"),
    ("Memory changed", "action:fact."),
    ("Content seen by people", "action:memory.viewed action:memory.previewed action:content.revealed"),
    ("Keys and people", "action:key. action:member. action:user. action:invitation."),
    ("Refused", "outcome:denied"),
    ("Failed", "outcome:failed"),
)
"""Searches that are one click away."""


@dataclass(frozen=True)
class Row:
    """An entry with the names that its ids stand for today, and the search narrowed to who and what it tells of."""

    entry: Entry
    actor: str
    subject: str | None
    only_actor: str
    only_action: str
    only_subject: str


@require_GET
@permission_required(Permission.AUDIT_READ)
def audit_log(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = AuditFilter(request.GET)
    asked = form.cleaned_data if form.is_valid() else {}
    text, before = asked.get("q", ""), asked.get("before")
    mistakes: tuple[Mistake, ...] = ()
    try:
        filters = log_filters(text, workspace_id=workspace.id)
        found = entry_page(workspace.id, filters, before=before)
    except QueryRefused as error:
        filters, mistakes, found = NO_FILTERS, error.mistakes, EntryPage([], None)
    record(
        actor_of(request),
        "audit.read",
        workspace,
        workspace_id=workspace.id,
        subject=filters.one_subject,
        data={"returned": len(found.entries), "filters": filters.used},
    )
    context = {
        "query": text,
        "mistakes": mistakes,
        "entries": found,
        "rows": list(_rows(found, text)),
        "filtered": bool(text),
        "paged": before is not None,
        "quick": QUICK,
        "qualifiers": QUALIFIERS,
        "actions": _by_kind(),
    }
    return page(
        request, workspace, "audit/entry_list.html", context, section="audit", partial="audit/entry_results.html"
    )


@require_GET
@permission_required(Permission.AUDIT_EXPORT, transaction=False)
def audit_export(request: ConsoleRequest, workspace: Workspace, form: str) -> HttpResponseBase:
    """The entries that the list's search lets through, as a file."""
    text = request.GET.get("q", "")
    try:
        with in_workspace(workspace.id):
            filters = log_filters(text, workspace_id=workspace.id)
    except QueryRefused:
        # The list says what is wrong with it.
        return redirect(f"{reverse('audit-log', args=[workspace.slug])}?{urlencode({'q': text})}")
    return _file(request, workspace, filters, ExportForm(form))


def _file(
    request: ConsoleRequest, workspace: Workspace, filters: EntryFilters, form: ExportForm
) -> StreamingHttpResponse:
    actor = actor_of(request)
    began = export_begin(workspace_id=workspace.id, filters=filters, form=form, actor=actor)
    return StreamingHttpResponse(
        export_chunks(began=began, filters=filters, form=form, actor=actor),
        content_type=MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="{file_name(workspace.slug, began, form)}"'},
    )


def _rows(found: EntryPage, text: str) -> Iterator[Row]:
    names = actor_names((entry.actor_kind, entry.actor_id) for entry in found.entries)
    subjects = subjects_named(entry.subject_id for entry in found.entries)
    for entry in found.entries:
        yield Row(
            entry,
            names[entry.actor_kind, entry.actor_id],
            subjects.get(entry.subject_id) if entry.subject_id else None,
            only_actor=narrowed(text, qualifier="actor", value=entry.actor_id),
            only_action=narrowed(text, qualifier="action", value=entry.action),
            only_subject=narrowed(text, qualifier="subject", value=str(entry.subject_id)),
        )


def _by_kind() -> list[tuple[str, list[Action]]]:
    known = sorted(ACTIONS.values(), key=lambda action: action.name)
    return [(kind, list(some)) for kind, some in groupby(known, lambda action: action.name.split(".")[0])]
