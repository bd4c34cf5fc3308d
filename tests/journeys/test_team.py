"""A team in two browsers: roles, a second factor for everyone, the handover of the ownership, and the activity that lists it."""

from __future__ import annotations

import re
from email import message_from_string
from email.policy import default

from playwright.sync_api import Browser, Page, expect

from tests.accounts.apps import App
from tests.journeys.conftest import log_in_as_owner
from tests.journeys.running import RunningPortal
from tests.journeys.test_events import text_of

EVE, PASSWORD = "eve@brightleaf.example", "four plain words together"
_LINK = re.compile(r"http://\S+/team/invitations/\S+")


def link_sent(portal: RunningPortal, number: int) -> str:
    """Return the link of the numbered email to the invited person, which is waited for."""
    portal.wait_for(lambda: len(links_to(portal)) >= number)
    return links_to(portal)[number - 1]


def links_to(portal: RunningPortal) -> list[str]:
    mails = (message_from_string(raw, policy=default) for raw in portal.arrived(EVE))
    found = (_LINK.search(text_of(mail)) for mail in mails)
    return [match.group() for match in found if match]


def set_up_app(page: Page) -> None:
    page.get_by_role("link", name="Set up an authenticator app").click()
    phone = App(page.locator("#app-key").inner_text().replace(" ", ""))
    page.get_by_label("Code of the app").fill(phone.code())
    page.get_by_role("button", name="Finish set-up").click()
    page.get_by_role("heading", name="Your recovery codes").wait_for()
    page.get_by_role("link", name="I have saved them").click()


def test_an_owner_hands_over_to_an_editor_and_the_activity_lists_it_all(
    portal: RunningPortal, browser: Browser
) -> None:
    with browser.new_context() as owners, browser.new_context() as editors:
        owner, editor = log_in_as_owner(portal, owners.new_page()), editors.new_page()

        owner.goto(f"{portal.base}/team")
        owner.get_by_label("Email address").fill(EVE)
        owner.get_by_label("Editor: also changes texts").check()
        owner.get_by_role("button", name="Send invitation").click()
        editor.goto(link_sent(portal, 1))
        expect(editor.get_by_role("heading", name="Join Brightleaf")).to_be_visible()
        editor.get_by_label("Your name").fill("Eve Quill")
        editor.get_by_label("Password", exact=True).fill(PASSWORD)
        editor.get_by_role("button", name="Join", exact=True).click()
        editor.get_by_role("heading", name="Team", exact=True).wait_for()

        # An editor sees the settings and cannot change the server; the address of the form refuses as well.
        editor.goto(f"{portal.base}/settings/email-preferences")
        expect(editor.get_by_role("button", name="Save SMTP Settings")).to_have_count(0)
        refused = editor.request.post(f"{portal.base}/settings/email-preferences", form={"host": "x.example"})
        assert refused.status in {400, 403}
        editor.goto(f"{portal.base}/team")
        expect(editor.get_by_role("button", name="Send invitation")).to_have_count(0)

        owner.goto(f"{portal.base}/account/second-factor")
        set_up_app(owner)
        owner.goto(f"{portal.base}/team")
        owner.locator("summary", has_text="Require a second factor for everyone").click()
        owner.get_by_role("button", name="Yes, require it for everyone").click()
        expect(owner.get_by_text("Everyone in this programme needs a second factor.")).to_be_visible()

        editor.goto(f"{portal.base}/affiliates")
        expect(editor.get_by_role("link", name="Set up an authenticator app")).to_be_visible()
        set_up_app(editor)
        editor.goto(f"{portal.base}/affiliates")
        expect(editor.get_by_role("heading", name="Affiliates", exact=True)).to_be_visible()

        owner.goto(f"{portal.base}/team")
        row = owner.locator("tr", has_text="Eve Quill")
        row.locator("summary", has_text="Change").first.click()
        row.locator("summary", has_text="Hand over ownership").click()
        row.get_by_role("button", name="Yes, offer it to Eve Quill").click()
        editor.goto(link_sent(portal, 2))
        editor.get_by_role("button", name="Accept", exact=True).click()

        editor.goto(f"{portal.base}/activity")
        activity = editor.locator("#activity")
        for action in (
            "Invited a person",
            "Joined the team",
            "Added a second factor",
            "Changed whether everyone needs a second factor",
            "Accepted the ownership",
        ):
            expect(activity.locator("th", has_text=action).first).to_be_visible()
        editor.goto(f"{portal.base}/team")
        expect(editor.locator("tr", has_text="Eve Quill")).to_contain_text("Owner")
        expect(editor.get_by_role("button", name="Send invitation")).to_be_visible()
        owner.goto(f"{portal.base}/settings/email-preferences")
        expect(owner.get_by_role("button", name="Save SMTP Settings")).to_have_count(0)
