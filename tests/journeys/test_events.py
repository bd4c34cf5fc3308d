"""Events reach the affiliate by email: simulated on the page, then sent by the shop through the API."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.running import TIMEOUT_S, RunningPortal
from tests.journeys.test_owner import fill_rehearsal, join, save

GRACE = "grace@hopper.example"
SENDER = "Brightleaf <info@brightleaf.example>"
PLAY = "/settings/api/play"


@pytest.fixture
def portal(tmp_path: Path, seeded: Path) -> Iterator[RunningPortal]:
    """A running portal that collects no events, as one affiliate gets more of them here than in an hour."""
    running = RunningPortal(tmp_path / "instance", SIGNET_EVENT_EMAILS_PER_HOUR="20")
    with running.running_with(seeded):
        yield running


def mails(portal: RunningPortal) -> list[EmailMessage]:
    """Return the emails that arrived for the affiliate, oldest first."""
    return [message_from_string(raw, policy=default) for raw in portal.arrived(GRACE)]


def mail_about(portal: RunningPortal, word: str) -> EmailMessage:
    """Wait for the affiliate's email that contains a word; return the only one."""

    def found() -> list[EmailMessage]:
        return [mail for mail in mails(portal) if word in text_of(mail)]

    portal.wait_for(found)
    (mail,) = found()
    return mail


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    return " ".join(body.get_content().split()) if body else ""


def sign_up(page: Page, portal: RunningPortal) -> None:
    """Sign up as an affiliate and follow the link in the confirmation email, if there is one."""
    join(page, portal, "Grace Hopper", GRACE)
    portal.wait_for(lambda: portal.arrived(GRACE))
    link = re.search(r"http://\S+/confirm-sign-up/[A-Za-z0-9_-]+", text_of(mails(portal)[0]))
    if link:
        page.goto(link.group())
        page.locator("main button[type=submit]").first.click()
        page.wait_for_load_state()
        portal.wait_for(lambda: len(portal.arrived(GRACE)) > 1)


def simulate(page: Page, portal: RunningPortal, kind: str, **values: str) -> None:
    """Simulate an event with some values replaced and wait for its result."""
    page.goto(f"{portal.base}{PLAY}?event={kind}")
    for label, value in values.items():
        page.get_by_label(label.capitalize(), exact=False).first.fill(value)
    page.locator("main .button-primary", has_text="Send this event").click()
    expect(page.locator("#result")).to_be_visible()


def make_token(page: Page, portal: RunningPortal) -> str:
    page.goto(f"{portal.base}/settings/api")
    page.get_by_label("Name of the token").fill("Shop")
    page.get_by_role("button", name="Create a token").click()
    token = page.locator("#token").inner_text()
    page.get_by_role("link", name="I have copied it").click()
    expect(page.locator("table")).to_contain_text("Shop")
    assert token not in page.content()
    return token


def send_event(
    portal: RunningPortal, token: str, key: str, body: dict[str, object]
) -> tuple[int, dict[str, str], dict]:
    """Send an event as a shop does."""
    request = urllib.request.Request(
        f"{portal.base}/api/v1/events",
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Idempotency-Key": f'"{key}"',
        },
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        return response.status, dict(response.headers), json.load(response)


def test_events_reach_the_affiliate_from_the_page_and_through_the_api(
    portal: RunningPortal, log_in: Page
) -> None:
    page = log_in
    fill_rehearsal(page)
    save(page)
    expect(page.locator("#sender")).to_contain_text("info@brightleaf.example")
    sign_up(page, portal)

    simulate(page, portal, "purchase", order="B-7001", amount="80.50", commission="20.10", product="Fern")
    expect(page.locator("#result")).to_contain_text(re.compile(r"Purchase for Grace Hopper:\s*2 emails"))
    expect(page.locator("#result")).to_contain_text("Accepted")  # the page updates itself
    expect(page.locator("#curl")).to_contain_text('"order": "B-7001"')
    purchase = mail_about(portal, "B-7001")
    simulate(page, portal, "refund", order="B-7001", commission="20.10", reason="Arrived broken")
    refund = mail_about(portal, "Arrived broken")
    simulate(page, portal, "payout", amount="345.60", reference="PAY-77")
    payout = mail_about(portal, "PAY-77")
    assert [str(mail["From"]) for mail in (purchase, refund, payout)] == [SENDER] * 3
    assert "80.50" in text_of(purchase)
    assert "20.10" in text_of(purchase)
    assert "EUR" in text_of(refund)
    assert "345.60" in text_of(payout)

    page.locator("#result").get_by_role("link", name="Follow its delivery").first.click()
    expect(page.locator("main")).to_contain_text("Accepted")

    page.goto(f"{portal.base}/automated-emails/new-purchase")
    page.get_by_role("button", name=re.compile(r"^Switch .*\boff$")).click()
    simulate(page, portal, "purchase", order="B-7002")
    expect(page.locator("#result")).to_contain_text("Not sent: This email is switched off.")

    token = make_token(page, portal)
    bought = {"order": "B-7003", "amount": "10.00", "currency": "EUR", "commission": "1.00"}
    body = {"event": "purchase", "affiliate": {"email": GRACE}, "data": bought}
    status, _, result = send_event(portal, token, "B-7003", body)
    assert status == 201
    assert {mail["kind"]: mail.get("why") for mail in result["mails"]}["new-purchase"] == "notice-off"
    status, headers, repeated = send_event(portal, token, "B-7003", body)
    assert (status, repeated) == (200, result)
    assert headers["Idempotent-Replayed"] == "true"

    paid = {"amount": "12.00", "currency": "EUR", "reference": "PAY-78"}
    body = {"event": "payout", "affiliate": {"email": GRACE}, "data": paid}
    assert send_event(portal, token, "PAY-78", body)[0] == 201
    assert send_event(portal, token, "PAY-78", body)[0] == 200
    mail_about(portal, "PAY-78")  # one only
    texts = [text_of(mail) for mail in mails(portal)]
    assert not [text for text in texts if "B-7002" in text or "B-7003" in text]
