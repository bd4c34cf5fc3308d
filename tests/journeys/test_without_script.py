"""The settings page and the editor of emails work without JavaScript."""

from __future__ import annotations

import re

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


def test_a_text_is_written_in_both_formats_without_javascript(
    portal: RunningPortal, browser: Browser
) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = log_in_as_owner(portal, context.new_page())
        page.goto(f"{portal.base}/automated-emails/new-sign-up")
        field = page.locator("textarea[name=html]")
        field.fill("Hi {{ first_name }},\nwelcome.\n\nYour link: {{ link }}")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator(".flashes")).to_contain_text("Saved as version 1.")
        expect(field).to_have_value(
            '<p>Hi {{ first_name }},<br>\nwelcome.</p>\n<p>Your link: <a href="{{ link }}">{{ link }}</a></p>'
        )

        page.get_by_role("button", name="Write without HTML").click()
        written = page.locator("textarea[name=markdown]")
        expect(written).to_have_value("Hi {{ first_name }},\nwelcome.\n\nYour link: {{ link }}")
        written.fill("Hi *|FNAME|*,\nwelcome.\n\n- one\n- two\n\n[Shop](www.brightleaf.example)")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator(".error-summary")).to_contain_text("write https://www.brightleaf.example.")
        page.get_by_role("button", name="Replace all").click()
        typed = "Hi {{ first_name }},\nwelcome.\n\n- one\n- two\n\n[Shop](https://www.brightleaf.example)"
        expect(written).to_have_value(typed)
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator(".flashes")).to_contain_text("Saved as version 2.")
        expect(written).to_have_value(typed)

        page.locator("#advanced > summary").click()
        page.get_by_role("button", name="Write in HTML").click()
        expect(field).to_have_value(re.compile(r"<p>Hi \{\{ first_name \}\},<br>"))
        page.goto(f"{portal.base}/automated-emails/new-sign-up")
        expect(written).to_have_value(typed)  # nothing was saved by the change
