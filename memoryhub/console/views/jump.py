"""Going somewhere by typing: pages by name, people, sessions and facts by id."""

from dataclasses import dataclass
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from audit.services import record
from facts.models import Fact
from memoryhub.access.models import Workspace
from memoryhub.access.permissions import Permission
from memoryhub.console.access import ConsoleRequest, actor_of, permission_required
from memoryhub.console.forms import JumpForm
from memoryhub.console.pages import navigation, page
from sessions.models import Session, Subject

MOST = 8


@dataclass(frozen=True)
class Place:
    """Somewhere to go. `more` says what distinguishes it from others with that label."""

    label: str
    url: str
    more: str = ""
    is_id: bool = True


@require_GET
@permission_required(Permission.METADATA_VIEW)
def jump(request: ConsoleRequest, workspace: Workspace) -> HttpResponse:
    form = JumpForm(request.GET)
    text = form.cleaned_data["q"] if form.is_valid() else ""
    pages = _pages(request, workspace, text)
    people = _people(workspace, text) if text else []
    if text:
        record(
            actor_of(request), "subject.listed", workspace, workspace_id=workspace.id, data={"returned": len(people)}
        )
    others = _sessions_and_facts(workspace, text) if text else []
    context = {
        "query": text,
        "found": [("People", people), ("Sessions and facts", others), ("Pages", pages)],
        "nothing": not (pages or people or others),
    }
    return page(request, workspace, "console/jump.html", context, section="", partial="console/jump_results.html")


def _pages(request: ConsoleRequest, workspace: Workspace, text: str) -> list[Place]:
    return [
        Place(label, url, group, is_id=False)
        for group, items in navigation(workspace, request.membership.role)
        for label, url, _ in items
        if text.lower() in label.lower()
    ]


def _people(workspace: Workspace, text: str) -> list[Place]:
    """People whose user id is `text` or begins with it, or whose own id it is."""
    mine = Subject.objects.filter(workspace_id=workspace.id)
    own_id = _uuid(text)
    found = [*mine.filter(pk=own_id)] if own_id else []
    found += mine.filter(external_id__startswith=text).order_by("external_id")[:MOST]
    return [
        Place(one.external_id, reverse("subject-facts", args=[workspace.slug, one.id])) for one in dict.fromkeys(found)
    ]


def _sessions_and_facts(workspace: Workspace, text: str) -> list[Place]:
    own_id = _uuid(text)
    sessions = Session.objects.filter(workspace_id=workspace.id)
    found = [*sessions.filter(external_id=text)[:1], *(sessions.filter(pk=own_id) if own_id else ())]
    places = [
        Place(one.external_id, reverse("session-detail", args=[workspace.slug, one.id]), "session") for one in found
    ]
    facts = Fact.objects.filter(workspace_id=workspace.id, pk=own_id) if own_id else ()
    return places + [Place(str(one.id), reverse("fact-detail", args=[workspace.slug, one.id]), "fact") for one in facts]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
