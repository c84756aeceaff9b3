"""Single sign-on: whom the identity provider vouches for gets in if they are known or invited, and nobody else."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse
from loopback_oidc import CLIENT_ID, CLIENT_SECRET, Provider, identity_provider, path_of

from audit.actors import Actor
from audit.models import INSTALLATION, Entry
from memoryhub.access.models import Membership, Role, User, Workspace
from memoryhub.access.people import invitation_create, user_create
from memoryhub.core.tenancy import in_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider(settings: LazySettings) -> Iterator[Provider]:
    with identity_provider() as one:
        settings.OIDC_SERVER_URL, settings.OIDC_NAME = one.url, "Example Login"
        settings.SOCIALACCOUNT_PROVIDERS = {
            "openid_connect": {
                "OAUTH_PKCE_ENABLED": True,
                "APPS": [
                    {
                        "provider_id": "sso",
                        "name": "Example Login",
                        "client_id": CLIENT_ID,
                        "secret": CLIENT_SECRET,
                        "settings": {"server_url": one.url, "oauth_pkce_enabled": True},
                    }
                ],
            }
        }
        yield one


@pytest.fixture
def member(workspace: Workspace, actor: Actor) -> User:
    user, _ = user_create(username="nora", workspace=workspace, role=Role.VIEWER, actor=actor)
    user.email = "nora@example.org"
    user.save()
    return user


def come_back(client: Client, **changes: str) -> Any:
    """Go to the provider, sign in there, and come back with what it gave."""
    there = client.post(reverse("openid_connect_login", args=["sso"])).headers["Location"]
    back = path_of(httpx.get(there).headers["Location"])
    for old, new in changes.items():
        back = back.replace(old, new)
    return client.get(back)


def signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_a_member_is_let_in_by_their_verified_address_and_then_by_their_id(
    client: Client, provider: Provider, member: User, workspace: Workspace
) -> None:
    page = client.get("/sign-in/").content.decode()
    assert "Sign in with Example Login" in page
    assert come_back(client).headers["Location"] == "/"
    assert client.get("/").headers["Location"] == f"/w/{workspace.slug}/"
    provider.claims["email"] = "someone-else@example.org"
    again = Client()
    come_back(again)
    assert again.session["_auth_user_id"] == str(member.pk), "the id of the provider counts from then on"
    with in_workspace(INSTALLATION):
        assert Entry.objects.filter(action="user.sso_linked").count() == 1
        assert [one.data["method"] for one in Entry.objects.filter(action="user.signed_in")] == ["sso", "sso"]
    assert all(sent["code_verifier"] for sent in provider.seen), "PKCE"


def test_a_stranger_is_told_to_ask_for_an_invitation(client: Client, provider: Provider, workspace: Workspace) -> None:
    answer = come_back(client)
    assert answer.status_code == 403 and "You have no account here" in answer.content.decode()
    assert not signed_in(client) and not User.objects.exists()


def test_an_address_that_is_not_verified_lets_nobody_in(client: Client, provider: Provider, member: User) -> None:
    for verified in (False, None, "true"):
        provider.claims["email_verified"] = verified
        assert come_back(client).status_code == 403
        assert not signed_in(client)


def test_only_the_domains_that_are_allowed(
    client: Client, provider: Provider, member: User, settings: LazySettings
) -> None:
    settings.OIDC_ALLOWED_DOMAINS = ["example.com"]
    assert come_back(client).status_code == 403
    settings.OIDC_ALLOWED_DOMAINS = ["example.org"]
    assert come_back(client).status_code == 302


def test_an_address_of_two_accounts_lets_nobody_in(client: Client, provider: Provider, member: User) -> None:
    User.objects.create_user("nils", email="Nora@Example.org")
    User.objects.filter(username="nils").update(email="nora@example.org")
    assert come_back(client).status_code == 403


def test_a_closed_account_stays_closed(client: Client, provider: Provider, member: User) -> None:
    come_back(client)
    client.logout()
    User.objects.filter(pk=member.pk).update(is_active=False)
    come_back(client)
    assert not signed_in(client)


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "another client"},
        {"iss": "https://elsewhere.example"},
        {"exp": int(time.time()) - 3600},
    ],
    ids=["audience", "issuer", "expired"],
)
def test_a_token_for_somebody_else_is_refused(
    client: Client, provider: Provider, member: User, wrong: dict[str, Any]
) -> None:
    provider.id_token = wrong
    answer = come_back(client)
    assert answer.status_code == 403 and "did not work" in answer.content.decode()
    assert not signed_in(client)


def test_a_state_that_was_not_given_out_is_refused(client: Client, provider: Provider, member: User) -> None:
    assert come_back(client, **{"state=": "state=x"}).status_code == 403
    assert not signed_in(client)


def test_an_answer_to_another_browser_is_refused(client: Client, provider: Provider, member: User) -> None:
    there = client.post(reverse("openid_connect_login", args=["sso"])).headers["Location"]
    back = path_of(httpx.get(there).headers["Location"])
    victim = Client()
    assert victim.get(back).status_code == 403
    assert not signed_in(victim)


def test_a_provider_that_fails_is_told_in_words(client: Client, provider: Provider, member: User) -> None:
    provider.token_status = 500
    answer = come_back(client)
    assert answer.status_code == 403 and "did not work" in answer.content.decode()


def test_who_was_invited_joins_through_the_provider(
    client: Client, provider: Provider, workspace: Workspace, actor: Actor
) -> None:
    made = invitation_create(workspace=workspace, role=Role.AUDITOR, actor=actor, email="nora@example.org")
    assert "Join with Example Login" in client.get(reverse("invitation", args=[made.token])).content.decode()
    assert come_back(client).status_code == 302
    user = User.objects.get()
    assert (user.username, user.has_usable_password()) == ("nora@example.org", False)
    with in_workspace(workspace.id):
        assert Membership.objects.get(user=user).role == Role.AUDITOR


def test_an_invitation_for_another_address_lets_nobody_in(
    client: Client, provider: Provider, workspace: Workspace, actor: Actor
) -> None:
    made = invitation_create(workspace=workspace, role=Role.ADMIN, actor=actor, email="nils@example.org")
    client.get(reverse("invitation", args=[made.token]))
    assert come_back(client).status_code == 403
    assert not User.objects.exists()


def test_without_a_provider_there_is_none(client: Client, db: None) -> None:
    assert "Sign in with" not in client.get("/sign-in/").content.decode().replace("Sign in with a passkey", "")
    assert client.post(reverse("openid_connect_login", args=["sso"])).status_code == 404
