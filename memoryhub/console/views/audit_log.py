"""The audit log, newest first."""

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET

from audit.actions import ACTIONS
from audit.export import MEDIA_TYPES, ExportForm, export_begin, export_chunks, file_name
from audit.selectors import EntryFilters, EntryPage, entry_page
from audit.services import record
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.forms import AuditFilter
from memoryhub.console.pages import page
from memoryhub.console.selectors import actor_names, subjects_named


@require_GET
@permission_required(Permission.AUDIT_READ)
def audit_log(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = AuditFilter(request.GET)
    wanted = dict(form.cleaned_data) if form.is_valid() else {}
    before = wanted.pop("before", None)
    filters = EntryFilters(**wanted)
    entries = entry_page(workspace.id, filters, before=before) if form.is_valid() else EntryPage([], None)
    used = sorted(name for name, value in wanted.items() if value)
    record(
        actor_of(request),
        "audit.read",
        workspace,
        workspace_id=workspace.id,
        data={"returned": len(entries.entries), "filters": used},
    )
    names = actor_names((entry.actor_kind, entry.actor_id) for entry in entries.entries)
    subjects = subjects_named(entry.subject_id for entry in entries.entries)
    context = {
        "form": form,
        "entries": entries,
        "rows": [
            (
                entry,
                names[entry.actor_kind, entry.actor_id],
                subjects.get(entry.subject_id) if entry.subject_id else None,
            )
            for entry in entries.entries
        ],
        "filtered": bool(used) or not form.is_valid(),
        "paged": before is not None,
        "actions": sorted(ACTIONS),
    }
    return page(
        request, workspace, "audit/entry_list.html", context, section="audit", partial="audit/entry_results.html"
    )


@require_GET
@permission_required(Permission.AUDIT_EXPORT, transaction=False)
def audit_export(request: ConsoleRequest, workspace: Workspace, form: str) -> HttpResponseBase:
    """The entries that the list's filters let through, as a file."""
    asked = AuditFilter(request.GET)
    if not asked.is_valid():
        # The list says what is wrong with them.
        return redirect(f"{reverse('audit-log', args=[workspace.slug])}?{request.GET.urlencode()}")
    filters = EntryFilters(**{name: value for name, value in asked.cleaned_data.items() if name != "before"})
    actor, wanted = actor_of(request), ExportForm(form)
    began = export_begin(workspace_id=workspace.id, filters=filters, form=wanted, actor=actor)
    return StreamingHttpResponse(
        export_chunks(began=began, filters=filters, form=wanted, actor=actor),
        content_type=MEDIA_TYPES[wanted],
        headers={"Content-Disposition": f'attachment; filename="{file_name(workspace.slug, began, wanted)}"'},
    )
