"""A password stops working during sign-ups: one banner, one alert, no attempts used; after the fix all mail arrives in order."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from email import message_from_string
from email.policy import default

from playwright.sync_api import Page, expect

from tests.journeys.running import TIMEOUT_S, RunningPortal
from tests.journeys.test_owner import OWNER, fill_rehearsal, join, save, settings

_SIGN_UPS = 20


def subjects_to_the_owner(portal: RunningPortal) -> list[str]:
    """Return the subjects of the portal's emails to the owner, but those about other settings."""
    mails = [message_from_string(raw, policy=default) for raw in portal.arrived(OWNER)]
    subjects = [str(mail["Subject"]) for mail in mails if "affiliates@signet.example" in str(mail["From"])]
    return [one for one in subjects if one != "The SMTP settings of your emails were changed"]


def rows(portal: RunningPortal, query: str) -> list[tuple]:
    path = portal.instance / "portal.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=TIMEOUT_S)) as connection:
        return connection.execute(query).fetchall()


def recipients_in_order_of_acceptance(portal: RunningPortal) -> list[tuple]:
    return rows(
        portal,
        "SELECT m.recipient FROM delivery_attempt a JOIN outbox_message m ON m.id = a.message_id "
        "WHERE a.outcome = 'accepted' AND m.recipient LIKE 'robin%' ORDER BY a.started_at, a.id",
    )


def test_a_broken_password_is_one_incident_and_loses_nothing(portal: RunningPortal, log_in: Page) -> None:
    page = log_in
    fill_rehearsal(page)
    save(page)
    expect(page.locator("#sender")).to_contain_text("info@brightleaf.example")
    portal.wait_for(lambda: page.reload() and "Last check passed" in page.content())

    # Activate settings although their check failed.
    settings(page, portal)
    fill_rehearsal(page, username="wrong-password@brightleaf.example")
    save(page)
    page.locator("#diagnosis summary", has_text="Activate anyway").click()
    page.get_by_role("button", name=re.compile("Yes, use version")).click()
    for number in range(_SIGN_UPS):
        join(page, portal, f"Robin {chr(65 + number)}lder", f"robin{number}@visitors.example")
    portal.wait_for(lambda: rows(portal, "SELECT id FROM incident WHERE is_open"))

    settings(page, portal)
    banner = page.locator(".portal-banners .banner-danger")
    expect(banner).to_have_count(1)
    expect(banner).to_contain_text("20 emails waiting since")
    expect(banner).to_contain_text("(535)")
    portal.wait_for(lambda: len(subjects_to_the_owner(portal)) == 1)
    banner.get_by_role("link", name="What happened").click()
    expect(page.locator("#diagnosis")).to_contain_text("(535)")
    expect(page.get_by_text("Who needs to act: You")).to_be_visible()
    page.goto(f"{portal.base}/incidents/waiting")
    expect(page.get_by_role("heading", name="20 emails are waiting")).to_be_visible()
    assert rows(
        portal, "SELECT DISTINCT attempts FROM outbox_message WHERE key LIKE 'new-sign-up%' OR status='held'"
    ) == [(0,)]
    assert len(rows(portal, "SELECT id FROM incident")) == 1

    settings(page, portal)
    fill_rehearsal(page)
    save(page)
    portal.wait_for(lambda: portal.arrived(f"robin{_SIGN_UPS - 1}@visitors.example"))
    for number in range(_SIGN_UPS):
        portal.wait_for(lambda number=number: portal.arrived(f"robin{number}@visitors.example"))
        assert len(portal.arrived(f"robin{number}@visitors.example")) == 1
    expected = [(f"robin{number}@visitors.example",) for number in range(_SIGN_UPS)]
    portal.wait_for(
        lambda: recipients_in_order_of_acceptance(portal) == expected
    )  # the table is updated in batches
    portal.wait_for(lambda: len(subjects_to_the_owner(portal)) == 2)
    assert "works again" in subjects_to_the_owner(portal)[-1]
    settings(page, portal)
    expect(page.locator(".portal-banners .banner-danger")).to_have_count(0)
    page.goto(f"{portal.base}/incidents")
    expect(page.get_by_text("No open incident")).to_be_visible()
