"""The keyboard on every page, going somewhere, and peeking, in a real browser."""

import re

import pytest
from console_memory import remember
from playwright.sync_api import Page, expect

from memoryhub.access.models import Agent

pytestmark = pytest.mark.browser
WITH_SCRIPT = pytest.mark.parametrize("page", ["with JavaScript"], indirect=True)


@pytest.fixture
def more_people(live_hub: object, agent: Agent, remembered: object) -> None:
    for number in (1, 2):
        remember(agent, user_id=f"other_{number}")


@pytest.fixture
def browser(more_people: None, browser: object) -> object:
    return browser


@WITH_SCRIPT
def test_rows_are_moved_through_opened_and_peeked_at(signed_in: Page) -> None:
    signed_in.goto("/w/acme/subjects/")
    rows = signed_in.locator("table.list > tbody > tr")
    signed_in.keyboard.press("j")
    expect(rows.nth(0)).to_be_focused()
    signed_in.keyboard.press("j")
    expect(rows.nth(1)).to_be_focused()
    signed_in.keyboard.press("p")
    panel = signed_in.locator("#peek-panel")
    expect(panel.get_by_text("Budget is 500 EUR a month")).to_be_visible()
    expect(panel.get_by_role("heading", name="other_1").first).to_be_visible()
    expect(panel.get_by_role("button", name="Mark")).to_have_count(0)
    signed_in.keyboard.press("j")
    expect(panel.locator("#peek-title")).to_have_text("cust_48213")
    expect(rows.nth(2)).to_be_focused()
    signed_in.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(rows.nth(2)).to_be_focused()
    signed_in.keyboard.press("k")
    signed_in.keyboard.press("Enter")
    expect(signed_in.get_by_role("heading", name="other_1")).to_be_visible()
    expect(signed_in).to_have_url(re.compile(r"/subjects/[0-9a-f-]{36}/$"))


def test_peeking_without_a_script_is_a_link(signed_in: Page, request: pytest.FixtureRequest) -> None:
    signed_in.goto("/w/acme/subjects/")
    row = signed_in.locator("table.list > tbody > tr", has_text="cust_48213")
    row.hover()
    peek = row.get_by_role("button", name="Peek at cust_48213")
    if request.node.callspec.params["page"] == "without JavaScript":
        expect(peek).to_have_count(0)
        row.get_by_role("link", name="cust_48213").click()
        expect(signed_in.get_by_role("heading", name="cust_48213", level=1)).to_be_visible()
        expect(signed_in).to_have_url(re.compile(r"/subjects/[0-9a-f-]{36}/$"))
    else:
        peek.click()
        expect(signed_in.locator("#peek-panel")).to_be_focused()
        expect(signed_in).to_have_url(re.compile(r"/subjects/$"))
        signed_in.locator("#peek-panel").get_by_role("link", name="Open the page").click()
        expect(signed_in).to_have_url(re.compile(r"/subjects/[0-9a-f-]{36}/$"))


@WITH_SCRIPT
def test_keys_are_listed_and_the_list_closes(signed_in: Page) -> None:
    signed_in.keyboard.press("?")
    keys = signed_in.get_by_role("dialog", name="Keys")
    expect(keys).to_be_visible()
    signed_in.keyboard.press("j")
    expect(keys).to_be_visible()
    signed_in.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    signed_in.get_by_role("button", name="Keys").click()
    keys.get_by_role("button", name="Close").click()
    expect(keys).to_be_hidden()


@WITH_SCRIPT
def test_going_somewhere_by_typing(signed_in: Page) -> None:
    signed_in.keyboard.press("Control+k")
    to = signed_in.get_by_label("A page's name, or an id or its beginning")
    expect(to).to_be_focused()
    dialog = signed_in.locator("#jump")
    expect(dialog.get_by_role("link", name="Subjects")).to_be_visible()
    expect(dialog.get_by_role("link", name="Settings")).to_have_count(0)
    signed_in.keyboard.type("cust_4")
    expect(dialog.get_by_role("link", name="cust_48213")).to_be_visible()
    expect(dialog.get_by_role("link", name="other_1")).to_have_count(0)
    signed_in.keyboard.press("ArrowDown")
    expect(dialog.get_by_role("link", name="cust_48213").first).to_be_focused()
    signed_in.keyboard.press("ArrowUp")
    expect(to).to_be_focused()
    signed_in.keyboard.press("Enter")
    expect(signed_in.get_by_role("heading", name="cust_48213")).to_be_visible()
    signed_in.keyboard.press("Control+k")
    signed_in.keyboard.type("review")
    expect(dialog.get_by_role("link")).to_have_count(1)
    signed_in.keyboard.press("Enter")
    expect(signed_in.get_by_role("heading", name="Review")).to_be_visible()


def test_going_somewhere_is_a_page_too(signed_in: Page) -> None:
    signed_in.goto("/w/acme/jump/?q=other_")
    expect(signed_in.get_by_role("link", name="other_1")).to_be_visible()
    signed_in.get_by_label("A page, or an id").fill("nothing of the kind")
    signed_in.get_by_role("button", name="Go", exact=True).click()
    expect(signed_in.get_by_role("heading", name="Nothing begins with that")).to_be_visible()


@WITH_SCRIPT
def test_keys_typed_into_a_field_are_letters(signed_in: Page) -> None:
    signed_in.goto("/w/acme/subjects/")
    signed_in.keyboard.press("/")
    signed_in.keyboard.type("jkp?")
    expect(signed_in.locator("#find")).to_have_value("jkp?")
    expect(signed_in.get_by_role("dialog", name="Keys")).to_be_hidden()
