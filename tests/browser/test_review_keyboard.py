"""The review by keyboard, in a real browser, and without JavaScript by its buttons."""

import pytest
from memory_samples import learn, say
from playwright.sync_api import Page, expect

from memoryhub.access.models import Agent
from sessions.models import TurnRole

pytestmark = pytest.mark.browser


@pytest.fixture
def queue(live_hub: object, agent: Agent, remembered: object) -> None:
    """Three statements of a tool that wait, made before the browser starts."""
    [turn] = say(agent, "Prices", role=TurnRole.TOOL).turns
    for number in range(3):
        learn(agent, f"The price is {number} EUR", attribute=f"price {number}", turn=turn)


@pytest.fixture
def browser(queue: None, browser: object) -> object:
    return browser


def test_deciding_by_keyboard(signed_in: Page, request: pytest.FixtureRequest) -> None:
    signed_in.goto("/w/acme/review/")
    items = signed_in.locator("[data-review] > li")
    expect(items).to_have_count(3)
    if request.node.callspec.params["page"] == "without JavaScript":
        items.nth(0).get_by_role("button", name="Let in", exact=True).click()
        expect(signed_in.get_by_text("Let in: F")).to_be_visible()
        items.nth(0).locator("summary", has_text="Turn down").click()
        items.nth(0).get_by_role("button", name="Turn down").click()
        expect(signed_in.get_by_text("Turned down: F")).to_be_visible()
        expect(items).to_have_count(1)
        return
    signed_in.keyboard.press("j")
    expect(items.nth(0)).to_be_focused()
    signed_in.keyboard.press("j")
    expect(items.nth(1)).to_be_focused()
    signed_in.keyboard.press("k")
    expect(items.nth(0)).to_be_focused()
    signed_in.keyboard.press("e")
    words = items.nth(0).get_by_label("What is true")
    expect(words).to_be_focused()
    # Typing in a field decides nothing.
    words.fill("jkaer")
    signed_in.keyboard.type("jkaer")
    expect(items).to_have_count(3)
    words.fill("The price is 10 EUR")
    items.nth(0).get_by_role("button", name="Let in as worded here").click()
    expect(signed_in.get_by_text("Let in as you worded it")).to_be_visible()
    expect(items).to_have_count(2)
    signed_in.keyboard.press("j")
    signed_in.keyboard.press("r")
    expect(items.nth(0).get_by_label("Reason")).to_be_focused()
    items.nth(0).get_by_role("button", name="Turn down").click()
    expect(items).to_have_count(1)
    signed_in.keyboard.press("j")
    signed_in.keyboard.press("a")
    expect(signed_in.get_by_role("heading", name="Nothing waits")).to_be_visible()
