"""The overview: what happened, what waits, what must be zero."""

from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET
from django_htmx.http import HttpResponseClientRefresh

from audit.requests.selectors import pressing
from audit.sealing.verifying import last_verdict
from facts.extraction.cost import daily_totals, today_and_before
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission, role_may
from memoryhub.console import overview as figures
from memoryhub.console.access import ConsoleRequest, permission_required
from memoryhub.console.desk import rows_of, soon_in, waiting_in
from memoryhub.console.extraction import extractor_now
from memoryhub.console.pages import page, wants_part
from memoryhub.verifying import overdue_after
from sessions.models import Subject

PRESSING_SHOWN = 5


@require_GET
@permission_required(Permission.METADATA_VIEW)
def overview(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    """The page; for htmx only its figures and what needs attention, which it asks for while somebody looks."""
    now = timezone.now()
    is_new = not Subject.objects.filter(workspace_id=workspace.id).exists()
    if wants_part(request) and "first" in request.GET:
        # The guide of an empty workspace looks whether it is still empty.
        return HttpResponse(status=204) if is_new else HttpResponseClientRefresh()
    verdict, too_old = last_verdict(workspace.id), overdue_after()
    context: dict[str, Any] = {
        "verdict": verdict,
        "verdict_overdue": verdict is not None and too_old is not None and now - verdict.at > too_old,
        "figures": figures.figures(workspace_id=workspace.id, now=now),
        "extractor": extractor_now(),
        "today": next(iter(daily_totals(workspace_id=workspace.id, since=today_and_before(1, now=now))), None),
    }
    if role_may(request.membership.role, Permission.REQUESTS_VIEW):
        urgent = pressing(workspace_id=workspace.id, soon=soon_in(workspace), limit=PRESSING_SHOWN)
        context |= {"waiting": waiting_in(workspace), "pressing": rows_of(urgent, workspace) if urgent else []}
    if not wants_part(request):
        context |= {
            "chart": figures.chart(workspace_id=workspace.id, now=now),
            "promises": figures.promises(workspace_id=workspace.id, now=now),
            "size": figures.block_size(workspace_id=workspace.id, now=now),
            "is_new": is_new,
        }
    return page(
        request, workspace, "console/overview.html", context, section="overview", partial="console/overview_live.html"
    )
