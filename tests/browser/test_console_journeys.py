"""What people come to the console for, done in a browser, with JavaScript and without."""

import re

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def open_person(page: Page) -> None:
    page.get_by_label("Find a subject by the user id your agents use").fill("48213")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="cust_48213").click()
    expect(page.get_by_role("heading", name="cust_48213")).to_be_visible()


def test_signing_in_and_out(signed_in: Page) -> None:
    expect(signed_in).to_have_url(re.compile(r"/w/acme/$"))
    expect(signed_in.get_by_role("img", name="Surfaced and written, by hour")).to_be_visible()
    signed_in.locator("summary", has_text="oscar").click()
    signed_in.get_by_role("button", name="Sign out").click()
    expect(signed_in.get_by_role("heading", name="Sign in")).to_be_visible()
    signed_in.goto("/w/acme/")
    expect(signed_in).to_have_url(re.compile(r"/sign-in/\?next=/w/acme/$"))


def test_finding_a_person_and_what_is_known(signed_in: Page) -> None:
    open_person(signed_in)
    expect(signed_in.get_by_role("link", name="Budget is 500 EUR a month")).to_be_visible()
    expect(signed_in.locator("del", has_text="Budget is 300 EUR a month")).to_be_visible()


def test_seeing_the_block_for_a_message(signed_in: Page) -> None:
    open_person(signed_in)
    signed_in.get_by_label("Message").fill("which budget limit do I have?")
    signed_in.get_by_text("Agent and settings").click()
    signed_in.get_by_label("Threshold", exact=True).fill("0")
    signed_in.get_by_role("button", name="Show the block").click()
    block = signed_in.locator("pre.block")
    expect(block).to_contain_text("<working_memory>")
    expect(block).to_contain_text("Budget is 500 EUR a month")
    expect(signed_in.locator(".scores")).to_contain_text("in the block")
    ground, ink = block.evaluate("e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).fontFamily]")
    assert ground == "rgb(33, 36, 43)" and "mono" in ink.lower()


def test_reading_a_session_with_its_tool_call(signed_in: Page) -> None:
    open_person(signed_in)
    signed_in.get_by_role("navigation", name="About this subject").get_by_role("link", name="Sessions").click()
    signed_in.get_by_role("link", name="cust_48213-1").click()
    call = signed_in.get_by_text('"month": "March"')
    expect(call).to_be_hidden()
    signed_in.get_by_text("calls get_invoice").click()
    expect(call).to_be_visible()


def test_correcting_a_fact_changes_what_an_agent_sees(signed_in: Page) -> None:
    open_person(signed_in)
    signed_in.get_by_role("link", name="Budget is 500 EUR a month").click()
    signed_in.get_by_label("What is true").fill("Budget is 650 EUR a month")
    signed_in.get_by_role("button", name="Add as the new version").click()
    expect(signed_in.get_by_role("status")).to_contain_text("version 3 is what agents see from now on")
    expect(signed_in.locator(".versions del").first).to_have_text("500")
    expect(signed_in.locator(".versions ins").first).to_have_text("650")
    signed_in.get_by_role("navigation", name="Where you are").get_by_role("link", name="cust_48213").click()
    signed_in.get_by_role("link", name="What an agent sees now").click()
    signed_in.get_by_label("Message").fill("which budget limit do I have?")
    signed_in.get_by_label("Threshold", exact=True).fill("0")
    signed_in.get_by_role("button", name="Show the block").click()
    expect(signed_in.locator("pre.block")).to_contain_text("Budget is 650 EUR a month")


def test_marking_a_fact_stale_and_restoring_it(signed_in: Page) -> None:
    open_person(signed_in)
    signed_in.get_by_role("link", name="Budget is 500 EUR a month").click()
    signed_in.get_by_role("button", name="Mark v2 stale").click()
    expect(signed_in.locator(".heading .pill")).to_have_text("stale")
    signed_in.get_by_text("Make v2 current again").click()
    signed_in.get_by_role("button", name="Make v2 current").click()
    expect(signed_in.locator(".heading .pill")).to_have_text("current")


def test_filtering_facts_keeps_the_address(signed_in: Page) -> None:
    open_person(signed_in)
    signed_in.get_by_label("Type").select_option("goal")
    if signed_in.get_by_role("button", name="Filter").is_visible():
        signed_in.get_by_role("button", name="Filter").click()
    expect(signed_in.get_by_role("heading", name="No fact matches")).to_be_visible()
    expect(signed_in).to_have_url(re.compile(r"type=goal"))
    signed_in.go_back()
    expect(signed_in.get_by_role("link", name="Budget is 500 EUR a month")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_telephone_shows_everything_within_its_width(signed_in: Page, theme: str) -> None:
    signed_in.set_viewport_size({"width": 390, "height": 844})
    signed_in.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    expect(signed_in.locator(".sidebar")).to_be_hidden()
    signed_in.get_by_label("Menu").click()
    signed_in.locator(".menu").get_by_role("link", name="Subjects").click()
    signed_in.get_by_role("link", name="cust_48213").click()
    expect(signed_in.get_by_role("heading", level=1)).to_contain_text("cust_48213")
    width = signed_in.evaluate("document.documentElement.scrollWidth")
    assert width == 390
    ground = signed_in.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(251, 250, 247)", "dark": "rgb(20, 22, 26)"}[theme]


@pytest.mark.parametrize("page", ["with JavaScript"], indirect=True)
def test_the_slash_key_goes_to_the_search(signed_in: Page) -> None:
    signed_in.keyboard.press("/")
    expect(signed_in.get_by_label("Find a subject by the user id your agents use")).to_be_focused()
    signed_in.keyboard.type("48213/")
    expect(signed_in.locator("#find")).to_have_value("48213/")


def test_the_keyboard_reaches_the_content_first(signed_in: Page) -> None:
    signed_in.keyboard.press("Tab")
    skip = signed_in.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    signed_in.keyboard.press("Enter")
    expect(signed_in.locator("main")).to_be_focused()
