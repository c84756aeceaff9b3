"""Passkeys, with an authenticator that the browser plays: added, asked for, and enough to sign in with."""

import pytest
from playwright.sync_api import Browser, Page, expect

PASSWORD = "correct horse battery staple"
pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser, live_hub: object) -> object:
    """A page under a name, since passkeys are bound to names and not to addresses."""
    url = live_hub.url.replace("127.0.0.1", "localhost")  # type: ignore[attr-defined]
    context = browser.new_context(base_url=url)
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    devices = context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    devices.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
            }
        },
    )
    yield page
    context.close()
    assert troubles == []


def sign_in(page: Page, name: str) -> None:
    page.goto("/sign-in/")
    page.get_by_label("Username or e-mail").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page: Page) -> None:
    page.goto("/w/acme/")
    page.locator("summary", has_text="oscar").click()
    page.get_by_role("button", name="Sign out").click()


def test_a_passkey_is_added_and_then_signs_in(page: Page, operator_name: str) -> None:
    sign_in(page, operator_name)
    page.goto("/account/second-factor/webauthn/add/")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name").fill("Laptop")
    page.get_by_label("Use it to sign in without a password, too").check()
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_text("Recovery codes").first).to_be_visible()
    page.goto("/account/second-factor/webauthn/")
    expect(page.get_by_text("Laptop")).to_be_visible()

    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()

    sign_out(page)
    sign_in(page, operator_name)
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    page.get_by_role("button", name="Use a passkey or security key").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
