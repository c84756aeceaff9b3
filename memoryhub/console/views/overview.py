"""The overview: what happened, what waits, what must be zero."""

from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from facts.extraction.cost import daily_totals, today_and_before
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console import overview as figures
from memoryhub.console.access import ConsoleRequest, permission_required
from memoryhub.console.extraction import extractor_now
from memoryhub.console.pages import page
from sessions.models import Subject


@require_GET
@permission_required(Permission.METADATA_VIEW)
def overview(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    now = timezone.now()
    context = {
        "figures": figures.figures(workspace_id=workspace.id, now=now),
        "chart": figures.chart(workspace_id=workspace.id, now=now),
        "promises": figures.promises(workspace_id=workspace.id, now=now),
        "extractor": extractor_now(),
        "today": next(iter(daily_totals(workspace_id=workspace.id, since=today_and_before(1, now=now))), None),
        "is_new": not Subject.objects.filter(workspace_id=workspace.id).exists(),
    }
    return page(request, workspace, "console/overview.html", context, section="overview")
