"""A real browser before a real hub. Skipped, with the reason, where there is no Chromium; CI installs one."""

import os
from collections.abc import Iterator

import pytest
from browser.chromium import CHROMIUM, SWITCHES
from console_memory import Remembered, remember
from playwright.sync_api import Browser, Page, sync_playwright

from audit.actors import Actor
from memoryhub.access.models import Agent, Role, Workspace
from memoryhub.access.people import user_create

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="session")
def browser_binary() -> str:
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("REQUIRE_BROWSER is set, but there is no Chromium")
        pytest.skip("no Chromium: install one, or name it in CHROMIUM")
    return CHROMIUM


@pytest.fixture
def remembered(live_hub: object, agent: Agent) -> Remembered:
    """One person the agent remembers, before the browser starts: its event loop forbids the ORM in this thread."""
    return remember(agent)


@pytest.fixture
def operator_name(live_hub: object, workspace: Workspace, actor: Actor) -> str:
    user, _ = user_create(username="oscar", workspace=workspace, role=Role.OPERATOR, actor=actor, password=PASSWORD)
    return user.username


@pytest.fixture
def browser(browser_binary: str, remembered: Remembered, operator_name: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_binary, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(params=["with JavaScript", "without JavaScript"])
def page(request: pytest.FixtureRequest, browser: Browser, live_hub: object) -> Iterator[Page]:
    """A page of a signed-out visitor. At its end no script may have failed and no policy been broken."""
    context = browser.new_context(
        base_url=live_hub.url,  # type: ignore[attr-defined]
        java_script_enabled=request.param == "with JavaScript",
        viewport={"width": 1280, "height": 900},
    )
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    yield page
    context.close()
    assert troubles == []


@pytest.fixture
def signed_in(page: Page, operator_name: str) -> Page:
    page.goto("/")
    page.get_by_label("Username or e-mail").fill(operator_name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="Overview").wait_for()
    return page
