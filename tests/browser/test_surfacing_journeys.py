"""What was surfaced, looked at in a browser with JavaScript and without: by whom, when, why, and what if."""

import re

import pytest
from browser.test_console_journeys import open_person
from console_memory import Remembered, remember
from memory_samples import viewpoint
from playwright.sync_api import Page, expect

from facts.working_memory import MemoryRequest, working_memory
from memoryhub.access.models import Agent

pytestmark = pytest.mark.browser


@pytest.fixture
def remembered(live_hub: object, agent: Agent) -> Remembered:
    """One person, and what an agent was given once about them, after the turns of the session."""
    done = remember(agent)
    asked = MemoryRequest(
        user_id="cust_48213", message="What is my budget limit?", session_id="cust_48213-1", score_threshold=0.01
    )
    assert working_memory(view=viewpoint(agent), ask=asked).facts
    return done


def test_trying_another_threshold(signed_in: Page) -> None:
    signed_in.get_by_role("link", name="Retrieval quality").first.click()
    expect(signed_in.get_by_role("heading", name="With a threshold of 0.25")).to_be_visible()
    signed_in.get_by_role("spinbutton", name="Threshold").fill("1")
    signed_in.get_by_role("button", name="Try").click()
    expect(signed_in.get_by_role("heading", name="With a threshold of 1.00")).to_be_visible()
    expect(signed_in.locator("#results")).to_contain_text(re.compile(r"\d facts? would not have been"))
    expect(signed_in).to_have_url(re.compile(r"threshold=1"))
    signed_in.get_by_role("link", name="0.10").click()
    expect(signed_in.get_by_role("heading", name="With a threshold of 0.10")).to_be_visible()


def test_what_was_surfaced_stands_between_the_turns(signed_in: Page) -> None:
    open_person(signed_in)
    signed_in.get_by_role("navigation", name="About this subject").get_by_role("link", name="Sessions").click()
    signed_in.get_by_role("link", name="cust_48213-1").click()
    given = signed_in.locator(".transcript li.surfaced")
    expect(given).to_have_count(1)
    given.get_by_text(re.compile(r"\d facts? given")).click()
    expect(given).to_contain_text("Budget is 500 EUR a month")
    given.get_by_role("link", name="What was considered").click()
    expect(signed_in.get_by_role("heading", name="The block")).to_be_visible()


def test_deciding_on_several_facts_at_once(signed_in: Page) -> None:
    signed_in.get_by_role("navigation", name="Pages").get_by_role("link", name="Facts").click()
    signed_in.get_by_label("Select F1 of cust_48213").check()
    signed_in.get_by_role("button", name="Mark the ticked stale").click()
    expect(signed_in.get_by_role("status")).to_contain_text("1 marked stale.")
    signed_in.get_by_label("Status").select_option("stale")
    if signed_in.get_by_role("button", name="Filter").is_visible():
        signed_in.get_by_role("button", name="Filter").click()
    expect(signed_in.get_by_role("row", name="F1")).to_contain_text("stale since")


def test_a_persons_timeline_and_who_was_shown_what(signed_in: Page) -> None:
    open_person(signed_in)
    tabs = signed_in.get_by_role("navigation", name="About this subject")
    tabs.get_by_role("link", name="Timeline").click()
    expect(signed_in.get_by_role("row", name="Something new is known.")).to_be_visible()
    tabs.get_by_role("link", name="Access").click()
    expect(signed_in.get_by_role("row", name="Memory content was returned to an agent.")).to_contain_text("assistant")


@pytest.mark.parametrize("page", ["with JavaScript"], indirect=True)
def test_moving_the_threshold_makes_facts_leave_and_enter(signed_in: Page) -> None:
    open_person(signed_in)
    signed_in.get_by_role("link", name="What an agent sees now").click()
    signed_in.get_by_label("Message").fill("What is my budget limit?")
    slider = signed_in.get_by_role("slider", name="Move the threshold")
    slider.fill("0.01")
    expect(signed_in.locator("pre.block")).to_contain_text("Budget is 500 EUR a month")
    slider.fill("1")
    expect(signed_in.locator("#preview-result")).to_contain_text("threshold 1.00")
    expect(signed_in.locator("#preview-result")).not_to_contain_text("in the block")
    expect(signed_in.get_by_label("Threshold", exact=True)).to_have_value("1")
