"""Confirmation of a sign-up by the link in the email."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine

from portal.affiliates.models import AffiliateState
from portal.clock import utcnow
from portal.enrolment import signup, signup_rules
from tests.enrolment.support import account_of, messages, newest_affiliate, path_in, sign_up


def test_an_owner_who_is_logged_in_can_try_their_own_sign_up_page(owner):
    sign_up(owner)
    sign_up(owner)  # the mailbox is known now
    assert len(messages("confirm-sign-up")) == 2


def test_a_new_affiliate_is_asked_to_confirm_and_welcomed_after_confirming(owner, client):
    sign_up(client)
    [mail] = messages("confirm-sign-up")
    assert "Grace" not in mail.text + mail.html + mail.subject + mail.recipient_name
    assert not messages("new-sign-up")
    path = path_in("confirm-sign-up", "confirm-sign-up")
    assert "Yes, confirm my sign-up" in client.get(path).get_data(as_text=True)
    assert newest_affiliate().state is AffiliateState.UNCONFIRMED, "a GET changes nothing"
    assert client.submit(path, {}).status_code == 303
    assert "Welcome, you are signed up" in client.get(path).get_data(as_text=True)
    assert newest_affiliate().state is AffiliateState.ACTIVE
    assert len(messages("new-sign-up")) == 1
    assert signup.confirm(path.rpartition("/")[2], now=utcnow()) is not None
    assert len(messages("new-sign-up")) == 1, "a second time changes nothing"


@pytest.mark.parametrize("auto_approve", [True, False])
def test_the_confirmation_page_names_what_its_button_does(owner, client, auto_approve):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(auto_approve=auto_approve))
    sign_up(client)
    page = client.get(path_in("confirm-sign-up", "confirm-sign-up")).get_data(as_text=True)
    assert ("Press the button to become an affiliate" in page) == auto_approve
    assert ("Press the button to apply to" in page) == (not auto_approve)


def test_an_expired_link_shows_a_page_and_an_unknown_one_is_not_found(owner, client):
    with time_machine.travel(utcnow() - timedelta(days=8), tick=False):
        sign_up(client)
    page = client.get(path_in("confirm-sign-up", "confirm-sign-up"))
    assert "This link has expired" in page.get_data(as_text=True)
    with pytest.raises(signup.LinkExpired):
        signup.confirm(path_in("confirm-sign-up", "confirm-sign-up").rpartition("/")[2], now=utcnow())
    assert client.get("/confirm-sign-up/nonsense").status_code == 404
