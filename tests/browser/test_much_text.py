"""A hundred kilobytes in one turn, five hundred facts about one person, words without a gap: the pages stay whole."""

from collections.abc import Iterator
from typing import Any

import pytest
from console_memory import Remembered, many_facts, remember
from memory_samples import learn, say
from playwright.sync_api import Browser, Page, expect

from memoryhub.access.models import Agent

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

LONG = "<script>document.title='gone'</script> \u202e drow " + "A sentence of several words about nothing. " * 2_400
UNBROKEN = "W" * 4_000
WIDTHS = ((1280, 900), (390, 844))


@pytest.fixture
def remembered(live_hub: object, agent: Agent) -> Remembered:
    done = remember(agent)
    say(agent, LONG, UNBROKEN, user="cust_48213", session="cust_48213-1")
    learn(agent, UNBROKEN, user="cust_48213", entity="E" * 200, attribute="a" * 100)
    learn(agent, LONG[:4_000], user="cust_48213", entity="<b>bold</b> \u202e")
    many_facts(agent, done.subject, 500)
    return done


@pytest.fixture
def looking(browser: Browser, live_hub: Any, operator_name: str) -> Iterator[Page]:
    from browser.conftest import PASSWORD

    page = browser.new_context(base_url=live_hub.url).new_page()
    troubles: list[str] = []
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto("/")
    page.get_by_label("Username or e-mail").fill(operator_name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="Overview").wait_for()
    yield page
    page.context.close()
    assert troubles == []


def whole(page: Page) -> None:
    """Nothing sticks out at either width, and the title is ours."""
    for width, height in WIDTHS:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (page.url, width)
    assert page.title().endswith("MemoryHub")


def test_pages_stay_whole(looking: Page, remembered: Remembered) -> None:
    session, subject = remembered.session.id, remembered.subject.id
    looking.goto(f"/w/acme/sessions/{session}/")
    folded = looking.get_by_text("characters", exact=False).first
    expect(looking.get_by_text("All 103,", exact=False)).to_be_visible()
    folded.click()
    expect(looking.locator(".transcript")).to_contain_text("<script>document.title='gone'</script>")
    whole(looking)
    for address in (
        f"subjects/{subject}/",
        f"subjects/{subject}/?page=11",
        f"subjects/{subject}/timeline/",
        "facts/",
        "facts/?about=bold",
        "subjects/",
    ):
        looking.goto(f"/w/acme/{address}")
        whole(looking)
    looking.goto(f"/w/acme/subjects/{subject}/")
    expect(looking.get_by_text("of 503", exact=False)).to_be_visible()
