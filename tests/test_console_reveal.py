"""Content is hidden from those who work with metadata, until they say why; from auditors always."""

from datetime import timedelta

import pytest
from console_memory import Remembered, remember
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.actors import Actor
from audit.models import Entry
from memoryhub.access.models import Agent, Membership, Role, User, Workspace
from memoryhub.access.people import member_change_role
from memoryhub.console.reveal import LASTS, SESSION_KEY
from memoryhub.core.tenancy import in_workspace
from sessions.models import Turn

pytestmark = pytest.mark.django_db


@pytest.fixture
def remembered(agent: Agent) -> Remembered:
    return remember(agent)


def content_pages(workspace: Workspace, remembered: Remembered) -> list[str]:
    return [
        reverse("subject-facts", args=[workspace.slug, remembered.subject.id]),
        reverse("subject-preview", args=[workspace.slug, remembered.subject.id]),
        reverse("session-detail", args=[workspace.slug, remembered.session.id]),
        reverse("fact-detail", args=[workspace.slug, remembered.fact.id]),
    ]


def words(workspace: Workspace, remembered: Remembered) -> list[str]:
    """What must not be read: the content of every version and turn, and what the facts are about."""
    with in_workspace(workspace.id):
        facts = list(remembered.subject.facts.prefetch_related("versions"))
        said = list(Turn.objects.filter(session__subject=remembered.subject).values_list("text", flat=True))
    return [
        *said,
        *(version.content for fact in facts for version in fact.versions.all()),
        *(text for fact in facts for text in (fact.entity, fact.attribute) if len(text) > 3),
    ]


def reveal(client: Client, workspace: Workspace, remembered: Remembered, **sent: str) -> object:
    return client.post(reverse("subject-reveal", args=[workspace.slug, remembered.subject.id]), sent)


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_no_page_shows_content_to_those_who_work_with_metadata(
    request: pytest.FixtureRequest, client: Client, workspace: Workspace, remembered: Remembered, role: str
) -> None:
    client.force_login(request.getfixturevalue(role))
    hidden = words(workspace, remembered)
    assert len(hidden) > 3
    listing = reverse("subject-sessions", args=[workspace.slug, remembered.subject.id])
    for url in [*content_pages(workspace, remembered), listing]:
        page = client.get(url).content.decode()
        assert not [word for word in hidden if word in page], url
        assert ("Show for 15 minutes" in page) == (role == "viewer" and url != listing)
    answer = client.post(content_pages(workspace, remembered)[1], {"message": "What do you know?"})
    assert answer.status_code == 403
    assert not [word for word in hidden if word in answer.content.decode()]


def test_a_viewer_who_says_why_reads_on_where_they_were(
    client: Client, viewer: User, workspace: Workspace, remembered: Remembered
) -> None:
    client.force_login(viewer)
    wanted = content_pages(workspace, remembered)[2]
    answer = reveal(client, workspace, remembered, reason="support_case", next=wanted)
    assert (answer.status_code, answer["Location"]) == (303, wanted)  # type: ignore[attr-defined,index]
    hidden = words(workspace, remembered)
    assert [word for word in hidden if word in client.get(wanted).content.decode()]
    with in_workspace(workspace.id):
        entry = Entry.objects.get(action="content.revealed")
    assert (entry.actor_id, entry.subject_id, entry.reason) == (str(viewer.id), remembered.subject.id, "support_case")


def test_without_a_reason_nothing_is_shown(
    client: Client, viewer: User, workspace: Workspace, remembered: Remembered
) -> None:
    client.force_login(viewer)
    for reason in ("", "curious"):
        answer = reveal(client, workspace, remembered, reason=reason)
        assert answer.status_code == 422  # type: ignore[attr-defined]
    assert "Show for 15 minutes" in client.get(content_pages(workspace, remembered)[0]).content.decode()


