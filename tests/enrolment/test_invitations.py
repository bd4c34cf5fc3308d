"""Invitations by email."""

from __future__ import annotations

import re

import pytest

from portal.accounts.models import Account
from portal.affiliates import suppressions
from portal.affiliates.models import AffiliateState
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import invitations
from portal.enrolment.invitations import Invitation
from portal.notices import branding
from tests.enrolment.support import account_of, messages, newest_affiliate, path_in
from tests.outbox.support import run_together


def test_the_first_invitation_asks_for_the_postal_address_and_carries_it(owner):
    form = {"name": "Grace Hopper", "mailbox": "grace@example.org", "message": "Hello"}
    answer = owner.submit("/affiliates/invite", form)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert 'id="address-error"' in page
    assert "Enter your postal address, or tick the box below it." in page
    assert 'value="grace@example.org"' in page
    assert messages("invited") == []
    answer = owner.submit("/affiliates/invite", form | {"address": "Brightleaf\r\n1 Garden Lane"})
    assert answer.status_code == 303
    [mail] = messages("invited")
    assert "Brightleaf\n1 Garden Lane" in mail.text
    assert "1 Garden Lane" in mail.html
    assert 'name="address"' not in owner.get("/affiliates/invite").get_data(as_text=True)
    assert "1 Garden Lane" in owner.get("/automated-emails/look").get_data(as_text=True)


@pytest.mark.only_postgresql
def test_invitations_of_one_person_at_the_same_time_are_all_answered(app, owner):
    account_id = account_of().id
    branding.save_address(account_of(), "1 Garden Lane", without=False, now=utcnow())

    def invite(_number):
        account = db.session.get_one(Account, account_id)
        invitations.invite(account, Invitation("Grace Hopper", "grace@example.org", "", "Ada"), now=utcnow())

    assert run_together(app, 3, invite) == [None] * 3
    assert newest_affiliate().state is AffiliateState.INVITED
    assert len(messages("invited")) == 3


def test_an_owner_whose_law_asks_for_no_address_sends_without_one(owner):
    form = {"name": "Grace Hopper", "mailbox": "grace@example.org", "message": "", "without_address": "y"}
    assert owner.submit("/affiliates/invite", form).status_code == 303
    assert len(messages("invited")) == 1
    page = owner.get("/automated-emails/look").get_data(as_text=True)
    assert re.search(
        r'<input[^>]*name="without_address"[^>]*checked|checked[^>]*name="without_address"', page
    )


def test_the_address_of_an_account_without_approval_holds_no_link(owner):
    account = account_of()
    account.approved_at = None
    db.session.commit()
    form = {"accent": "#1f3f5c", "footer": ""}
    for address in ("Brightleaf\nevil.example/login", "write to a@evil.example"):
        answer = owner.submit("/automated-emails/look", form | {"address": address})
        assert answer.status_code == 422
        assert "without a web or email address" in answer.get_data(as_text=True)
    answer = owner.submit("/automated-emails/look", form | {"address": "Brightleaf\n1 Garden Lane"})
    assert answer.status_code == 303


def test_an_invited_person_joins_by_the_link_and_a_suppressed_mailbox_is_not_invited(owner, client):
    form = {
        "name": "Grace Hopper",
        "mailbox": "grace@example.org",
        "message": "Hello\nfrom us",
        "without_address": "y",
    }
    assert owner.submit("/affiliates/invite", form).status_code == 303
    [mail] = messages("invited")
    assert mail.unsubscribe_url
    path = path_in("invited", "invitation")
    assert client.submit(path, {}).status_code == 422
    assert client.submit(path, {"consent": "y"}).status_code == 303
    assert newest_affiliate().state is AffiliateState.ACTIVE
    assert newest_affiliate().consented_at
    for page in (
        "/events",
        "/affiliates",
        "/affiliates?status=invited",
        f"/affiliates/{newest_affiliate().id}",
    ):
        text = owner.get(page).get_data(as_text=True)
        assert path.rpartition("/")[2] not in text
    assert "By your invitation" in text
    assert "On your sign-up page" not in text
    mail = messages("new-sign-up")[-1]
    assert "By your invitation" in owner.get(f"/deliveries/{mail.id}").get_data(as_text=True)
    suppressions.add(account_of().id, "bob@example.org", "", now=utcnow())
    refused = owner.submit("/affiliates/invite", form | {"mailbox": "bob@example.org"})
    assert refused.status_code == 422
    assert "list of blocked addresses" in refused.get_data(as_text=True)
