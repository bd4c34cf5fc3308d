"""Second factors in a browser: a passkey of a virtual authenticator, an authenticator app, and a page without script."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, CDPSession, Page, expect

from portal import demo
from tests.accounts.apps import App
from tests.journeys.conftest import log_in_as_owner
from tests.journeys.running import RunningPortal

PAGE = "/account/second-factor"


def add_authenticator(page: Page) -> tuple[CDPSession, str]:
    """Give the page an authenticator with a screen lock, which answers at once."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    return session, session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]


def log_out(page: Page) -> None:
    page.get_by_role("button", name="Log out", exact=True).click()
    page.get_by_role("heading", name="Log in").wait_for()


def test_a_passkey_logs_in_without_name_and_password(portal: RunningPortal, log_in: Page) -> None:
    page = log_in
    session, authenticator = add_authenticator(page)
    page.goto(portal.base + PAGE)
    expect(page.get_by_text("Passkeys need JavaScript")).to_be_hidden()
    page.get_by_label("Name of the passkey").fill("Laptop")
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_role("heading", name="Your recovery codes").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as a text file").click()
    assert len(re.findall(r"(?m)^[0-9a-z-]{19}\s*$", download.value.path().read_text())) == 10
    page.get_by_role("link", name="I have saved them").click()
    expect(page.locator("strong", has_text="Laptop")).to_be_visible()
    page.get_by_label("Name of the passkey").fill("Again")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_text("This device already has a passkey of yours")).to_be_visible()

    log_out(page)
    page.get_by_role("button", name="Log in with a passkey").click()
    page.get_by_role("heading", name="Home", exact=True).wait_for()

    log_out(page)
    page.get_by_label("Email address").fill(demo.MAILBOX)
    page.get_by_label("Password", exact=True).fill(demo.PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("heading", name="Second step").wait_for()
    verified = {"authenticatorId": authenticator, "isUserVerified": False}
    session.send("WebAuthn.setUserVerified", verified)
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_text("No passkey was used.")).to_be_visible()
    session.send("WebAuthn.setUserVerified", verified | {"isUserVerified": True})
    page.get_by_role("button", name="Log in with a passkey").click()
    page.get_by_role("heading", name="Home", exact=True).wait_for()

    page.goto(portal.base + PAGE)
    page.get_by_text("Remove", exact=True).click()
    page.get_by_role("button", name="Yes, remove Laptop").click()
    expect(page.get_by_text("The passkey is removed.")).to_be_visible()
    log_out(page)
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_text("This passkey was not accepted.").first).to_be_visible()


def test_an_app_works_without_script_where_no_passkey_is_offered(
    portal: RunningPortal, browser: Browser
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = log_in_as_owner(portal, context.new_page())
    page.goto(portal.base + PAGE)
    expect(page.get_by_role("button", name="Add a passkey")).to_be_hidden()
    expect(page.get_by_text("Passkeys need JavaScript and a current browser")).to_be_visible()
    page.get_by_role("link", name="Set up an authenticator app").click()
    phone = App(page.locator("#app-key").inner_text().replace(" ", ""))
    page.get_by_label("Code of the app").fill(phone.code())
    page.get_by_role("button", name="Finish set-up").click()
    page.get_by_role("heading", name="Your recovery codes").wait_for()
    codes = page.locator("#recovery-codes li").all_inner_texts()
    log_out(page)
    expect(page.get_by_role("button", name="Log in with a passkey")).to_be_hidden()
    page.get_by_label("Email address").fill(demo.MAILBOX)
    page.get_by_label("Password", exact=True).fill(demo.PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_label("Code", exact=True).fill(codes[0])
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("heading", name="Home", exact=True).wait_for()
    context.close()
