"""The privacy desk in a browser, with JavaScript and without: an erasure by two people, and a hold that blocks one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from browser.conftest import PASSWORD
from django.db import close_old_connections
from django_q.models import OrmQ
from playwright.sync_api import Browser, Page, expect

from audit.actors import Actor
from memoryhub import erasing
from memoryhub.access.models import Role, Workspace
from memoryhub.access.people import user_create
from memoryhub.access.policy import WorkspacePolicy
from memoryhub.access.services import workspace_change

pytestmark = pytest.mark.browser


@pytest.fixture
def desk(live_hub: Any, workspace: Workspace, actor: Actor, remembered: object, settings: Any, tmp_path: Any) -> None:
    """Two officers, both of whom an erasure needs; made before the browser starts."""
    settings.DATA_DIR = tmp_path
    workspace_change(workspace=workspace, policy=WorkspacePolicy(two_approve_erasure=True), actor=actor)
    for name in ("first", "second"):
        user_create(username=name, workspace=workspace, role=Role.PRIVACY_OFFICER, actor=actor, password=PASSWORD)


@pytest.fixture
def browser(desk: None, browser: Browser) -> Browser:
    return browser


@pytest.fixture
def other(request: pytest.FixtureRequest, browser: Browser, live_hub: Any) -> Iterator[Page]:
    """A second visitor, as `page` is the first."""
    scripts = "without" not in request.node.callspec.params["page"]
    context = browser.new_context(base_url=live_hub.url, java_script_enabled=scripts)
    yield context.new_page()
    context.close()


def sign_in(page: Page, name: str) -> None:
    page.goto("/")
    page.get_by_label("Username or e-mail").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="Overview").wait_for()


def open_person(page: Page) -> None:
    page.get_by_label("Find a subject by the user id your agents use").fill("48213")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="cust_48213").click()


def take_up_an_erasure(page: Page) -> str:
    """Its address."""
    open_person(page)
    page.get_by_role("link", name="New request…").click()
    page.get_by_label("What the person asks for").select_option("erasure")
    page.get_by_label("Is it the person?").select_option("verified")
    page.get_by_role("button", name="Take up").click()
    expect(page.get_by_role("heading", name="Erasure request")).to_be_visible()
    expect(page.locator(".heading .pill")).to_have_text("in review")
    return page.url


def approve(page: Page) -> None:
    page.locator("summary", has_text="Approve…").click()
    page.get_by_role("button", name="Approve", exact=True).click()


def carry_out(page: Page) -> None:
    page.get_by_role("link", name="Carry out…").click()
    expect(page.get_by_role("heading", name="What would go")).to_be_visible()
    label = page.locator("label", has_text="to confirm").inner_text()
    page.get_by_label(label).fill(label.split("“")[1].split("”")[0])
    page.get_by_role("button", name="Erase", exact=True).click()


def work_the_queue(pool: ThreadPoolExecutor) -> None:
    """In another thread: the browser's event loop forbids the ORM in this one."""

    def work() -> None:
        [waiting] = OrmQ.objects.all()
        task = waiting.task
        waiting.delete()
        assert erasing.carry_out(*task["args"]) == "completed"
        close_old_connections()

    pool.submit(work).result()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def test_an_erasure_by_two_people_to_its_certificate(
    page: Page, other: Page, pool: ThreadPoolExecutor, request: pytest.FixtureRequest
) -> None:
    sign_in(page, "first")
    address = take_up_an_erasure(page)
    approve(page)
    expect(page.get_by_text("A second person has to approve it too.")).to_be_visible()
    expect(page.locator("summary", has_text="Approve…")).to_have_count(0)
    sign_in(other, "second")
    other.get_by_role("navigation", name="Pages").get_by_role("link", name="Requests").click()
    other.locator("table").get_by_role("link", name="erasure").click()
    expect(other).to_have_url(address)
    expect(other.get_by_text("first approved it.")).to_be_visible()
    approve(other)
    carry_out(other)
    expect(other.get_by_role("progressbar", name="Erased")).to_be_visible()
    work_the_queue(pool)
    if request.node.callspec.params["page"] == "without JavaScript":
        other.reload()  # with it the page renews itself
    expect(other.locator(".heading .pill")).to_have_text("completed")
    expect(other.get_by_text("Everything that was asked for is erased")).to_be_visible()
    other.get_by_role("link", name="Letter to the person").click()
    expect(other.get_by_role("heading", name="Your request was carried out")).to_be_visible()
    other.go_back()
    other.get_by_role("link", name="Certificate", exact=True).click()
    expect(other.get_by_text("Completed: everything in the scope was erased")).to_be_visible()


def test_a_hold_blocks_and_its_release_resumes(page: Page, other: Page, pool: ThreadPoolExecutor) -> None:
    sign_in(page, "first")
    sign_in(other, "second")
    open_person(page)
    page.get_by_role("link", name="Hold…").click()
    page.get_by_label("Why it has to be kept").select_option("litigation")
    page.get_by_role("button", name="Place the hold").click()
    expect(page.get_by_role("link", name="legal hold", exact=True)).to_be_visible()
    address = take_up_an_erasure(page)
    approve(page)
    other.goto(address)
    approve(other)
    carry_out(other)
    expect(other.locator(".heading .pill")).to_have_text("blocked by a hold")
    page.goto("/w/acme/holds/")
    expect(page.get_by_text("somebody else releases it")).to_be_visible()
    expect(page.get_by_role("button", name="Release")).to_have_count(0)
    other.get_by_role("link", name="Holds on this person").click()
    expect(other.get_by_role("link", name="a request waits for it")).to_be_visible()
    other.get_by_role("button", name="Release").click()
    expect(other.get_by_text("A request that waited for it goes on.")).to_be_visible()
    work_the_queue(pool)
    page.goto(address)
    expect(page.locator(".heading .pill")).to_have_text("completed")
