"""Who may open which page, and how people get in."""

import re
from uuid import uuid4

import pytest
from console_memory import Remembered, remember
from django.test import Client
from django.urls import reverse

from audit.actors import Actor
from audit.models import INSTALLATION, Entry
from facts.models import FactVersion
from memoryhub.access.models import Agent, Role, User, Workspace
from memoryhub.access.people import user_create
from memoryhub.core.tenancy import in_workspace

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"


@pytest.fixture
def remembered(agent: Agent) -> Remembered:
    return remember(agent)


@pytest.fixture
def person(workspace: Workspace, actor: Actor) -> User:
    user, _ = user_create(username="nora", workspace=workspace, role=Role.VIEWER, actor=actor, password=PASSWORD)
    user.email = "nora@example.org"
    user.save()
    return user


def pages(workspace: Workspace, remembered: Remembered) -> dict[str, str]:
    slug = workspace.slug
    return {
        "overview": reverse("overview", args=[slug]),
        "subjects": reverse("subject-list", args=[slug]),
        "facts": reverse("subject-facts", args=[slug, remembered.subject.id]),
        "sessions": reverse("subject-sessions", args=[slug, remembered.subject.id]),
        "preview": reverse("subject-preview", args=[slug, remembered.subject.id]),
        "session": reverse("session-detail", args=[slug, remembered.session.id]),
        "fact": reverse("fact-detail", args=[slug, remembered.fact.id]),
        "audit": reverse("audit-log", args=[slug]),
    }


def changes(workspace: Workspace, remembered: Remembered) -> dict[str, str]:
    return {
        name: reverse(f"fact-{name}", args=[workspace.slug, remembered.fact.id])
        for name in ("correct", "stale", "restore", "pin")
    }


def entries(action: str, workspace_id: object) -> list[Entry]:
    with in_workspace(workspace_id):  # type: ignore[arg-type]
        return list(Entry.objects.filter(action=action).order_by("-id"))


def test_every_page_opens_for_the_administrator(
    client: Client, admin: User, workspace: Workspace, remembered: Remembered
) -> None:
    client.force_login(admin)
    for name, url in pages(workspace, remembered).items():
        assert client.get(url).status_code == 200, name


def test_every_page_forbids_inline_script_and_is_never_cached(
    client: Client, admin: User, workspace: Workspace, remembered: Remembered
) -> None:
    client.force_login(admin)
    for name, url in pages(workspace, remembered).items():
        response = client.get(url)
        policy = response.headers["Content-Security-Policy"]
        assert "script-src 'nonce-" in policy and "style-src 'self'" in policy and "unsafe" not in policy, name
        assert "no-store" in response.headers["Cache-Control"], name
        page = response.content.decode()
        assert " style=" not in page and "<style" not in page and " onclick=" not in page, name


def test_nobody_signed_in_is_sent_to_the_sign_in_page(
    client: Client, workspace: Workspace, remembered: Remembered
) -> None:
    for name, url in pages(workspace, remembered).items():
        response = client.get(url)
        assert response.status_code == 302 and response.headers["Location"] == f"/sign-in/?next={url}", name


def test_a_panel_asked_for_after_the_session_ended_sends_the_whole_page_to_sign_in(
    client: Client, workspace: Workspace
) -> None:
    url = reverse("subject-list", args=[workspace.slug])
    response = client.get(url, headers={"hx-request": "true", "hx-current-url": f"http://testserver{url}?q=x"})
    assert response.headers["HX-Redirect"] == f"/sign-in/?next={url}%3Fq%3Dx"


def test_an_outsider_cannot_tell_a_workspace_from_none(
    client: Client, outsider: User, workspace: Workspace, remembered: Remembered
) -> None:
    client.force_login(outsider)
    for name, url in (pages(workspace, remembered) | changes(workspace, remembered)).items():
        answer = client.post(url) if name in ("correct", "stale", "restore", "pin") else client.get(url)
        assert answer.status_code == 404, name
    nowhere = client.get(reverse("overview", args=["nowhere"]))
    here = client.get(reverse("overview", args=[workspace.slug]))
    pages_of_both = [re.sub(rb'nonce="[^"]+"', b"", one.content) for one in (nowhere, here)]
    assert (nowhere.status_code, pages_of_both[0]) == (here.status_code, pages_of_both[1])


def test_ids_of_another_workspace_are_absent_in_ones_own(
    client: Client, outsider: User, other_workspace: Workspace, remembered: Remembered
) -> None:
    client.force_login(outsider)
    for name, url in pages(other_workspace, remembered).items():
        if name in ("overview", "subjects", "audit"):
            continue
        assert client.get(url).status_code == 404, name
    assert client.get(reverse("fact-detail", args=[other_workspace.slug, uuid4()])).status_code == 404


def test_a_viewer_cannot_change_a_fact(
    client: Client, viewer: User, workspace: Workspace, remembered: Remembered
) -> None:
    client.force_login(viewer)
    for name, url in changes(workspace, remembered).items():
        answer = client.post(
            url, {"expected_version": 2, "content": "Budget is 9 EUR", "reason": "wrong", "version": 1}
        )
        assert answer.status_code == 403, name
    with in_workspace(workspace.id):
        assert FactVersion.objects.filter(fact=remembered.fact).count() == 2
    denied = entries("access.denied", workspace.id)
    assert len(denied) == 4
    assert {(one.actor_id, one.outcome, one.reason) for one in denied} == {(str(viewer.id), "denied", "missing_role")}
    assert denied[0].data == {"role": "viewer", "permission": "memory.correct", "route": "console.fact_pin"}


