"""The settings form in a browser: what is typed stays, a check is stopped, a draft discarded, a provider switched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.running import RunningPortal


@pytest.fixture
def portal(tmp_path: Path, seeded: Path) -> Iterator[RunningPortal]:
    """A portal whose rehearsal server plays two providers. The deadline is longer than the test needs."""
    running = RunningPortal(
        tmp_path / "instance",
        SIGNET_REHEARSAL_PLAYS="smtp.mailgun.org smtp.gmail.com",
        SIGNET_LEASE_SECONDS="600",
        SIGNET_SMTP_DEADLINE="400",
    )
    with running.running_with(seeded):
        yield running


def choose(page: Page, label: str) -> None:
    with page.expect_response(lambda response: "/help?provider=" in response.url):
        page.get_by_label("Provider", exact=True).select_option(label=label)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save SMTP Settings").click()


def test_what_is_typed_is_not_lost_to_another_form_without_a_question(log_in: Page) -> None:
    page = log_in
    page.on("dialog", lambda dialog: dialog.dismiss())
    username = page.get_by_label("SMTP Username")
    username.fill("ada@brightleaf.example")
    with page.expect_event("dialog") as asked:
        page.get_by_role("button", name="Send test email").click()
    assert asked.value.type == "beforeunload"
    expect(username).to_have_value("ada@brightleaf.example")
    save(page)  # refused, because the password is missing
    expect(page.locator("#smtp-settings")).to_have_attribute("data-unsaved", "typed")
    with page.expect_event("dialog"):
        page.get_by_role("link", name="Home", exact=True).first.click()
    expect(page.get_by_label("SMTP Username")).to_have_value("ada@brightleaf.example")


def test_a_slow_check_is_stopped_its_draft_discarded_and_the_provider_switched(log_in: Page) -> None:
    page = log_in
    choose(page, "Mailgun (US, EU)")
    page.get_by_label("SMTP Username").fill("mute@brightleaf.example")
    page.get_by_label("SMTP Password", exact=True).fill("rehearsal")
    save(page)
    running = page.locator(".check-wait")
    expect(running).to_contain_text("Running for")
    expect(running).to_contain_text("up to 400 seconds")

    # What is typed while the check runs stays, also with the cursor elsewhere and after Stop.
    page.locator("#change-password > summary").press("Enter")
    page.get_by_label("New SMTP Password").fill("typed meanwhile")
    page.get_by_label("Domain", exact=True).focus()
    shown = int(running.locator("[data-counter]").inner_text())
    expect(running.locator("[data-counter]")).not_to_have_text(str(shown))
    running.get_by_role("button", name="Stop").click()
    expect(page.locator("#diagnosis")).to_contain_text("You stopped this check.")
    expect(page.get_by_label("New SMTP Password")).to_have_value("typed meanwhile")

    # From Mailgun to Google: choose, take over, save.
    choose(page, "Google (Gmail and Workspace)")
    expect(page.get_by_label("SMTP Server")).to_have_value("smtp.mailgun.org")
    offer = page.locator("[data-hint-for=provider-values]")
    expect(offer).to_contain_text("smtp.mailgun.org belongs to Mailgun")
    offer.get_by_role("button", name="Use its values").click()
    expect(page.get_by_label("SMTP Server")).to_have_value("smtp.gmail.com")
    expect(page.get_by_label("SMTP Username")).to_have_value("")
    expect(offer).to_be_empty()
    expect(page.get_by_label("New SMTP Password")).to_have_value("typed meanwhile")
    page.get_by_label("SMTP Username").fill("ada@brightleaf.example")
    page.get_by_label("New SMTP Password").fill("abcdefghijklmnop")
    rule = page.locator("[data-hint-for=sender-rule]")
    page.get_by_label("Domain", exact=True).focus()
    expect(rule).to_contain_text("Google silently replaces any other")
    save(page)
    expect(page.locator("#sender")).to_contain_text("smtp.gmail.com")
    expect(page.locator("#check")).to_contain_text("Send as ada@brightleaf.example instead")

    # A failed draft is discarded, and the live settings fill the form.
    page.locator("#change-password > summary").press("Enter")
    page.get_by_label("New SMTP Password").fill("qrstuvwxyzabcdef")
    page.get_by_label("SMTP Username").fill("bo@brightleaf.example")
    save(page)
    expect(page.locator("#diagnosis")).to_contain_text("Google did not accept")
    page.locator("#part-draft summary").click()
    page.get_by_role("button", name="Yes, discard").click()
    expect(page.get_by_label("SMTP Username")).to_have_value("ada@brightleaf.example")
    expect(page.locator("#diagnosis")).to_have_count(0)
