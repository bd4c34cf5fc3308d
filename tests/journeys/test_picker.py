"""Choosing a provider with JavaScript: which fields it fills, clears and leaves unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.running import RunningPortal


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory, seeded: Path) -> Iterator[RunningPortal]:
    """One portal for all tests: none of them saves settings."""
    running = RunningPortal(tmp_path_factory.mktemp("picker") / "instance")
    with running.running_with(seeded):
        yield running


def choose(page: Page, label: str) -> None:
    """Choose a provider and wait until its help is loaded."""
    with page.expect_response(lambda response: "/help?provider=" in response.url):
        page.get_by_label("Provider", exact=True).select_option(label=label)


def test_a_provider_fills_in_its_values_and_the_next_one_clears_them(log_in: Page) -> None:
    page = log_in
    host, port, username = (page.get_by_label(name) for name in ("SMTP Server", "SMTP Port", "SMTP Username"))
    choose(page, "SendGrid")
    expect(host).to_have_value("smtp.sendgrid.net")
    expect(username).to_have_value("apikey")

    choose(page, "Zoho Mail")
    expect(port).to_have_value("465")
    expect(page.get_by_label("On: SSL/TLS")).to_be_checked()
    expect(page.locator("[data-couple-hint=port]")).to_be_empty()
    expect(username).to_have_value("")
    expect(host).to_have_value("")  # ten regions, so the host is not known
    page.get_by_text("Which server is mine?").click()
    expect(page.locator("#which-host")).to_contain_text("smtppro.zoho.eu")

    choose(page, "Microsoft 365")
    expect(host).to_have_value("smtp.office365.com")
    expect(page.get_by_label("Off: STARTTLS")).to_be_checked()
    expect(page.locator("[data-hint-for=provider-endings]")).to_contain_text("December 2026")
    expect(page.locator("[data-hint-for=password-steps]")).to_contain_text("Authenticated SMTP")


def test_values_entered_or_chosen_by_hand_stay(log_in: Page) -> None:
    page = log_in
    page.get_by_label("SMTP Server").fill("mail.brightleaf.example")
    page.get_by_label("SMTP Port").fill("2525")
    choose(page, "Zoho Mail")
    expect(page.get_by_label("SMTP Server")).to_have_value("mail.brightleaf.example")
    expect(page.get_by_label("SMTP Port")).to_have_value("2525")
    expect(page.get_by_label("Off: STARTTLS")).to_be_checked()


def test_detect_for_me_is_not_replaced_by_the_provider(log_in: Page) -> None:
    page = log_in
    page.get_by_label("Detect for me").check()
    choose(page, "Zoho Mail")
    expect(page.get_by_label("Detect for me")).to_be_checked()


def test_enter_saves_and_does_not_apply_the_providers_values(log_in: Page) -> None:
    page = log_in
    page.get_by_label("SMTP Server").fill("mail.brightleaf.example")
    page.get_by_label("SMTP Server").press("Enter")
    expect(page.locator("[data-error-summary]")).to_contain_text("Enter the SMTP username.")


def test_enter_in_the_address_finds_the_settings(log_in: Page) -> None:
    page = log_in
    page.get_by_text("I only know my email address").click()
    page.get_by_label("Your email address or domain").fill("ada@gmail.com")
    page.get_by_label("Your email address or domain").press("Enter")
    expect(page.get_by_label("SMTP Server")).to_have_value("smtp.gmail.com")
    expect(page.locator(".flashes")).to_contain_text("gmail.com is a mail domain of Google")