def test_a_viewer_is_offered_no_change(
    client: Client, viewer: User, workspace: Workspace, remembered: Remembered
) -> None:
    client.force_login(viewer)
    client.post(reverse("subject-reveal", args=[workspace.slug, remembered.subject.id]), {"reason": "support_case"})
    page = client.get(pages(workspace, remembered)["fact"]).content.decode()
    assert "Add as the new version" not in page and "Make v1 current" not in page
    assert "Your role may read this fact" in page


@pytest.mark.parametrize(
    ("role", "status"),
    [(Role.VIEWER, 403), (Role.OPERATOR, 403), (Role.AUDITOR, 200), (Role.PRIVACY_OFFICER, 200), (Role.ADMIN, 200)],
)
def test_the_audit_log_is_for_those_who_answer_for_it(
    client: Client, workspace: Workspace, actor: Actor, role: Role, status: int
) -> None:
    user, _ = user_create(username="someone", workspace=workspace, role=role, actor=actor)
    client.force_login(user)
    url = reverse("audit-log", args=[workspace.slug])
    assert client.get(url).status_code == status
    assert (f'href="{url}"' in client.get(reverse("overview", args=[workspace.slug])).content.decode()) == (
        status == 200
    )


@pytest.mark.parametrize("name", ["nora", "nora@example.org", "NORA@Example.org"])
def test_signing_in_by_username_or_e_mail(client: Client, person: User, workspace: Workspace, name: str) -> None:
    answer = client.post("/sign-in/", {"login": name, "password": PASSWORD})
    assert answer.status_code == 302 and answer.headers["Location"] == "/"
    assert client.get("/").headers["Location"] == reverse("overview", args=[workspace.slug])
    [entry] = entries("user.signed_in", INSTALLATION)
    assert entry.actor_id == str(person.id)


def test_an_e_mail_that_two_accounts_share_signs_nobody_in(client: Client, person: User, viewer: User) -> None:
    viewer.email = person.email
    viewer.save()
    assert client.post("/sign-in/", {"login": person.email, "password": PASSWORD}).status_code == 403


def test_signing_in_goes_to_the_page_asked_for_but_never_elsewhere(client: Client, person: User) -> None:
    sent = {"login": "nora", "password": PASSWORD}
    assert client.post("/sign-in/", sent | {"next": "/w/acme/subjects/"}).headers["Location"] == "/w/acme/subjects/"
    client.logout()
    assert client.post("/sign-in/", sent | {"next": "https://evil.example/"}).headers["Location"] == "/"


def test_a_wrong_password_is_refused_and_recorded(client: Client, person: User) -> None:
    answer = client.post("/sign-in/", {"login": "nora", "password": "guess"})
    assert answer.status_code == 403
    assert "do not belong together" in answer.content.decode()
    [entry] = entries("user.sign_in_failed", INSTALLATION)
    assert (entry.object_id, entry.reason) == (str(person.id), "wrong_credentials")


def test_an_unknown_name_is_answered_like_a_wrong_password(client: Client, person: User) -> None:
    def answer(name: str) -> str:
        page = client.post("/sign-in/", {"login": name, "password": "guess"}).content.decode()
        return re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"|nonce="[^"]+"', "", page).replace(name, "name")

    assert answer("nora") == answer("nobody")


def test_after_ten_failures_even_the_right_password_has_to_wait(client: Client, person: User, viewer: User) -> None:
    for _ in range(10):
        client.post("/sign-in/", {"login": "nora", "password": "guess"})
    answer = client.post("/sign-in/", {"login": "nora@example.org", "password": PASSWORD})
    assert answer.status_code == 429
    assert "Too many attempts" in answer.content.decode()
    assert "_auth_user_id" not in client.session
    viewer.set_password(PASSWORD)
    viewer.save()
    assert client.post("/sign-in/", {"login": "vera", "password": PASSWORD}).status_code == 302, "others may"


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 5000])
def test_a_name_that_cannot_be_is_refused_in_words(client: Client, db: None, name: str) -> None:
    assert client.post("/sign-in/", {"login": name, "password": "guess"}).status_code == 403


def test_signing_out_takes_a_post_and_is_recorded(client: Client, person: User) -> None:
    client.force_login(person)
    assert client.get("/sign-out/").status_code == 405
    assert client.post("/sign-out/").headers["Location"] == "/sign-in/"
    assert "_auth_user_id" not in client.session
    assert len(entries("user.signed_out", INSTALLATION)) == 1


def test_someone_without_a_workspace_is_told_what_to_do(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("loner"))
    answer = client.get("/")
    assert answer.status_code == 403 and "No workspace yet" in answer.content.decode()


def test_a_form_without_its_token_changes_nothing(operator: User, workspace: Workspace, remembered: Remembered) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(operator)
    answer = strict.post(changes(workspace, remembered)["stale"], {"expected_version": 2, "reason": "outdated"})
    assert answer.status_code == 403 and "Send it again" in answer.content.decode()
    with in_workspace(workspace.id):
        assert FactVersion.objects.get(fact=remembered.fact, number=2).status == "current"
