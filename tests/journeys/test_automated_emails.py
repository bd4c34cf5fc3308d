"""An owner edits the text of a notice, previews it, sends it to herself, and an affiliate receives it."""

from __future__ import annotations

from email import message_from_string
from email.message import EmailMessage
from email.policy import default

from playwright.sync_api import Page, expect

from tests.journeys.running import RunningPortal
from tests.journeys.test_events import GRACE, SENDER, sign_up, simulate, text_of
from tests.journeys.test_owner import OWNER, fill_rehearsal, save

TEXT = "Come in, {{ first_name }}: the greenhouse is open."


def approve_by_hand(page: Page, portal: RunningPortal) -> None:
    """Switch the automatic approval of sign-ups off."""
    page.goto(f"{portal.base}/affiliates/rules")
    page.locator("[name=auto_approve]").uncheck()
    page.get_by_role("button", name="Save the rules").click()
    expect(page.locator("[name=auto_approve]")).not_to_be_checked()


def find_mail(portal: RunningPortal, mailbox: str, word: str) -> EmailMessage:
    """Wait for an email to this mailbox that contains a word; return the only one."""

    def found() -> list[EmailMessage]:
        mails = [message_from_string(raw, policy=default) for raw in portal.arrived(mailbox)]
        return [mail for mail in mails if word in text_of(mail)]

    portal.wait_for(found)
    (mail,) = found()
    return mail


def test_an_edited_notice_is_previewed_tested_and_sent(portal: RunningPortal, log_in: Page) -> None:
    page = log_in
    fill_rehearsal(page)
    save(page)
    approve_by_hand(page, portal)
    sign_up(page, portal)
    assert "application" in text_of(find_mail(portal, GRACE, "application")).lower()

    page.goto(f"{portal.base}/automated-emails/approved")
    page.locator("[name=subject]").fill("{{ programme }} says yes, {{ first_name }}")
    page.locator("#editor [name=html]").fill(f"<p>{TEXT}</p>")
    expect(page.locator("#preview")).to_contain_text(
        "Brightleaf says yes, Ada"
    )  # the preview follows while typing
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_label("Shown for").select_option(label=f"Grace Hopper · {GRACE}")
    expect(page.locator("#preview")).to_contain_text("Brightleaf says yes, Grace")
    expect(page.locator("#preview")).to_contain_text("info@brightleaf.example")
    page.get_by_role("button", name="Send this to me").click()
    test_email = find_mail(portal, OWNER, "the greenhouse is open")
    assert str(test_email["From"]) == SENDER

    page.goto(f"{portal.base}/affiliates")
    page.get_by_role("link", name="Grace Hopper").click()
    page.get_by_role("button", name="Approve").click()
    welcome = find_mail(portal, GRACE, "Come in, Grace: the greenhouse is open.")
    assert (str(welcome["From"]), str(welcome["Subject"])) == (SENDER, "Brightleaf says yes, Grace")

    page.goto(f"{portal.base}/automated-emails/new-purchase")
    page.get_by_role("button", name="Switch off").click()
    simulate(page, portal, "purchase", order="B-7004")
    page.goto(f"{portal.base}/events")
    bought = page.locator("main tr", has_text="Purchase").first
    expect(bought).to_contain_text("Grace Hopper")
    expect(bought).to_contain_text("switched off")
