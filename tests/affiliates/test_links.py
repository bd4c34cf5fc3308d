"""Links by which affiliates agree to something are seen by nobody else, the owner included."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from portal.db import db
from portal.enrolment import signup_rules
from portal.outbox.models import OutboxMessage
from tests.enrolment.support import account_of

WISH = {"name": "Grace Hopper", "mailbox": "grace@example.org", "message": "Do join us"}
GRACE = {"name": "Grace Hopper", "mailbox": "grace@example.org", "consent": "y"}


@pytest.fixture(params=["confirm-sign-up", "invited"])
def letter(request, owner, client):
    """An email with such a link."""
    if request.param == "invited":
        assert owner.submit("/affiliates/invite", WISH).status_code == 303
    else:
        signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=True))
        client.submit("/join/brightleaf", GRACE)
    db.session.rollback()
    return db.session.scalars(select(OutboxMessage).where(OutboxMessage.kind == request.param)).one()


def _token(message):
    return re.search(r"/(?:confirm-sign-up|invitation)/([\w-]+)", message.text).group(1)


def test_the_owner_sees_the_email_without_its_link(owner, letter):
    token, page = _token(letter), f"/deliveries/{letter.id}"
    story = owner.get(page).get_data(as_text=True)
    html = owner.get(f"{page}/html").get_data(as_text=True)
    for seen in (story, html):
        assert token not in seen
        assert "/hidden-link" in seen
    assert "Its link is hidden here" in story
    assert "Brightleaf" in html
    assert token in letter.html, "what is sent has it"
    for path in ("/deliveries", "/deliveries/export.csv", "/events", "/affiliates"):
        assert token not in owner.get(path).get_data(as_text=True)


def test_no_copy_of_it_goes_to_the_owner_but_one_to_the_affiliate_may(owner, letter):
    page = f"/deliveries/{letter.id}"
    assert "Send to me" not in owner.get(page).get_data(as_text=True)
    form = {"key": "k" * 16, "words": "sent"}
    refused = owner.submit(f"{page}/again", form | {"to": "me"}, page=page)
    assert refused.status_code in {409, 422}
    assert "to the affiliate alone" in refused.get_data(as_text=True)
    db.session.rollback()
    assert db.session.query(OutboxMessage).filter_by(recipient="ada@brightleaf.example").count() == 0
    assert owner.submit(f"{page}/again", form | {"to": "recipient"}, page=page).status_code == 303


def test_other_emails_are_shown_whole(owner, client):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    client.submit("/join/brightleaf", GRACE)
    db.session.rollback()
    welcome = db.session.scalars(select(OutboxMessage).where(OutboxMessage.kind == "new-sign-up")).one()
    page = owner.get(f"/deliveries/{welcome.id}").get_data(as_text=True)
    assert "hidden-link" not in page
    assert "Send to me" in page


def test_the_link_of_an_invitation_cannot_be_put_into_its_subject(owner):
    page = "/automated-emails/invited"
    words = {
        "subject": "Join: {{ join_link }}",
        "html": "<p>{{ join_link }}</p>",
        "text": "",
        "based_on": "0",
    }
    refused = owner.submit(page, words, page=page)
    assert refused.status_code == 422
    assert "Put the link into the text" in refused.get_data(as_text=True)
