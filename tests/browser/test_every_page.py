"""Every page as each role: links that answer, no error on the console, nothing the policy stops; and axe on all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from browser.conftest import PASSWORD
from browser.crawling import crawl
from console_memory import Remembered, remember
from memory_samples import fill_workspace, learn, say
from playwright.sync_api import Browser, Page

from audit.actors import Actor
from memoryhub.access.models import Agent, Role, Workspace
from memoryhub.access.people import user_create
from sessions.models import TurnRole

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
FOUND = """async () => {
  const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
  const found = await axe.run(document, {runOnly: tags, resultTypes: ['violations']});
  const told = (one) => one.nodes.slice(0, 3).map((node) => node.target + ' ' + node.html.slice(0, 160)).join(' | ');
  return found.violations.map((one) => one.id + ': ' + told(one));
}"""
WATCH = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.__violations.push(event.violatedDirective));
"""
WIDTHS = ((1280, 900), (390, 844))
# Pages behind a link that a role is shown, but that asks for more: none should be there.
FEWEST = {Role.VIEWER: 8, Role.OPERATOR: 14, Role.AUDITOR: 10, Role.PRIVACY_OFFICER: 18, Role.ADMIN: 24}


@pytest.fixture
def remembered(live_hub: object, workspace: Workspace, agent: Agent, actor: Actor) -> Remembered:
    fill_workspace(workspace, actor)
    return remember(agent)


@pytest.fixture
def furnished(workspace: Workspace, agent: Agent, actor: Actor, remembered: Remembered) -> None:
    """Something on every page, and a person in every role."""
    [turn] = say(agent, "Prices", role=TurnRole.TOOL, session="tool", user="cust_48213").turns
    learn(agent, "The price is 9 EUR", user="cust_48213", attribute="price", turn=turn)
    for role in Role:
        user_create(username=f"a-{role.value}", workspace=workspace, role=role, actor=actor, password=PASSWORD)


@pytest.fixture
def browser(furnished: None, browser: Browser) -> Browser:
    return browser


def sign_in(page: Page, role: Role) -> None:
    page.goto("/")
    page.get_by_label("Username or e-mail").fill(f"a-{role.value}")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="Overview").wait_for()


@pytest.fixture
def anyone(browser: Browser, live_hub: Any) -> Iterator[Page]:
    context = browser.new_context(base_url=live_hub.url, viewport={"width": 1280, "height": 900})
    context.add_init_script(WATCH)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
def test_every_link_answers_and_nothing_fails_on_the_way(anyone: Page, role: Role) -> None:
    troubles: list[str] = []
    anyone.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    anyone.on("pageerror", lambda error: troubles.append(str(error)))
    sign_in(anyone, role)
    seen = 0
    for link, answer in crawl(anyone, start="/w/acme/"):
        status = answer.status if answer else anyone.request.get(link.url).status
        assert status == 200, f"{link.url} (from {link.found_on}): {status}"
        assert troubles == [], link.url
        if answer:
            assert anyone.evaluate("window.__violations") == [], link.url
        seen += 1
    assert seen >= FEWEST[role], seen


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(anyone: Page, theme: Any) -> None:
    anyone.emulate_media(color_scheme=theme, reduced_motion="reduce")
    sign_in(anyone, Role.ADMIN)
    found: list[str] = []
    for link, answer in crawl(anyone, start="/w/acme/"):
        if answer is None:
            continue
        anyone.evaluate(AXE)
        for width, height in WIDTHS:
            anyone.set_viewport_size({"width": width, "height": height})
            found += [f"{link.kind} at {width}: {one}" for one in anyone.evaluate(FOUND)]
    assert found == [], "\n".join(found)
