"""All hostile texts in the pages of a real browser: nothing runs, nothing is blocked because nothing tries."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from browser.conftest import PASSWORD
from django.utils import timezone
from memory_samples import learn, say
from payloads import PAYLOADS, packed
from playwright.sync_api import Browser, BrowserContext, Page, expect

from audit.actors import Actor
from facts.models import Extraction, ExtractionState, FactType, Source
from facts.services import FactInput, facts_record
from memoryhub.access.models import Agent, Role, Workspace
from memoryhub.access.people import invitation_create, user_create
from memoryhub.core.tenancy import in_workspace
from sessions.models import Session, TurnRole

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]

# Kept by the page itself, before any script of it runs.
WATCH = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.__violations.push(event.violatedDirective));
"""
FOREIGN = (  # fmt: skip
    "iframe, object, embed, base, marquee, plaintext, main dialog:not(#jump, #keys), style, img, video, audio, math, "
    "body script:not([src])"
)


@dataclass(frozen=True)
class Places:
    """Addresses of pages that hold all texts between them."""

    urls: tuple[str, ...]
    subject: str


@pytest.fixture
def places(live_hub: object, workspace: Workspace, agent: Agent, actor: Actor, remembered: Any) -> Places:
    user_create(username="ada", workspace=workspace, role=Role.ADMIN, actor=actor, password=PASSWORD)
    invitation_create(workspace=workspace, role=Role.VIEWER, actor=actor)
    texts = [one for one in PAYLOADS if one[:200].strip()]
    turns = say(agent, *texts, session="said", user=packed(256)[0]).turns
    waiting = say(agent, "Prices", session="waiting", user="hostile", role=TurnRole.TOOL).turns[0]
    with in_workspace(workspace.id):
        session = Session.objects.select_related("subject").get(external_id="said")
        for start in range(0, len(texts), 100):
            facts = [
                FactInput(FactType.GOAL, text[:200], text, attribute=f"n{place}", mentions=(text[:200],), turn=turns[0])
                for place, text in enumerate(texts[start : start + 100], start)
            ]
            written = facts_record(
                subject=session.subject, facts=facts, actor=actor, source=Source.OPERATOR, approved=True
            )
        Extraction.objects.create(
            workspace=workspace,
            subject=session.subject,
            session=session,
            first_index=0,
            last_index=0,
            indexes=[0],
            state=ExtractionState.DEAD,
            error="server_error",
            finished_at=timezone.now(),
        )
    for number, text in enumerate(packed(4_000)):
        learn(agent, text, user="hostile", entity=packed(200)[number], attribute=f"n{number}", turn=waiting)
    inside = [f"subjects/{session.subject_id}/{part}" for part in ("", "sessions/", "preview/")]
    inside += [
        f"sessions/{session.id}/",
        f"facts/{written[-1].version.fact_id}/",
        f"facts/{written[3].version.fact_id}/",
    ]
    inside += ["", "subjects/", "review/", "audit/", "dead-letters/", "agents/", "people/", "settings/"]
    subject = f"/w/acme/subjects/{session.subject_id}/"
    return Places((*(f"/w/acme/{one}" for one in inside), "/api/docs/", "/account/sign-ins/"), subject)


@pytest.fixture
def browser(places: Places, browser: Browser) -> Browser:
    return browser


@pytest.fixture
def context(browser: Browser, live_hub: Any) -> Iterator[BrowserContext]:
    made = browser.new_context(base_url=live_hub.url, color_scheme="light")
    made.add_init_script(WATCH)
    yield made
    made.close()


@pytest.fixture
def troubles() -> list[str]:
    return []


@pytest.fixture
def watched(context: BrowserContext, troubles: list[str]) -> Page:
    """A page of an administrator who is signed in. Whatever happens that should not stands in `troubles`."""
    page = context.new_page()

    def dismiss(dialog: Any) -> None:
        troubles.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("popup", lambda popup: troubles.append(f"a window: {popup.url}"))
    page.on("request", lambda request: None if "127.0.0.1" in request.url else troubles.append(request.url))
    page.goto("/")
    page.get_by_label("Username or e-mail").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="Overview").wait_for()
    return page


def assert_inert(page: Page, troubles: list[str]) -> None:
    # What is folded is shown, and what comes by htmx takes the place of what came with the page.
    page.evaluate("for (const one of document.querySelectorAll('main details')) one.open = true")
    page.mouse.move(400, 400)
    assert page.evaluate("[window.__hit, window.__violations]") == [None, []], page.url
    assert page.locator(f"#main :is({FOREIGN})").count() == 0, page.url
    assert troubles == [], page.url


def test_nothing_runs(watched: Page, places: Places, troubles: list[str]) -> None:
    for url in places.urls:
        watched.goto(url)
        if url == "/api/docs/":
            expect(watched.get_by_role("heading", name="MemoryHub API")).to_be_visible()
        assert_inert(watched, troubles)
        if url.startswith("/w/"):
            watched.evaluate("() => htmx.ajax('GET', location.href, {target: '#main', swap: 'innerHTML'})")
            assert_inert(watched, troubles)
    watched.emulate_media(color_scheme="dark")
    watched.goto(places.subject)
    assert_inert(watched, troubles)


def test_what_is_previewed_and_refused_runs_nothing(watched: Page, places: Places, troubles: list[str]) -> None:
    watched.goto(f"{places.subject}preview/")
    watched.get_by_label("Message").fill(packed(4_000)[0])
    watched.get_by_label("Threshold", exact=True).fill("0")
    watched.get_by_role("button", name="Preview").or_(watched.get_by_role("button", name="Show")).first.click()
    watched.wait_for_load_state("networkidle")
    assert_inert(watched, troubles)
    for text in packed(200)[:6]:
        watched.goto("/w/acme/subjects/")
        watched.get_by_label("User id", exact=True).fill(text)
        watched.keyboard.press("Enter")
        watched.wait_for_load_state("networkidle")
        assert_inert(watched, troubles)


def test_scripts_may_write_no_handlers_into_a_page_not_even_in_templates(watched: Page) -> None:
    """The second line, were a text ever not escaped: Trusted Types look into what htmx wraps its answers in."""
    write = "(markup) => { document.createElement('div').innerHTML = markup }"
    for markup in (
        "<img src=x onerror=window.__hit=1>",
        "<template><img src=x onerror=window.__hit=1></template>",
        "<template><template><a href='javascript:window.__hit=1'>x</a></template></template>",
    ):
        with pytest.raises(Exception, match="refused|TrustedHTML"):
            watched.evaluate(write, markup)
    watched.evaluate(write, "<template><p title=x>harmless</p></template>")
    assert watched.evaluate("window.__hit") is None
