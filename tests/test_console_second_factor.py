"""Second factors: set up, asked for, required for the roles a workspace names; and how long a sign-in lasts."""

import re
import time
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from audit.actors import Actor
from audit.models import INSTALLATION, Entry
from memoryhub.access.models import Role, User, Workspace
from memoryhub.access.people import password_reset, user_create
from memoryhub.access.policy import WorkspacePolicy, differences
from memoryhub.console.timeouts import BEGAN, SEEN
from memoryhub.core.tenancy import in_workspace

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"


@pytest.fixture
def person(workspace: Workspace, actor: Actor) -> User:
    user, _ = user_create(username="nora", workspace=workspace, role=Role.OPERATOR, actor=actor, password=PASSWORD)
    return user


def sign_in(client: Client, password: str = PASSWORD) -> str:
    return client.post("/sign-in/", {"login": "nora", "password": password}).headers.get("Location", "")


def code_of(secret: str) -> str:
    return totp.format_hotp_value(totp.hotp_value(secret, next(iter(totp.yield_hotp_counters_from_time()))))


def set_up(client: Client) -> str:
    """Set an authenticator app up through the pages, which ask for the password once more; its secret."""
    confirm = client.get(reverse("mfa_activate_totp")).headers.get("Location")
    if confirm:
        assert client.post(confirm, {"password": PASSWORD}).headers["Location"] == reverse("mfa_activate_totp")
    page = client.get(reverse("mfa_activate_totp")).content.decode()
    found = re.search(r'id="totp-secret" value="([A-Z2-7]+)"', page)
    assert found and "<svg" in page and "data:" not in page
    assert client.post(reverse("mfa_activate_totp"), {"code": code_of(found[1])}).status_code == 302
    return found[1]


def recorded(action: str) -> list[Entry]:
    with in_workspace(INSTALLATION):
        return list(Entry.objects.filter(action=action).order_by("id"))


def require(workspace: Workspace, *roles: str, **more: int) -> None:
    workspace.policy = differences(WorkspacePolicy(second_factor_roles=frozenset(roles), **more))  # type: ignore[arg-type]
    workspace.save(update_fields=["policy"])


def test_a_code_is_asked_for_once_an_app_is_set_up(
    client: Client, person: User, django_capture_on_commit_callbacks: Any
) -> None:
    assert sign_in(client) == "/"
    with django_capture_on_commit_callbacks(execute=True):
        secret = set_up(client)
    assert secret not in Authenticator.objects.get(type="totp").data["secret"], "it is kept encrypted"
    again = Client()
    assert sign_in(again).startswith(reverse("mfa_authenticate"))
    assert again.get("/").status_code == 302 and "sign-in" in again.get("/").headers["Location"]
    wrong = again.post(reverse("mfa_authenticate"), {"code": "000000"})
    assert wrong.status_code == 200 and "Incorrect code" in wrong.content.decode()
    assert again.post(reverse("mfa_authenticate"), {"code": code_of(secret)}).headers["Location"] == "/"
    assert [one.data["second_factor"] for one in recorded("user.signed_in")] == [False, True]
    assert [one.data["factor"] for one in recorded("user.second_factor_added")][:1] == ["totp"]
    assert recorded("user.second_factor_failed")


def test_a_recovery_code_works_once(client: Client, person: User) -> None:
    sign_in(client)
    set_up(client)
    client.post(reverse("mfa_generate_recovery_codes"))
    page = client.get(reverse("mfa_view_recovery_codes")).content.decode()
    codes = re.search(r'<pre class="codes">(.*?)</pre>', page, re.DOTALL)
    assert codes
    first = codes[1].split()[0]
    one, two = Client(), Client()
    sign_in(one)
    assert one.post(reverse("mfa_authenticate"), {"code": first}).headers["Location"] == "/"
    sign_in(two)
    assert two.post(reverse("mfa_authenticate"), {"code": first}).status_code == 200


def test_a_role_that_needs_one_gets_no_further_than_setting_it_up(
    client: Client, person: User, viewer: User, workspace: Workspace
) -> None:
    require(workspace, "operator")
    sign_in(client)
    overview = reverse("overview", args=[workspace.slug])
    assert client.get(overview).headers["Location"] == reverse("mfa_index") + "?needed=1"
    assert "Your role needs a second factor" in client.get(reverse("mfa_index") + "?needed=1").content.decode()
    set_up(client)
    assert client.get(overview).status_code == 200
    other = Client()
    other.force_login(viewer)
    assert other.get(overview).status_code == 200, "other roles may without"


