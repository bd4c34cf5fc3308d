"""The main task: an owner saves settings, they are verified, and affiliates get email from the owner's domain."""

from __future__ import annotations

import re
import signal
import time
from email import message_from_string
from email.policy import default

from playwright.sync_api import Page, expect

from tests.journeys.running import RunningPortal

OWNER = "owner@brightleaf.example"


def fill_rehearsal(
    page: Page, *, password: str = "rehearsal", username: str = "postmaster@brightleaf.example"
) -> None:
    """Choose the rehearsal server and enter a log-in."""
    page.get_by_label("Provider", exact=True).select_option(label="Rehearsal server (this machine)")
    expect(page.get_by_label("SMTP Server")).to_have_value("localhost")
    page.get_by_label("SMTP Username").fill(username)
    change = page.locator("#change-password > summary")
    if change.count():
        change.press("Enter")  # by key: loaded hints may move the line below a pointer
    page.locator("[name=password]").fill(password)


def save(page: Page) -> float:
    """Save settings and wait for the end of their check; return the duration in seconds."""
    started = time.monotonic()
    page.get_by_role("button", name="Save SMTP Settings").click()
    page.locator("#check[data-live=off]").wait_for()
    return time.monotonic() - started


def join(page: Page, portal: RunningPortal, name: str, mailbox: str) -> None:
    """Sign up as an affiliate on the public page."""
    page.goto(f"{portal.base}/join/brightleaf")
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Your email address").fill(mailbox)
    page.get_by_label("I agree").check()
    page.locator("main button[type=submit]").click()
    page.wait_for_url("**/thanks")


def confirm(page: Page, portal: RunningPortal, mailbox: str) -> None:
    """Follow the link in the confirmation email and press the button."""
    portal.wait_for(lambda: portal.arrived(mailbox))
    text = message_from_string(portal.arrived(mailbox)[0], policy=default).get_body(("plain",)).get_content()
    page.goto(re.search(r"http://\S+/confirm-sign-up/[A-Za-z0-9_-]+", text).group())
    page.get_by_role("button", name="Yes, confirm my sign-up").click()
    page.get_by_role("heading", name="Welcome, you are signed up").wait_for()


def settings(page: Page, portal: RunningPortal) -> None:
    page.goto(f"{portal.base}/settings/email-preferences")


def test_verified_settings_are_used_and_affiliates_get_email_from_the_owners_domain(
    portal: RunningPortal, log_in: Page
) -> None:
    page = log_in
    # Without settings the platform sends, with Reply-To of the owner.
    expect(page.locator("#sender")).to_contain_text("affiliates@signet.example")
    join(page, portal, "Mae Early", "mae@visitors.example")
    portal.wait_for(lambda: portal.arrived("mae@visitors.example"))
    first = message_from_string(portal.arrived("mae@visitors.example")[0], policy=default)
    assert str(first["From"]) == "Brightleaf via Signet <affiliates@signet.example>"
    assert first["Reply-To"] == OWNER

    settings(page, portal)
    fill_rehearsal(page)
    save(page)
    for stage in ("Find the server", "TLS and certificate", "Log in", "Sender accepted", "Message accepted"):
        expect(page.locator(".check-step-passed", has_text=stage)).to_have_count(1)
    expect(page.locator("#sender")).to_contain_text("info@brightleaf.example")
    expect(page.locator("#sender")).to_contain_text("localhost:")
    expect(page.locator("#versions")).to_contain_text("Version 1 Live")
    expect(page.get_by_role("button", name="Check and use")).to_have_count(0)
    portal.wait_for(lambda: portal.arrived(OWNER))

    page.get_by_role("link", name="open the rehearsal inbox").click()
    page.get_by_role("link", name=re.compile("Welcome to Brightleaf")).first.click()
    expect(page.frame_locator("iframe").locator("h1")).to_contain_text("Welcome")

    join(page, portal, "Noor Second", "noor@visitors.example")
    confirm(page, portal, "noor@visitors.example")
    portal.wait_for(lambda: len(portal.arrived("noor@visitors.example")) == 2)
    mails = [message_from_string(raw, policy=default) for raw in portal.arrived("noor@visitors.example")]
    [mail] = [mail for mail in mails if "Welcome" in mail["Subject"]]
    assert str(mail["From"]) == "Brightleaf <info@brightleaf.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@brightleaf.example>")
    assert f"{portal.base}/r/" in mail.get_body(("plain",)).get_content()

    # A wrong password: one cause, one fix and the field; the live version keeps sending.
    settings(page, portal)
    fill_rehearsal(page, password="not the word")
    save(page)
    expect(page.locator(".check-step-failed", has_text="Log in")).to_have_count(1)
    expect(page.locator("#diagnosis")).to_contain_text("Who needs to act: You")
    expect(page.get_by_role("link", name="Go to SMTP Password")).to_be_visible()
    expect(page.locator("#check")).to_contain_text("This check did not change how your emails are sent")
    join(page, portal, "Ola Third", "ola@visitors.example")
    portal.wait_for(lambda: portal.arrived("ola@visitors.example"))
    assert "From: Brightleaf <info@brightleaf.example>" in portal.arrived("ola@visitors.example")[0]
    assert "not the word" not in page.content()


