"""The audit log, newest first."""

from django.http import HttpResponse
from django.views.decorators.http import require_GET

from audit.actions import ACTIONS
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