def test_taking_it_away_is_recorded_and_asks_again(client: Client, person: User, workspace: Workspace) -> None:
    require(workspace, "operator")
    sign_in(client)
    set_up(client)
    assert client.post(reverse("mfa_deactivate_totp")).status_code == 302
    assert recorded("user.second_factor_removed")
    assert client.get(reverse("overview", args=[workspace.slug])).status_code == 302


def test_changing_how_one_signs_in_asks_for_the_password_again(client: Client, person: User) -> None:
    sign_in(client)
    answer = client.get(reverse("mfa_activate_totp"))
    assert answer.status_code == 302 and answer.headers["Location"].startswith(reverse("account_reauthenticate"))
    page = client.get(answer.headers["Location"]).content.decode()
    assert "Is it you?" in page
    refused = client.post(answer.headers["Location"], {"password": "guess"})
    assert refused.status_code == 200 and "not your password" in refused.content.decode()


def test_a_sign_in_ends_when_nothing_was_asked_for_some_time(
    client: Client, person: User, workspace: Workspace
) -> None:
    require(workspace, idle_minutes=5)
    sign_in(client)
    overview = reverse("overview", args=[workspace.slug])
    assert client.get(overview).status_code == 200
    session = client.session
    session[SEEN] = int(time.time()) - 5 * 60 - 1
    session.save()
    assert client.get(overview).headers["Location"].startswith("/sign-in/")
    assert len(recorded("user.session_expired")) == 1


def test_a_sign_in_never_outlasts_its_day(client: Client, person: User, workspace: Workspace) -> None:
    require(workspace, absolute_hours=1)
    sign_in(client)
    session = client.session
    session[BEGAN] = int(time.time()) - 3601
    session.save()
    assert client.get("/").headers["Location"].startswith("/sign-in/")


def test_signing_out_everywhere_leaves_this_browser(client: Client, person: User) -> None:
    other = Client()
    sign_in(client)
    sign_in(other)
    page = client.get(reverse("usersessions_list")).content.decode()
    assert page.count("<li><b>") + page.count("<li>\n  <b>") == 2 and "This browser" in page
    client.post(reverse("usersessions_list"))
    assert client.get("/").headers["Location"].startswith("/w/")
    assert other.get("/").headers["Location"].startswith("/sign-in/")
    assert recorded("user.signed_out_everywhere")


def test_a_new_password_ends_sign_ins_elsewhere(client: Client, person: User, actor: Actor) -> None:
    other = Client()
    sign_in(client)
    sign_in(other)
    sent = {"oldpassword": PASSWORD, "password1": "another long passphrase", "password2": "another long passphrase"}
    assert client.post(reverse("account_change_password"), sent).status_code == 302
    assert client.get("/").headers["Location"].startswith("/w/")
    assert other.get("/").headers["Location"].startswith("/sign-in/")
    assert recorded("user.password_changed")
    password_reset(user=person, workspace_ids=[], actor=actor)
    assert client.get("/").headers["Location"].startswith("/sign-in/")


def test_wrong_passwords_are_counted_by_address_too(client: Client, person: User) -> None:
    for number in range(60):
        client.post("/sign-in/", {"login": f"nobody-{number}", "password": "guess"})
    answer = client.post("/sign-in/", {"login": "nora", "password": PASSWORD})
    assert answer.status_code == 429


def test_the_pages_of_ones_account_need_a_sign_in(client: Client) -> None:
    for name in ("mfa_index", "usersessions_list", "account_change_password", "mfa_activate_totp", "mfa_list_webauthn"):
        answer = client.get(reverse(name))
        assert answer.status_code == 302 and answer.headers["Location"].startswith("/sign-in/"), name


def test_who_lost_the_second_factor_is_helped_from_the_host(
    client: Client, person: User, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_in(client)
    set_up(client)
    call_command("remove_second_factor", "nora")
    assert capsys.readouterr().out == "2\n", "the app and the recovery codes that came with it"
    assert sign_in(Client()) == "/"
    assert {one.data["factor"] for one in recorded("user.second_factor_removed")} == {"totp", "recovery_codes"}
    with pytest.raises(CommandError, match="nobody called nils"):
        call_command("remove_second_factor", "nils")
