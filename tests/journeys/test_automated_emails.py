"""An owner edits the text of a notice, previews it, sends it to herself, and an affiliate receives it."""

from __future__ import annotations

import re
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
    page.get_by_role("button", name="Save rules").click()
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
    page.get_by_role("button", name="Send test email").click()
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
    assert bought.evaluate("row => row.offsetHeight") < 56  # one line


MAILCHIMP_SUBJECT = "Welcome to the club, *|FNAME|*"
MAILCHIMP = """<!--[if mso]><table><tr><td><![endif]-->
<div style="display:none">Preview words</div>
<table bgcolor="#eeeeee" cellpadding="8"><tr><td>
<p>Hello {{&nbsp;first_name&nbsp;}} *|IF:LNAME|*of house *|LNAME|**|END:IF|*,</p>
<p>your code is *|REFERRAL_CODE|*. <a href="*|REFERRAL_URL|*">Your link</a>, <a href="www.brightleaf.example">our shop</a></p>
<p><a href="*|UNSUB|*">Unsubscribe</a></p>
</td></tr></table>
<!--[if mso]></td></tr></table><![endif]-->"""


def test_a_text_brought_from_mailchimp_is_repaired_and_arrives_right(
    portal: RunningPortal, log_in: Page
) -> None:
    page = log_in
    fill_rehearsal(page)
    save(page)
    approve_by_hand(page, portal)
    page.goto(f"{portal.base}/automated-emails/approved")
    page.locator("[name=subject]").fill(MAILCHIMP_SUBJECT)
    page.locator("#editor [name=html]").fill(MAILCHIMP)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".error-summary")).to_contain_text("*|REFERRAL_URL|*")
    expect(page.locator(".error-summary")).to_contain_text("write https://www.brightleaf.example.")
    page.get_by_role("button", name="Replace all").click()
    expect(page.locator(".flashes")).to_contain_text("nothing is saved yet")
    expect(page.locator(".flashes")).to_contain_text("{{&nbsp;first_name&nbsp;}} became {{ first_name }}")
    expect(page.locator("[name=subject]")).to_have_value("Welcome to the club, {{ first_name }}")

    page.get_by_role("button", name="Save", exact=True).click()
    asked = page.locator(".error-summary")
    expect(asked).to_contain_text("the hidden text “Preview words”: recipients would not see it")
    expect(asked).to_contain_text("a comment for Outlook: Signet adds its own layout for Outlook.")
    page.get_by_role("button", name="Save anyway").click()
    expect(page.locator(".flashes")).to_contain_text("Saved as version 1. It is sent from now on.")

    sign_up(page, portal)
    page.goto(f"{portal.base}/affiliates")
    page.get_by_role("link", name="Grace Hopper").click()
    page.get_by_role("button", name="Approve").click()
    mail = find_mail(portal, GRACE, "your code is")
    assert str(mail["Subject"]) == "Welcome to the club, Grace"
    words = text_of(mail)
    assert "Hello Grace of house Hopper, your code is" in words
    assert f"Your link ({portal.base}/r/" in words
    assert "our shop (https://www.brightleaf.example)" in words
    html = mail.get_body(("html",)).get_content()
    for foreign in ("*|", "|*", "{{", "&nbsp;first", "Preview words"):
        assert foreign not in html + words


def test_a_text_is_written_without_html_and_arrives(portal: RunningPortal, log_in: Page) -> None:
    page = log_in
    fill_rehearsal(page)
    save(page)
    approve_by_hand(page, portal)
    page.goto(f"{portal.base}/automated-emails/approved")
    page.get_by_role("button", name="Write without HTML").click()
    field = page.locator("textarea[name=markdown]")
    expect(field).to_have_value(re.compile("^# You are in"))
    field.fill("Come in\n\nthe greenhouse is open.\nIt is warm, ")
    field.press("Control+End")
    page.get_by_role("button", name="first_name", exact=True).click()
    field.evaluate("field => field.setSelectionRange(0, 7)")
    page.get_by_role("button", name="Heading", exact=True).click()
    expect(page.locator("#preview")).to_contain_text("It is warm, Ada")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".flashes")).to_contain_text("It is sent from now on.")
    expect(field).to_have_value("# Come in\n\nthe greenhouse is open.\nIt is warm, {{ first_name }}")

    sign_up(page, portal)
    page.goto(f"{portal.base}/affiliates")
    page.get_by_role("link", name="Grace Hopper").click()
    page.get_by_role("button", name="Approve").click()
    mail = find_mail(portal, GRACE, "the greenhouse is open")
    plain = mail.get_body(("plain",)).get_content()
    assert "the greenhouse is open.\nIt is warm, Grace" in plain.replace("\r\n", "\n")
    assert ">Come in</h1>" in mail.get_body(("html",)).get_content()