def test_mail_waits_while_the_server_rejects_the_settings_and_is_sent_after_the_fix(
    portal: RunningPortal, log_in: Page
) -> None:
    page = log_in
    fill_rehearsal(page, password="wrong from the start")
    save(page)
    page.locator("#diagnosis summary", has_text="Activate anyway").click()
    page.get_by_role("button", name="Yes, use version 1 now").click()
    expect(page.locator("#sender")).to_contain_text("info@brightleaf.example")

    for name in ("una", "dos", "tre"):
        join(page, portal, name.title(), f"{name}@visitors.example")
    settings(page, portal)
    portal.wait_for(lambda: page.reload() and "emails waiting since" in page.content())
    banner = page.locator(".portal-banners", has_text="3 emails waiting since")
    expect(banner).to_contain_text("No email is lost")
    assert not portal.arrived("una@visitors.example")

    fill_rehearsal(page)
    save(page)
    for name in ("una", "dos", "tre"):
        portal.wait_for(lambda name=name: len(portal.arrived(f"{name}@visitors.example")) == 1)
    page.reload()
    expect(page.locator(".portal-banners", has_text="waiting since")).to_have_count(0)


def test_a_worker_killed_during_a_session_loses_nothing(portal: RunningPortal, log_in: Page) -> None:
    page = log_in
    # The server is slow for this recipient, so the worker is killed between claim and settlement.
    join(page, portal, "Sia Slow", "slow@visitors.example")
    page.goto(f"{portal.base}/deliveries")
    portal.wait_for(lambda: page.reload() and "Being sent" in page.locator("#log").inner_text())
    portal.kill("worker", signal.SIGKILL)
    assert not portal.arrived("slow@visitors.example")

    portal.start_part("worker")
    portal.wait_for(lambda: portal.arrived("slow@visitors.example"))
    page.reload()
    portal.wait_for(lambda: page.reload() and "Accepted" in page.locator("#log").inner_text())
    assert len(portal.arrived("slow@visitors.example")) == 1


def test_a_test_email_shows_its_result_on_the_page(portal: RunningPortal, log_in: Page) -> None:
    page = log_in
    page.get_by_role("button", name="Send test email").click()
    result = page.locator("#test[data-live=off]")
    result.wait_for()
    expect(result).to_contain_text("Accepted by localhost:")
    expect(result).to_contain_text("The server’s number for the email")
    portal.wait_for(lambda: len(portal.arrived(OWNER)) == 1)


def test_a_missing_worker_is_shown_on_every_page_and_mail_is_sent_once_one_runs(
    portal: RunningPortal, log_in: Page
) -> None:
    page = log_in
    portal.kill("worker", signal.SIGTERM)
    join(page, portal, "Wil Waits", "wil@visitors.example")
    settings(page, portal)
    expect(page.locator(".portal-banners", has_text="No worker is running")).to_be_visible()
    portal.start_part("worker")
    portal.wait_for(lambda: portal.arrived("wil@visitors.example"))
    portal.wait_for(lambda: page.reload() and "No worker is running" not in page.content())
