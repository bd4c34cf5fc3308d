"""A running portal whose pages have content, and the paths of its pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.journeys.conftest import log_in_as_owner
from tests.journeys.running import RunningPortal
from tests.journeys.test_owner import fill_rehearsal, join, save

LOGGED_IN = [
    "/",
    "/settings",
    "/settings/email-preferences",
    "/settings/email-preferences?provider=zoho",
    "/settings/set-up",
    "/settings/set-up/mailgun",
    "/settings/set-up/ses",
    "/settings/set-up/rehearsal",
    "/settings/explain",
    "/settings/connect",
    "/settings/connect/microsoft-365",
    "/settings/connect/google-workspace",
    "/settings/connect/by-consent/microsoft",
    "/settings/connect/by-consent/outlook-com",
    "/settings/connect/by-consent/google",
    "/settings/sending-domain",
    "/settings/arrival",
    "/settings/bounces",
    "/settings/bounces/events",
    "/settings/bounces/mailbox",
    "/settings/bounces/mailbox/connect/app",
    "/settings/bounces/mailbox/connect/service-account",
    "/settings/bounces/mailbox/connect/microsoft",
    "/automated-emails",
    "/automated-emails/new-sign-up",
    "/deliveries",
    "/deliveries?status=failed",
    "/deliveries?q=pia",
    "/deliveries/1",
    "/deliveries/2",
    "/deliveries/keep",
    "/incidents",
    "/incidents/waiting",
    "/incidents/alerts",
    "/incidents/limits",
    "/incidents/when-sending-fails",
    "/events",
    "/affiliates",
    "/affiliates?q=pia",
    "/affiliates/1",
    "/affiliates/1/edit",
    "/affiliates/decide?decision=decline&all=1",
    "/affiliates/import",
    "/affiliates/import/1",
    "/affiliates/invite",
    "/affiliates/rules",
    "/affiliates/not-written-to",
    "/affiliates/not-written-to/erased",
    "/commissions",
    "/commissions?state=repeated",
    "/programme",
    "/settings/api",
    "/settings/api/play",
    "/settings/api/play?event=payout",
    "/settings/api/reference",
    "/account",
    "/account/shortcuts",
    "/account/is-it-you",
    "/account/email-address",
    "/account/second-factor",
    "/account/second-factor/app",
    "/team",
    "/activity",
    "/operator/accounts",
    "/operator/outbox",
    "/rehearsal/inbox",
    "/rehearsal/faults",
    "/no-such-page",
]
PUBLIC = [
    "/log-in",
    "/register",
    "/forgot-password",
    "/join/brightleaf",
    "/join/brightleaf/thanks",
    "/join/brightleaf/my-page",
    "/affiliate",
]


@contextmanager
def run_filled_portal(folder: Path, seeded: Path, browser: Browser) -> Iterator[RunningPortal]:
    """Run a portal with failed settings, messages and an upload, so that its pages have content."""
    running = RunningPortal(folder / "instance")
    with running.running_with(seeded):
        with browser.new_context() as context:
            page = log_in_as_owner(running, context.new_page())
            join(page, running, "Pia Proper", "recipient-refused@visitors.example")
            upload_affiliates(page, running)
            page.goto(f"{running.base}/settings/email-preferences")
            fill_rehearsal(page, password="wrong")
            save(page)
        yield running


def upload_affiliates(page: Page, portal: RunningPortal) -> None:
    """Upload a file of affiliates, with a line that is not valid, and leave it at its preview."""
    page.goto(f"{portal.base}/affiliates/import")
    rows = b"Name,Email,Code\nAda Long-Named Lovelace,ada@import.example,ADA-1\nBo,bo@,B\n"
    page.locator('input[type="file"]').set_input_files(
        {"name": "people.csv", "mimeType": "text/csv", "buffer": rows}
    )
    page.locator('main form button[type="submit"]').click()
    page.wait_for_url("**/affiliates/import/1*")


def choose_language(page: Page, portal: RunningPortal, code: str) -> None:
    """Choose the language of the pages for the person who is logged in."""
    page.goto(f"{portal.base}/account")
    page.locator("[name=language]").select_option(code)
    page.locator("form", has=page.locator("[name=language]")).locator("button").click()
    page.locator(f"html[lang={code}]").wait_for()
