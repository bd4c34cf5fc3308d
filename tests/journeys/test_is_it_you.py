"""The question Is it you? interrupts an owner who typed settings for long, and nothing typed is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from playwright.sync_api import Browser, expect

from portal import demo
from tests.journeys.conftest import log_in_as_owner
from tests.journeys.running import RunningPortal


def _let_the_proof_end(portal: RunningPortal) -> None:
    """Let the log-in be older than a proof of person lasts."""
    with closing(sqlite3.connect(portal.instance / "portal.sqlite", timeout=60)) as database, database:
        database.execute("UPDATE owner_session SET proved_at = '2026-01-01 00:00:00.000000'")


def test_settings_that_took_long_to_type_are_kept_through_the_question(
    portal: RunningPortal, browser: Browser
) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = log_in_as_owner(portal, context.new_page())
        page.get_by_label("Provider", exact=True).select_option(label="Rehearsal server (this machine)")
        page.get_by_role("button", name="Use this provider").click()
        page.get_by_label("SMTP Username").fill("postmaster@brightleaf.example")
        page.locator("[name=password]").fill("rehearsal")
        _let_the_proof_end(portal)
        page.get_by_role("button", name="Save SMTP Settings").click()

        expect(page.get_by_role("heading", name="Is it you?")).to_be_visible()
        page.get_by_label("Your password for Signet").fill("not this one")
        page.get_by_role("button", name="Yes, it is me").click()
        expect(page.locator(".error-summary")).to_contain_text("This is not your password for Signet.")
        page.get_by_label("Your password for Signet").fill(demo.PASSWORD)
        page.get_by_role("button", name="Yes, it is me").click()

        expect(page.locator(".flashes")).to_contain_text(
            "Nothing was changed yet. Now repeat what you wanted to do."
        )
        expect(page.get_by_label("SMTP Server")).to_have_value("localhost")
        expect(page.get_by_label("SMTP Username")).to_have_value("postmaster@brightleaf.example")
        expect(page.locator("[name=password]")).to_have_value("")
        page.locator("[name=password]").fill("rehearsal")
        page.get_by_role("button", name="Save SMTP Settings").click()
        expect(page.locator("#check")).to_contain_text("All 9 steps passed")

        # A page for such an operation alone asks before anything is typed.
        _let_the_proof_end(portal)
        page.goto(f"{portal.base}/account")
        page.get_by_role("link", name="Change your email address").click()
        page.get_by_label("Your password for Signet").fill(demo.PASSWORD)
        page.get_by_role("button", name="Yes, it is me").click()
        expect(page.get_by_role("heading", name="Change your email address")).to_be_visible()
