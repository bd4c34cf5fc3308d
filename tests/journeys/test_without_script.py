"""The settings page works without JavaScript."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.journeys.conftest import log_in_as_owner
from tests.journeys.running import RunningPortal


def test_settings_are_saved_and_checked_without_javascript(portal: RunningPortal, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = log_in_as_owner(portal, context.new_page())
    page.get_by_label("Provider", exact=True).select_option(label="Rehearsal server (this machine)")
    page.get_by_role("button", name="Use this provider").click()
    expect(page.get_by_label("SMTP Server")).to_have_value("localhost")
    page.get_by_label("SMTP Username").fill("postmaster@brightleaf.example")
    page.locator("[name=password]").fill("rehearsal")
    page.get_by_role("button", name="Save SMTP Settings").click()
    # The page reloads itself until the check has ended.
    expect(page.locator("#check")).to_contain_text("All 9 steps passed")
    expect(page.locator("#sender")).to_contain_text("info@brightleaf.example")
    context.close()
