"""People come by invitation, have a role, and can be taken out again; somebody always administers."""

import re
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.actors import Actor
from audit.models import INSTALLATION, Entry
from memoryhub.access.errors import InvitationRefused
from memoryhub.access.models import Invitation, Membership, Role, User, Workspace
from memoryhub.access.people import invitation_accept, invitation_create, invitation_revoke
from memoryhub.core.tenancy import in_workspace

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"
JOIN = {"username": "nora", "password": PASSWORD, "again": PASSWORD}


@pytest.fixture
def token(workspace: Workspace, actor: Actor) -> str:
    return invitation_create(workspace=workspace, role=Role.OPERATOR, actor=actor).token


def link(token: str) -> str:
    return reverse("invitation", args=[token])


def member(user: User, workspace: Workspace) -> Membership:
    with in_workspace(workspace.id):
        return Membership.objects.get(user=user, workspace=workspace)


def actions(workspace_id: object) -> list[str]:
    with in_workspace(workspace_id):  # type: ignore[arg-type]
        return list(Entry.objects.order_by("id").values_list("action", flat=True))


def test_an_administrator_invites_and_the_link_makes_a_member(
    client: Client, admin: User, workspace: Workspace
) -> None:
    client.force_login(admin)
    page = client.post(reverse("invite", args=[workspace.slug]), {"role": "operator"}).content.decode()
    made = re.search(r'value="(http://testserver/invitations/[^"]+)"', page)
    assert made
    newcomer = Client()
    assert "Join Acme" in newcomer.get(made[1]).content.decode()
    answer = newcomer.post(made[1], JOIN)
    assert (answer.status_code, answer["Location"]) == (303, f"/w/{workspace.slug}/")
    assert newcomer.get(answer["Location"]).status_code == 200
    assert member(User.objects.get(username="nora"), workspace).role == Role.OPERATOR
    assert {"invitation.created", "invitation.accepted", "member.added"} <= set(actions(workspace.id))


def test_a_link_works_once(client: Client, workspace: Workspace, token: str) -> None:
    assert client.post(link(token), JOIN).status_code == 303
    again = Client().post(link(token), JOIN | {"username": "nils"})
    assert again.status_code == 410
    assert not User.objects.filter(username="nils").exists()


@pytest.mark.parametrize("broken", ["tampered", "short", "other workspace", "expired", "revoked", "rubbish"])
def test_a_link_that_does_not_work_says_nothing_about_why(
    client: Client, workspace: Workspace, other_workspace: Workspace, actor: Actor, token: str, broken: str
) -> None:
    with in_workspace(workspace.id):
        invitation = Invitation.objects.get()
    if broken == "expired":
        with in_workspace(workspace.id):
            Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif broken == "revoked":
        invitation_revoke(invitation=invitation, actor=actor)
    tried = {
        "tampered": token[:-1] + ("a" if token[-1] != "a" else "b"),
        "short": token[:40],
        "other workspace": other_workspace.id.hex + token[32:],
        "rubbish": "..%00",
    }.get(broken, token)
    answer = client.get(link(tried))
    page = answer.content.decode()
    assert answer.status_code == 410
    assert "Acme" not in page and "operator" not in page
    assert "invitation.refused" in actions(INSTALLATION)
    assert client.post(link(tried), JOIN).status_code == 410
    assert not User.objects.filter(username="nora").exists()


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({"password": "short", "again": "short"}, "too short"),
        ({"again": "something else entirely"}, "not the same"),
        ({"username": "ada"}, "taken"),
        ({"username": "ADA"}, "taken"),
        ({"username": ""}, "required"),
        ({"username": "<script>"}, "valid username"),
        ({"password": "password1234", "again": "password1234"}, "too common"),
    ],
)
def test_what_cannot_be_an_account_is_refused_in_words(
    client: Client, admin: User, token: str, sent: dict[str, str], says: str
) -> None:
    answer = client.post(link(token), JOIN | sent)
    assert answer.status_code == 422 and says in answer.content.decode()
    assert User.objects.count() == 1


def test_who_is_signed_in_joins_with_that_account(
    client: Client, outsider: User, workspace: Workspace, token: str
) -> None:
    client.force_login(outsider)
    assert "Join as otto" in client.get(link(token)).content.decode()
    assert client.post(link(token)).status_code == 303
    assert member(outsider, workspace).role == Role.OPERATOR


def test_a_role_is_changed_and_in_the_log(client: Client, admin: User, viewer: User, workspace: Workspace) -> None:
    client.force_login(admin)
    changed = member(viewer, workspace)
    client.post(reverse("member-role", args=[workspace.slug, changed.id]), {"role": "auditor"})
    assert member(viewer, workspace).role == Role.AUDITOR
    with in_workspace(workspace.id):
        entry = Entry.objects.get(action="member.changed")
    assert (entry.data["role"], entry.data["before"], entry.data["user_id"]) == ("auditor", "viewer", str(viewer.id))


def test_somebody_always_administers(client: Client, admin: User, viewer: User, workspace: Workspace) -> None:
    client.force_login(admin)
    last = member(admin, workspace)
    for url, sent in (("member-role", {"role": "viewer"}), ("member-remove", {})):
        answer = client.post(reverse(url, args=[workspace.slug, last.id]), sent)
        assert answer.status_code == 409 and "only administrator" in answer.content.decode()
    assert member(admin, workspace).role == Role.ADMIN


def test_who_is_removed_sees_nothing_from_the_next_page_on(
    client: Client, admin: User, viewer: User, workspace: Workspace
) -> None:
    theirs = Client()
    theirs.force_login(viewer)
    assert theirs.get(f"/w/{workspace.slug}/").status_code == 200
    client.force_login(admin)
    gone = member(viewer, workspace)
    assert "Remove vera" in client.get(reverse("member-remove", args=[workspace.slug, gone.id])).content.decode()
    assert client.post(reverse("member-remove", args=[workspace.slug, gone.id])).status_code == 303
    assert theirs.get(f"/w/{workspace.slug}/").status_code == 404


def test_an_open_invitation_is_listed_and_taken_back(
    client: Client, admin: User, workspace: Workspace, token: str
) -> None:
    client.force_login(admin)
    assert "Open invitations" in client.get(reverse("people", args=[workspace.slug])).content.decode()
    with in_workspace(workspace.id):
        invitation = Invitation.objects.get()
    client.post(reverse("invitation-revoke", args=[workspace.slug, invitation.id]))
    assert "Open invitations" not in client.get(reverse("people", args=[workspace.slug])).content.decode()
    with pytest.raises(InvitationRefused):
        invitation_accept(token=token, username="nora", password=PASSWORD)


@pytest.mark.parametrize(
    "path",
    ["/account/none/sign-up/", "/account/none/email/", "/account/none/reset/", "/account/none/sso-sign-up/"],
)
def test_nobody_can_register(client: Client, path: str) -> None:
    assert client.get(path).status_code == client.post(path, JOIN).status_code == 404


def test_a_command_invites_too(client: Client, workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("invite", "--workspace", workspace.slug, "--role", "auditor", "--url", "https://hub.example/")
    made = capsys.readouterr().out.strip()
    assert made.startswith("https://hub.example/invitations/")
    assert client.post(made.removeprefix("https://hub.example"), JOIN).status_code == 303
    assert member(User.objects.get(username="nora"), workspace).role == Role.AUDITOR
    for wrong in (["--workspace", "nowhere"], ["--workspace", workspace.slug, "--email", "nobody"]):
        with pytest.raises(CommandError):
            call_command("invite", *wrong)
