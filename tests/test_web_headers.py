"""What every answer carries, whoever asks for whatever address; cookies; and that no form works without its token."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from addresses import Address, addresses
from api_state import state_of
from console_memory import Remembered, remember
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import path

from memoryhub.access.models import Agent, User, Workspace
from memoryhub.access.services import NewKey
from memoryhub.core.web import HEADERS

ROOT = Path(settings.BASE_DIR)
SECRET = "k7Jx0mQe4vB9tZpL2sWnYd8RuC5aHfGi-k7Jx0mQe4vB9tZpL2sWnYd8RuC5aHfGi"
ADDRESSES = addresses()
POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "img-src": "'self'",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "inert default",
}
# Swagger UI: icons inside its stylesheet, and no Trusted Types.
DOCS_POLICY = {name: value for name, value in POLICY.items() if "trusted" not in name} | {"img-src": "'self' data:"}


def failing(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("provoked")


# The addresses of a hub in which two pages fail.
urlpatterns = [path("fails/", failing), path("api/fails", failing)]
handler500 = "memoryhub.api.errors.failed"


def policy_of(response: HttpResponseBase) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in response.headers["Content-Security-Policy"].split(";"))
    return {name: value for name, _, value in parts}


def assert_headers(response: HttpResponseBase, *, file: bool = False, docs: bool = False) -> None:
    for name, value in HEADERS.items():
        if name != "Cache-Control":
            assert response.headers[name] == value, name
    assert response.headers["X-Request-ID"]
    kept = response.headers["Cache-Control"]
    assert ("max-age" in kept and "public" in kept) if file else "no-store" in kept
    policy = policy_of(response)
    scripts = policy.pop("script-src")
    assert policy == (DOCS_POLICY if docs else POLICY)
    assert scripts == "" or re.fullmatch(r"'nonce-[A-Za-z0-9+/]{22}=='", scripts)
    page = body_of(response).decode(errors="replace")
    if page and response.headers["Content-Type"].startswith("text/html"):
        assert_scripts_carry(scripts, page)


def assert_scripts_carry(scripts: str, page: str) -> None:
    nonce = scripts.removeprefix("'nonce-").removesuffix("'")
    elements = re.findall(r"<script\b[^>]*>", page)
    assert all(f'nonce="{nonce}"' in one or 'type="application/json"' in one for one in elements), elements
    assert bool(scripts) == any("nonce=" in one for one in elements)
    assert not re.search(r"<style\b|\sstyle=|\son[a-z]+=|javascript:", page)


def body_of(response: HttpResponseBase) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content  # type: ignore[attr-defined]


@pytest.fixture
def ids(workspace: Workspace, remembered: Remembered) -> dict[str, str]:
    return {
        "workspace": workspace.slug,
        "subject_id": str(remembered.subject.id),
        "session_id": str(remembered.session.id),
        "fact_id": str(remembered.fact.id),
        "provider_id": "sso",
    }


@pytest.fixture
def remembered(agent: Agent) -> Remembered:
    return remember(agent)


@pytest.mark.parametrize("address", ADDRESSES, ids=lambda one: one.route)
def test_every_answer_carries_every_header(
    address: Address, ids: dict[str, str], admin: User, agent_key: NewKey
) -> None:
    member, stranger = Client(raise_request_exception=False), Client(raise_request_exception=False)
    if not address.is_api:
        member.force_login(admin)
    headers = {"authorization": f"Bearer {agent_key.secret}"} if address.is_api else {}
    for client, sent in ((stranger, {}), (member, headers), (member, headers | {"hx-request": "true"})):
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            response = client.generic(method, address.at(ids), headers=sent)
            assert response.status_code < 500
            assert_headers(response, docs=address.name == "api-docs" and response.status_code == 200)


@pytest.mark.parametrize(
    ("url", "sent", "status"),
    [
        ("/nowhere/", {}, 404),
        ("/api/nowhere", {}, 404),
        ("/sign-in/", {"headers": {"host": "attacker.example"}}, 400),
        ("/api/v1/facts", {"headers": {"host": "attacker.example"}}, 400),
        ("/sign-in/", {"CONTENT_LENGTH": "5000001"}, 413),
        ("/api/v1/facts", {"CONTENT_LENGTH": "5000001"}, 413),
        ("/static/nowhere.js", {}, 404),
    ],
)
def test_errors_carry_every_header(db: None, url: str, sent: dict[str, object], status: int) -> None:
    response = Client().get(url, **sent)  # type: ignore[arg-type]
    assert response.status_code == status
    assert_headers(response)


@pytest.mark.parametrize("url", ["/fails/", "/api/fails"])
def test_a_failure_carries_every_header(db: None, settings: Any, url: str) -> None:
    settings.ROOT_URLCONF = __name__
    response = Client(raise_request_exception=False).get(url)
    assert response.status_code == 500
    assert_headers(response)


@pytest.mark.parametrize(
    "name",
    [
        "css/memoryhub.css",
        "js/console.js",
        "img/favicon.svg",
        "drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js",
    ],
)
def test_files_carry_every_header_and_may_be_kept(db: None, name: str) -> None:
    response = Client().get(f"/static/{name}")
    assert response.status_code == 200
    assert_headers(response, file=True)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("address", [one for one in ADDRESSES if not one.is_api], ids=lambda one: one.route)
def test_nothing_is_changed_without_the_token_of_a_form(
    address: Address, method: str, ids: dict[str, str], workspace: Workspace, admin: User
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin)
    client.get("/account/password/")  # the cookie alone is not enough
    before = state_of(workspace)
    for headers in ({}, {"hx-request": "true"}, {"x-csrftoken": "x" * 64}):
        response = client.generic(
            method, address.at(ids), "confirm=yes", "application/x-www-form-urlencoded", headers=headers
        )
        assert response.status_code == 403
        assert b"Send it again" in response.content
    assert state_of(workspace) == before


@pytest.mark.parametrize("address", [one for one in ADDRESSES if one.is_api], ids=lambda one: one.route)
def test_the_api_takes_no_cookie(address: Address, ids: dict[str, str], admin: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin)
    for method in ("GET", "POST", "PATCH"):
        response = client.generic(method, address.at(ids), b"{}", "application/json")
        assert response.status_code in (401, 405)


def test_every_form_that_posts_has_a_token() -> None:
    forms = [
        (template.relative_to(ROOT), form)
        for template in (ROOT / "templates").rglob("*.html")
        for form in re.findall(r"<form\b[^>]*>.*?</form>", template.read_text(), re.DOTALL)
    ]
    posting = [(name, form) for name, form in forms if re.search(r'method="post"|hx-(post|put|patch|delete)', form)]
    assert len(posting) > 20
    assert [name for name, form in posting if "{% csrf_token %}" not in form] == []


def test_no_template_has_a_script_style_or_handler_in_it() -> None:
    for template in (ROOT / "templates").rglob("*.html"):
        text = re.sub(r"{%.*?%}", "", template.read_text())
        # Drawn by the QR library: squares, and nothing that anybody typed.
        text = text.replace("{{ totp_svg|safe }}", "")
        found = re.findall(
            r"<style\b|\sstyle=|\son[a-z]+=|\bhx-on\b|javascript:|hx-vals=.js:|\|safe\b|autoescape", text
        )
        assert found == [], template
        for tag in re.findall(r"<script\b[^>]*>", text):
            assert 'nonce="{{ csp_nonce }}"' in tag or 'type="application/json"' in tag, template


def test_pages_name_no_other_host() -> None:
    for file in [*(ROOT / "templates").rglob("*.html"), *(ROOT / "static").rglob("*.*")]:
        if file.suffix in (".html", ".css", ".js"):
            assert re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", file.read_text()) == [], file


def production(**more: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name not in ("DEBUG", "MEMORYHUB_DATA_DIR")},
        "HTTPS": "true",
        "SECRET_KEY": SECRET,
        "ALLOWED_HOSTS": "memory.example.com",
        **more,
    }


def test_djangos_own_check_of_a_deployment_finds_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=production(MEMORYHUB_DATA_DIR=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_check_of_a_deployment_notices_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=production(MEMORYHUB_DATA_DIR=str(tmp_path), HTTPS="false"),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    for told in ("security.W004", "security.W008", "security.W012", "security.W016"):
        assert told in done.stderr


def test_over_https_cookies_belong_to_this_host_alone(tmp_path: Path) -> None:
    names = "SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "SECURE_HSTS_SECONDS", "SECURE_SSL_REDIRECT"
    code = f"from django.conf import settings; print([getattr(settings, name) for name in {names}])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=production(MEMORYHUB_DATA_DIR=str(tmp_path), DJANGO_SETTINGS_MODULE="memoryhub.settings"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['__Host-memoryhub', '__Host-csrf', 31536000, True]"


@pytest.mark.parametrize("https", [True, False])
def test_cookies_are_closed_to_scripts_and_other_sites(settings: Any, admin: User, https: bool) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = https
    settings.SECURE_HSTS_SECONDS = 31_536_000 if https else 0
    client = Client()
    signed_in = client.post("/sign-in/", {"login": admin.username, "password": "x"}, secure=https)
    client.force_login(admin)
    page = client.get("/account/password/", secure=https)
    cookies = {**signed_in.cookies, **page.cookies}
    assert cookies.keys() >= {settings.CSRF_COOKIE_NAME}
    for cookie in cookies.values():
        assert cookie["httponly"] and cookie["samesite"] == "Lax" and cookie["path"] == "/" and not cookie["domain"]
        assert bool(cookie["secure"]) is https
    assert ("Strict-Transport-Security" in page.headers) is https
    session = client.cookies[settings.SESSION_COOKIE_NAME]
    assert session["httponly"] and session["samesite"] == "Lax"
