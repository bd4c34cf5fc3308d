"""A German programme and one from right to left, from the programme's settings to the inbox, the dashboard and the summary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.running import RunningPortal
from tests.journeys.test_commissions import _let_the_week_end
from tests.journeys.test_events import make_token, send_event, text_of
from tests.journeys.test_owner import fill_rehearsal, save

NOA = "noa@levi.example"
FOOTER = "Du bekommst diese E-Mail, weil du Partner von Brightleaf bist."
ENGLISH = re.compile(r"\b(You|you|your|the|and|with|from|this|email|emails|Order|orders|Commission|Choose)\b")
HEBREW_TEXT = (
    "<p>שלום {{ first_name }},</p>\n<p>הקוד שלך הוא {{ code }} (חדש!).</p>\n"
    '<p><a href="{{ dashboard }}">לוח הבקרה שלך</a></p>'
)


@pytest.fixture
def portal(tmp_path: Path, seeded: Path) -> Iterator[RunningPortal]:
    """A running portal that collects no events, as one affiliate gets more of them here than in an hour."""
    running = RunningPortal(tmp_path / "instance", SIGNET_EVENT_EMAILS_PER_HOUR="40")
    with running.running_with(seeded):
        yield running


def _speak(page: Page, portal: RunningPortal, language: str) -> None:
    page.goto(f"{portal.base}/programme")
    page.locator("[name=language]").select_option(label=language)
    page.locator("[name=shop_url]").fill("https://brightleaf.example/shop")
    page.get_by_role("button", name="Save settings").click()
    expect(page.locator(".flashes")).to_be_visible()


def _sign_up(page: Page, portal: RunningPortal, name: str) -> None:
    """Sign up and confirm, whatever the language of the page."""
    page.goto(f"{portal.base}/join/brightleaf")
    page.locator("[name=name]").fill(name)
    page.locator("[name=mailbox]").fill(NOA)
    page.locator("main input[type=checkbox]").check()
    page.locator("main button[type=submit]").click()
    page.wait_for_url("**/thanks")
    portal.wait_for(lambda: _mails(portal))
    page.goto(re.search(r"http://\S+/confirm-sign-up/[A-Za-z0-9_-]+", text_of(_mails(portal)[0])).group())  # type: ignore[union-attr]
    page.locator("main button[type=submit]").first.click()
    portal.wait_for(lambda: len(_mails(portal)) > 1)


def _mails(portal: RunningPortal) -> list[EmailMessage]:
    return [message_from_string(raw, policy=default) for raw in portal.arrived(NOA)]


def _mail_about(portal: RunningPortal, word: str) -> EmailMessage:
    def found() -> list[EmailMessage]:
        return [mail for mail in _mails(portal) if word in f"{mail['Subject']} {text_of(mail)}"]

    portal.wait_for(found)
    return found()[0]


def _html_of(mail: EmailMessage) -> str:
    body = mail.get_body(("html",))
    assert body is not None
    return str(body.get_content())


def _open_dashboard(page: Page, portal: RunningPortal) -> None:
    links = (re.search(r"http://\S+/affiliate/[A-Za-z0-9_-]+", text_of(mail)) for mail in _mails(portal))
    page.goto(next(link.group() for link in links if link))


def _expect_no_wider_than_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def _words(page: Page) -> str:
    """Return the visible words of the page, without names, addresses and codes."""
    words = page.locator("body").inner_text()
    return re.sub(r"https?://\S+|\S+@\S+|Fern from the greenhouse", "", words)


def test_a_german_programme_is_german_from_settings_to_summary(portal: RunningPortal, log_in: Page) -> None:
    page = log_in
    fill_rehearsal(page)
    save(page)
    _speak(page, portal, "Deutsch")
    token = make_token(page, portal)
    _sign_up(page, portal, "Noa Levi")
    confirmation = _mails(portal)[0]
    assert str(confirmation["Subject"]) == "Bestätige deine Anmeldung bei Brightleaf"

    for key, event, data in (
        ("1", "purchase", {"order": "D-1", "amount": "1200.5", "commission": "120.5", "product": "Fern"}),
        ("2", "refund", {"order": "D-1", "commission": "20.5"}),
        ("3", "commission_approved", {"order": "D-1", "commission": "100.00"}),
        ("4", "payout", {"amount": "100", "reference": "PAY-D1", "method": "SEPA"}),
    ):
        body = {"event": event, "affiliate": {"email": NOA}, "data": {"currency": "EUR", **data}}
        assert send_event(portal, token, key, body)[0] == 201
    purchase = _mail_about(portal, "1.200,50")
    assert str(purchase["Subject"]) == "Du hast 120,50 EUR bei Brightleaf verdient"
    assert '<html lang="de" dir="ltr"' in _html_of(purchase)
    assert FOOTER in text_of(purchase)
    for word in ("20,50 EUR", "PAY-D1", "D-1"):
        assert not ENGLISH.search(re.sub(r"https?://\S+", "", text_of(_mail_about(portal, word))))

    _open_dashboard(page, portal)
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("table", has_text="Dein Guthaben")).to_contain_text("100,00 EUR")
    expect(page.locator("table", has_text="Deine Bestellungen")).to_contain_text("120,50 EUR")
    assert not ENGLISH.search(_words(page)), _words(page)
    _expect_no_wider_than_a_phone(page)

    _let_the_week_end(portal)

    def summary() -> list[EmailMessage]:
        return [mail for mail in _mails(portal) if str(mail["Subject"]).startswith("Deine Woche mit")]

    def is_skipped() -> bool:
        page.goto(f"{portal.base}/commissions")
        return "were not sent" in page.content()

    portal.wait_for(lambda: summary() or is_skipped())
    if not summary():
        page.get_by_role("link", name="Send them now").click()
        page.get_by_role("button", name="Send summaries now").click()
        portal.wait_for(summary)
    (mail,) = summary()
    assert str(mail["Subject"]) == "Deine Woche mit Brightleaf: 0 Leads, 1 Kauf"
    assert re.search(r"vom \d{1,2}\. \w+ \d{4} bis zum \d{1,2}\. \w+ \d{4}", text_of(mail))
    assert "100,00 EUR" in text_of(mail)
    assert FOOTER in text_of(mail)
    assert "Abbestellen: " in text_of(mail)
    assert not ENGLISH.search(re.sub(r"https?://\S+", "", text_of(mail)))


def test_a_text_from_right_to_left_arrives_right_and_the_dashboard_fits_a_phone(
    portal: RunningPortal, log_in: Page
) -> None:
    page = log_in
    fill_rehearsal(page)
    save(page)
    _speak(page, portal, "עברית (own texts only)")
    page.goto(f"{portal.base}/automated-emails/new-sign-up")
    page.locator("[name=subject]").fill("ברוך הבא, {{ first_name }}!")
    page.locator("#editor [name=html]").fill(HEBREW_TEXT)
    expect(page.locator("#preview")).to_contain_text("ברוך הבא, Ada!")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".flashes")).to_contain_text("It is sent from now on.")
    expect(page.locator("#editor [name=html]")).to_have_value(HEBREW_TEXT)

    _sign_up(page, portal, "נועה לוי")
    mail = _mail_about(portal, "שלום נועה")
    assert str(mail["Subject"]) == "ברוך הבא, נועה!"
    html = _html_of(mail)
    assert '<html lang="he" dir="rtl"' in html
    assert "(חדש!)" in text_of(mail)
    assert "You receive this email because" in text_of(mail)
    page.goto("about:blank")
    page.set_content(html)
    first = page.get_by_text("שלום נועה,", exact=True)
    assert first.evaluate("one => getComputedStyle(one).direction") == "rtl"
    assert first.evaluate("one => getComputedStyle(one).textAlign") in ("start", "right")

    _open_dashboard(page, portal)
    expect(page.locator("h1")).to_contain_text("נועה")
    _expect_no_wider_than_a_phone(page)
    page.get_by_role("link", name="Choose which emails you get").click()
    page.get_by_label("Once a day").check()
    page.get_by_role("button", name="Save choice").click()
    expect(page.locator("body")).to_contain_text("Your choice is saved.")
    _expect_no_wider_than_a_phone(page)
