"""What administrators come for, done in a browser, with JavaScript and without: dead letters, keys, the log."""

import csv
import io
import re
from pathlib import Path

import httpx
import pytest
from browser.conftest import PASSWORD
from console_memory import Remembered
from playwright.sync_api import Browser, Page, expect

from audit.actors import Actor
from facts.models import Extraction, ExtractionState
from memoryhub.access.models import Agent, Role, Workspace
from memoryhub.access.people import user_create
from memoryhub.access.services import NewKey
from memoryhub.core.tenancy import in_workspace

pytestmark = pytest.mark.browser


@pytest.fixture
def operator_name(live_hub: object, workspace: Workspace, actor: Actor) -> str:
    """Here an administrator signs in."""
    user, _ = user_create(username="ada", workspace=workspace, role=Role.ADMIN, actor=actor, password=PASSWORD)
    return user.username


@pytest.fixture
def dead_letters(remembered: Remembered, workspace: Workspace) -> None:
    with in_workspace(workspace.id):
        for place, error in enumerate(("server_error", "server_error", "refused")):
            Extraction.objects.create(
                workspace=workspace,
                subject=remembered.subject,
                session=remembered.session,
                first_index=place,
                last_index=place,
                indexes=[place],
                state=ExtractionState.DEAD,
                error=error,
                attempts=5,
            )


@pytest.fixture
def browser(dead_letters: None, agent_key: NewKey, browser: Browser) -> Browser:
    return browser


def test_replaying_dead_letters(signed_in: Page) -> None:
    signed_in.goto("/w/acme/dead-letters/")
    rows = signed_in.locator("table.list > tbody > tr")
    expect(rows).to_have_count(3)
    rows.nth(0).get_by_role("checkbox").check()
    signed_in.get_by_role("button", name="Replay the ticked").click()
    signed_in.wait_for_url("**/dead-letters/replays/**")
    expect(signed_in.get_by_role("heading", level=1)).to_be_visible()
    signed_in.goto("/w/acme/dead-letters/")
    expect(rows).to_have_count(2)


def test_a_revoked_key_is_refused_at_once(signed_in: Page, live_hub: object, agent: Agent, agent_key: NewKey) -> None:
    def answer() -> int:
        headers = {"Authorization": f"Bearer {agent_key.secret}"}
        return httpx.get(f"{live_hub.url}/api/v1/audit", headers=headers).status_code  # type: ignore[attr-defined]

    assert answer() == 200
    signed_in.goto("/w/acme/agents/")
    signed_in.get_by_role("link", name="Revoke").first.click()
    signed_in.get_by_label("Reason").select_option(index=1)
    signed_in.locator("main form").get_by_role("button", name="Revoke the key").click()
    expect(signed_in.get_by_text("revoked or expired").first).to_be_visible()
    assert answer() == 401


def test_searching_the_log_and_taking_it_away(signed_in: Page, tmp_path: Path) -> None:
    signed_in.goto("/w/acme/audit/")
    search = signed_in.get_by_label("Search the log")
    search.fill("actr:assistant")
    signed_in.get_by_role("button", name="Search", exact=True).click()
    expect(signed_in.get_by_role("alert")).to_contain_text("Did you mean actor:?")
    search.fill("actor:assistant action:fact.")
    signed_in.get_by_role("button", name="Search", exact=True).click()
    rows = signed_in.locator("table.list tbody tr[data-row]")
    expect(rows).to_have_count(2)
    expect(signed_in).to_have_url(re.compile("q=actor"))
    with signed_in.expect_download() as download:
        signed_in.get_by_role("link", name="CSV").click()
    file = tmp_path / "log.csv"
    download.value.save_as(file)
    lines = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
    assert {line["action"] for line in lines} == {"fact.added", "fact.superseded"} and len(lines) == 2
