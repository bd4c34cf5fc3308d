"""Money from purchase to payout: pages, dashboard, export and weekly summary show the same sums."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from email.message import EmailMessage
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from portal.clock import utcnow
from portal.events.weeks import latest_due_week
from tests.journeys.running import RunningPortal
from tests.journeys.test_events import GRACE, mail_about, mails, make_token, send_event, sign_up, text_of
from tests.journeys.test_owner import fill_rehearsal, save


@pytest.fixture
def portal(tmp_path: Path, seeded: Path) -> Iterator[RunningPortal]:
    """A running portal that collects no events, as one affiliate gets more of them here than in an hour."""
    running = RunningPortal(tmp_path / "instance", SIGNET_EVENT_EMAILS_PER_HOUR="40")
    with running.running_with(seeded):
        yield running


def test_a_purchase_is_refunded_in_part_approved_and_paid_and_another_is_declined(
    portal: RunningPortal, log_in: Page
) -> None:
    page = log_in
    fill_rehearsal(page)
    save(page)
    sign_up(page, portal)
    token = make_token(page, portal)

    def report(key: str, event: str, **data: str) -> None:
        body = {"event": event, "affiliate": {"email": GRACE}, "data": {"currency": "EUR", **data}}
        assert send_event(portal, token, key, body)[0] == 201

    report("1", "purchase", order="C-1", amount="1200.5", commission="120.5")
    report("2", "purchase", order="C-2", amount="50.00", commission="5.00")
    report("3", "purchase", order="C-3", amount="10.00", commission="1.25")
    report("4", "refund", order="C-1", commission="20.50")
    report("5", "purchase", order="C-2", amount="50.00", commission="5.00")  # under another key
    assert "20.50 EUR" in text_of(mail_about(portal, "Part of an order was refunded"))

    page.goto(f"{portal.base}/commissions")
    expect(page.locator("main")).to_contain_text("106.25 EUR")
    for order in ("C-1", "C-3"):
        page.get_by_label(f"Select order {order}").check()
    page.get_by_role("button", name="Approve selected commissions").click()
    expect(page.get_by_role("heading", name="Approve 2 commissions")).to_be_visible()
    page.get_by_role("button", name="Yes, approve them").click()
    expect(page.locator("body")).to_contain_text("2 commissions are approved.")
    page.get_by_label("Select order C-2").check()
    page.get_by_role("button", name="Decline selected commissions").click()
    page.get_by_label("Reason").fill("The order was a test.")
    page.get_by_role("button", name="Yes, decline").click()
    expect(page.locator("body")).to_contain_text("One commission is declined.")
    mail_about(portal, "The order was a test.")

    page.get_by_role("link", name="Decide").first.click()
    page.get_by_label("Select order C-2").check()
    page.get_by_role("button", name="Selected are the same purchases").click()
    page.get_by_role("button", name="Yes, ignore").click()
    expect(page.locator("body")).not_to_contain_text("reported an order twice")

    report("6", "payout", amount="100.00", order="C-1", reference="PAY-C1")
    paid = mail_about(portal, "PAY-C1")
    assert "on their way" in str(paid["Subject"])
    sums = ("0.00 EUR", "1.25 EUR", "100.00 EUR")  # pending, approved, paid

    page.goto(f"{portal.base}/commissions?state=approved")
    balance = page.locator("table", has_text="All affiliates together")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    file = Path(download.value.path()).read_text(encoding="utf-8-sig")
    rows = {(row["Order"], row["Status"]): row["Left"] for row in csv.DictReader(io.StringIO(file))}
    assert rows == {
        ("C-1", "approved"): "100.00",
        ("C-2", "declined"): "0.00",
        ("C-2", "dismissed"): "0.00",
        ("C-3", "approved"): "1.25",
    }
    for amount in sums:
        expect(balance).to_contain_text(amount)
    welcome = next(mail for mail in mails(portal) if "/affiliate/" in text_of(mail))
    page.goto(re.search(r"http://\S+/affiliate/[A-Za-z0-9_-]+", text_of(welcome)).group())  # type: ignore[union-attr]
    balance = page.locator("table", has_text="Your balance")
    for amount in sums:
        expect(balance).to_contain_text(amount)
    orders = page.locator("table", has_text="Your orders")
    for state in ("Paid", "Declined", "Approved", "The order was a test."):
        expect(orders).to_contain_text(state)

    _let_the_week_end(portal)
    summary = text_of(_weekly_summary(page, portal))
    assert sum(Decimal(left) for left in rows.values()) == Decimal("101.25")
    assert "Commission, after refunds and declines: 101.25 EUR" in summary
    assert "Paid out: 100.00 EUR" in summary
    assert "Purchases: 3" in summary


def _let_the_week_end(portal: RunningPortal) -> None:
    """Move what has happened into the last week whose summary is due, as if time had passed since."""
    with closing(sqlite3.connect(portal.instance / "portal.sqlite", timeout=60)) as database:
        (zone,) = database.execute("SELECT time_zone FROM account WHERE slug = 'brightleaf'").fetchone()
        now = utcnow()
        back = now - latest_due_week(now, zone).ends_at + timedelta(days=1)
        columns = {"account": "created_at", "affiliate": "created_at", "ledger_entry": "occurred_at"}
        for table, column in columns.items():
            for id_, text in database.execute(f"SELECT id, {column} FROM {table}").fetchall():
                moved = str(datetime.fromisoformat(text) - back)
                database.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (moved, id_))
        database.commit()


def _weekly_summary(page: Page, portal: RunningPortal) -> EmailMessage:
    """Return the affiliate's summary. The owner sends it where it was due more than a day ago, as no worker ran then."""

    def left() -> bool:
        return any(str(mail["Subject"]).startswith("Your week with") for mail in mails(portal))

    def is_skipped() -> bool:
        page.goto(f"{portal.base}/commissions")
        return "were not sent" in page.content()

    portal.wait_for(lambda: left() or is_skipped())
    if not left():
        page.get_by_role("link", name="Send them now").click()
        page.get_by_role("button", name="Send summaries now").click()
        expect(page.locator("body")).to_contain_text("The summaries are on their way.")
    return mail_about(portal, "Commission, after refunds and declines")
