"""A sign-up to a mailbox that bounces later: log, message, affiliate, suppression, figure, and the lifted suppression."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.journeys.running import RunningPortal
from tests.journeys.test_owner import join

GONE = "gone@visitors.example"


def test_a_mailbox_that_bounces_later_is_suppressed_until_the_owner_lifts_it(
    portal: RunningPortal, log_in: Page
) -> None:
    page = log_in
    join(page, portal, "Gil Gone", GONE)
    portal.wait_for(lambda: portal.arrived(GONE))
    portal.wait_for(lambda: _log(page, portal, "sent") == 1)

    page.goto(f"{portal.base}/rehearsal/inbox")
    page.locator("table a[href*='/rehearsal/inbox/']").first.click()
    page.get_by_label("Provider").select_option(label="Brevo")
    page.get_by_label("What it reports").select_option(label="There is no such mailbox")
    page.get_by_role("button", name="Simulate").click()
    expect(page.get_by_text("Brevo was simulated. Reports: 1, refused: 0.")).to_be_visible()

    portal.wait_for(lambda: _log(page, portal, "hard") == 1)
    expect(page.locator(".figures")).to_contain_text("1 (")
    page.locator("#log a").first.click()
    expect(page.get_by_role("heading", name="Bounced: the mailbox does not exist (5.1.1).")).to_be_visible()
    expect(page.locator(".way")).to_contain_text("reported by Brevo")

    page.goto(f"{portal.base}/affiliates?q={GONE}")
    page.get_by_role("link", name="Gil Gone").first.click()
    expect(page.get_by_text("This address is blocked")).to_be_visible()
    page.locator("summary", has_text="Unblock").click()
    page.get_by_label("Reason for unblocking").fill("The mailbox was made yesterday")
    page.get_by_role("button", name=f"Yes, unblock {GONE}").click()
    expect(page.get_by_text("The mailbox was made yesterday")).to_be_visible()
    expect(page.get_by_text("This address is blocked")).to_have_count(0)


def _log(page: Page, portal: RunningPortal, outcome_or_status: str) -> int:
    """Open the log of one outcome, or of one status, and count the messages to the mailbox."""
    name = "outcome" if outcome_or_status == "hard" else "status"
    page.goto(f"{portal.base}/deliveries?{name}={outcome_or_status}&q={GONE}")
    return page.locator("#log tbody tr").count()
