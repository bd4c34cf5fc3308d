"""Links with a token that acts for an affiliate are hidden from everyone else, the owner included."""

from __future__ import annotations

import re

import pytest

from portal.accounts.team.rights import Role
from portal.affiliates import links
from portal.db import db
from portal.enrolment import signup_rules
from portal.outbox.models import OutboxMessage
from tests.accounts.people import join
from tests.enrolment.support import GRACE, account_of, messages
from tests.pages import downloaded

INVITATION = {
    "name": "Grace Hopper",
    "mailbox": "grace@example.org",
    "message": "Do join us",
    "without_address": "y",
}


@pytest.fixture(params=["confirm-sign-up", "invited"])
def email(request, owner, client):
    """Return an email with such a link."""
    if request.param == "invited":
        assert owner.submit("/affiliates/invite", INVITATION).status_code == 303
    else:
        signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=True))
        client.submit("/join/brightleaf", GRACE)
    [email] = messages(request.param)
    return email


def _token(message):
    return re.search(r"/(?:confirm-sign-up|invitation)/([\w-]+)", message.text).group(1)


def test_the_owner_sees_the_email_without_its_link(owner, email):
    token, page = _token(email), f"/deliveries/{email.id}"
    details = owner.get(page).get_data(as_text=True)
    html = owner.get(f"{page}/html").get_data(as_text=True)
    for shown in (details, html):
        assert token not in shown
        assert "/hidden-link" in shown
    assert "The link in this email is hidden here" in details
    assert "Brightleaf" in html
    assert token in email.html, "the email that is sent contains it"
    for path in ("/deliveries", "/events", "/affiliates"):
        assert token not in owner.get(path).get_data(as_text=True)
    assert token not in downloaded(owner, "/deliveries/export.csv").get_data(as_text=True)


def test_the_email_can_be_sent_again_to_the_affiliate_but_not_to_the_owner(owner, email):
    page = f"/deliveries/{email.id}"
    assert "Send to me" not in owner.get(page).get_data(as_text=True)
    form = {"key": "k" * 16, "words": "sent"}
    refused = owner.submit(f"{page}/again", form | {"to": "me"}, page=page)
    assert refused.status_code in {409, 422}
    assert "only the affiliate can get a copy" in refused.get_data(as_text=True)
    db.session.rollback()
    assert db.session.query(OutboxMessage).filter_by(recipient="ada@brightleaf.example").count() == 0
    assert owner.submit(f"{page}/again", form | {"to": "recipient"}, page=page).status_code == 303


def test_a_viewer_gets_no_link_that_acts_without_a_log_in(app, owner, client):
    """With one, a person who may change nothing would end an affiliate's emails, or download what is stored of them."""
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    client.submit("/join/brightleaf", GRACE)
    viewer = join(app, owner, Role.VIEWER)
    [welcome] = messages("new-sign-up")
    keys = set(
        re.findall(r"/(?:affiliate|preferences|unsubscribe)/([\w-]{20,})", welcome.text + welcome.html)
    )
    assert len(keys) == 2
    pages = [f"/deliveries/{welcome.id}", f"/deliveries/{welcome.id}/html"]
    for page in pages:
        shown = viewer.get(page).get_data(as_text=True)
        assert not [key for key in keys if key in shown], page
        assert "/hidden-link" in shown
    shown = "".join(owner.get(page).get_data(as_text=True) for page in pages)
    assert all(key in shown for key in keys)
    for path in ("automated-emails/unsubscribe/weekly.1.", "arrived/"):
        hidden = links.redact_tokens("weekly", f"See https://x.example/{path}{'k' * 32} now.", also_keys=True)
        assert hidden.endswith("/hidden-link now.")
        assert "kkk" not in hidden


def test_other_emails_are_shown_in_full(owner, client):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    client.submit("/join/brightleaf", GRACE)
    [welcome] = messages("new-sign-up")
    page = owner.get(f"/deliveries/{welcome.id}").get_data(as_text=True)
    assert "hidden-link" not in page
    assert "Send to me" in page


def test_the_link_of_an_invitation_cannot_be_put_into_its_subject(owner):
    page = "/automated-emails/invited"
    form = {
        "subject": "Join: {{ join_link }}",
        "html": "<p>{{ join_link }}</p>",
        "text": "",
        "based_on": "0",
    }
    refused = owner.submit(page, form, page=page)
    assert refused.status_code == 422
    assert "Put the link into the text" in refused.get_data(as_text=True)