def test_after_a_quarter_of_an_hour_it_is_hidden_again(
    client: Client, viewer: User, workspace: Workspace, remembered: Remembered
) -> None:
    client.force_login(viewer)
    reveal(client, workspace, remembered, reason="quality_check")
    session = client.session
    until = session[SESSION_KEY][str(remembered.subject.id)]
    assert until > (timezone.now() + LASTS - timedelta(minutes=1)).isoformat()
    session[SESSION_KEY] = {str(remembered.subject.id): timezone.now().isoformat()}
    session.save()
    page = content_pages(workspace, remembered)[0]
    assert "Show for 15 minutes" in client.get(page).content.decode()
    part = client.get(page, headers={"hx-request": "true"})
    assert part.headers["HX-Refresh"] == "true"


def test_an_auditor_cannot_reveal(client: Client, auditor: User, workspace: Workspace, remembered: Remembered) -> None:
    client.force_login(auditor)
    assert reveal(client, workspace, remembered, reason="investigation").status_code == 403  # type: ignore[attr-defined]
    page = client.get(content_pages(workspace, remembered)[0]).content.decode()
    assert "not what is in it" in page


def test_what_is_revealed_of_one_person_is_not_of_another(
    client: Client, viewer: User, workspace: Workspace, remembered: Remembered, agent: Agent
) -> None:
    client.force_login(viewer)
    reveal(client, workspace, remembered, reason="support_case")
    with in_workspace(workspace.id):
        other = type(remembered.subject).objects.create(workspace=workspace, external_id="somebody-else")
    page = client.get(reverse("subject-facts", args=[workspace.slug, other.id])).content.decode()
    assert "Show for 15 minutes" in page


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "/w/globex/", "javascript:alert(1)"])
def test_revealing_goes_nowhere_else(
    client: Client, viewer: User, workspace: Workspace, remembered: Remembered, wanted: str
) -> None:
    client.force_login(viewer)
    answer = reveal(client, workspace, remembered, reason="support_case", next=wanted)
    assert answer["Location"] == content_pages(workspace, remembered)[0]  # type: ignore[index]


def test_what_is_shown_says_until_when_and_can_be_hidden_before(
    client: Client, viewer: User, workspace: Workspace, remembered: Remembered
) -> None:
    client.force_login(viewer)
    reveal(client, workspace, remembered, reason="support_case")
    page = content_pages(workspace, remembered)[0]
    assert "Hide it now" in client.get(page).content.decode()
    answer = client.post(reverse("subject-hide", args=[workspace.slug, remembered.subject.id]))
    assert (answer.status_code, answer["Location"]) == (303, page)
    shown = client.get(page).content.decode()
    assert "Show for 15 minutes" in shown and "Hide it now" not in shown


def test_every_look_is_recorded_with_or_without_content(
    client: Client, viewer: User, workspace: Workspace, remembered: Remembered
) -> None:
    client.force_login(viewer)
    client.get(content_pages(workspace, remembered)[0])
    reveal(client, workspace, remembered, reason="support_case")
    client.get(content_pages(workspace, remembered)[0])
    with in_workspace(workspace.id):
        looks = Entry.objects.filter(subject_id=remembered.subject.id, actor_id=str(viewer.id)).order_by("id")
        assert list(looks.values_list("action", flat=True)) == ["subject.viewed", "content.revealed", "memory.viewed"]


def test_whoever_sees_content_anyway_is_told_of_no_time(
    client: Client, operator: User, workspace: Workspace, remembered: Remembered
) -> None:
    client.force_login(operator)
    assert "Hide it now" not in client.get(content_pages(workspace, remembered)[0]).content.decode()


def test_signing_out_ends_it(client: Client, viewer: User, workspace: Workspace, remembered: Remembered) -> None:
    client.force_login(viewer)
    reveal(client, workspace, remembered, reason="support_case")
    client.logout()
    client.force_login(viewer)
    assert "Show for 15 minutes" in client.get(content_pages(workspace, remembered)[0]).content.decode()


def test_who_becomes_an_auditor_sees_it_no_longer(
    client: Client, viewer: User, workspace: Workspace, remembered: Remembered, actor: Actor
) -> None:
    client.force_login(viewer)
    reveal(client, workspace, remembered, reason="support_case")
    with in_workspace(workspace.id):
        member_change_role(member=Membership.objects.get(user=viewer), role=Role.AUDITOR, actor=actor)
    hidden = words(workspace, remembered)
    page = client.get(content_pages(workspace, remembered)[0]).content.decode()
    assert not [word for word in hidden if word in page]
