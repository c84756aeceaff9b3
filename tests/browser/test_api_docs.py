"""The served API docs, under the hub's own content security policy."""

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_the_docs_show_every_operation_or_where_to_find_them(page: Page, request: pytest.FixtureRequest) -> None:
    page.goto("/api/docs/")
    if request.node.callspec.params["page"] == "without JavaScript":
        expect(page.get_by_role("link", name="/api/schema/")).to_be_visible()
        return
    expect(page.get_by_role("heading", name="MemoryHub API")).to_be_visible()
    # Unfold one: its form, its examples and its errors are there.
    page.get_by_text("Record turns of a session").click()
    expect(page.get_by_text("Appends messages to a session")).to_be_visible()
    expect(page.get_by_role("button", name="Try it out")).to_be_visible()
