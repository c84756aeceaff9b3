"""The log's integrity in a browser: a check at once that shows its end, one entry's proof, a bundle that verifies."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from browser.conftest import PASSWORD
from console_memory import Remembered
from playwright.sync_api import Page, expect

from audit import verify
from audit.actors import Actor
from audit.models import Verification
from audit.sealing.services import seal_all
from audit.sealing.verifying import verification_run
from memoryhub.access.models import Role, Workspace
from memoryhub.access.people import user_create
from memoryhub.core.tenancy import in_workspace

pytestmark = pytest.mark.browser


@pytest.fixture
def operator_name(live_hub: object, workspace: Workspace, remembered: Remembered, actor: Actor) -> str:
    """Here an auditor signs in."""
    user, _ = user_create(username="amir", workspace=workspace, role=Role.AUDITOR, actor=actor, password=PASSWORD)
    seal_all(workspace.id)
    return user.username


def elsewhere(work: Callable[[], Any]) -> None:
    """What the queue does: in a thread without the browser's event loop."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(work).result()


def test_the_log_is_checked_and_taken_along(
    signed_in: Page, request: pytest.FixtureRequest, workspace: Workspace, tmp_path: Any
) -> None:
    def check() -> None:
        from django.db import connections

        with in_workspace(workspace.id):
            run = Verification.objects.get()
        verification_run(run.id, workspace_id=workspace.id)
        connections.close_all()

    signed_in.goto("/w/acme/audit/integrity/")
    signed_in.get_by_role("button", name="Verify now").click()
    expect(signed_in.get_by_text("It waits for the queue")).to_be_visible()
    elsewhere(check)
    if "without" in request.node.name:
        signed_in.reload()
    expect(signed_in.get_by_text("Every sealed entry is there")).to_be_visible(timeout=10_000)
    with signed_in.expect_download() as download:
        signed_in.get_by_role("button", name="Download").click()
    download.value.save_as(tmp_path / "log.zip")
    assert verify.check(verify.Bundle(tmp_path / "log.zip")).verdict == "OK"


def test_one_entry_is_followed_to_the_root(signed_in: Page) -> None:
    signed_in.goto("/w/acme/audit/?q=action:fact.added")
    signed_in.locator("tbody details summary").first.click()
    signed_in.get_by_role("link", name="Verify", exact=True).first.click()
    expect(signed_in.get_by_text("in the log", exact=True)).to_be_visible()
