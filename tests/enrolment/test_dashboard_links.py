"""An affiliate who lost the address of the private page gets it by email; no page discloses which mailboxes are known."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from portal.accounts import standing
from portal.accounts.registration import create_owner
from portal.affiliates import page_keys, suppressions
from portal.affiliates.models import Affiliate, AffiliateState, SuppressionReason
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import dashboard_links, signup, signup_rules
from portal.outbox.models import OutboxMessage
from tests.conftest import PASSWORD
from tests.enrolment.support import account_of, messages, newest_affiliate, sign_up
from tests.imports.test_importing import own_server

FIND = "/join/brightleaf/my-page"


def _page(client, path, mailbox):
    """Return what a browser shows after the form was sent, without what differs in every answer."""
    answer = client.submit(path, {"mailbox": mailbox})
    status = answer.status_code
    if status == 303:
        answer = client.get(answer.location)
    page = answer.get_data(as_text=True).replace(mailbox, "MAILBOX")
    return status, re.sub(r'value="[^"]{40,}"', "", page)


def _count():
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(OutboxMessage))


@pytest.mark.both_databases
def test_the_address_comes_by_email_and_the_answer_is_the_same_for_all(programme, client):
    sign_up(client)
    assert "Find your dashboard" in client.get("/join/brightleaf/thanks").get_data(as_text=True)
    assert "Find your dashboard" in client.get("/join/brightleaf").get_data(as_text=True)
    before = _count()
    unknown = _page(client, FIND, "nobody@example.org")
    assert _count() == before
    known = _page(client, FIND, "Grace <grace@example.org>".partition("<")[2].rstrip(">"))
    assert known == unknown
    assert known[0] == 303
    assert "an email is on its way" in known[1]
    [mail] = messages("dashboard-link")
    key = page_keys.open_keys(newest_affiliate()).dashboard
    assert f"http://127.0.0.1/affiliate/{key}" in mail.text
    assert mail.recipient == "grace@example.org"
    assert client.submit(FIND, {"mailbox": "grace"}).status_code == 422
    assert client.get("/join/unknown/my-page").status_code == 404
    assert client.submit("/join/unknown/my-page", {"mailbox": "a@x.example"}, page=FIND).status_code == 404


@pytest.mark.both_databases
def test_one_email_of_the_portal_names_all_programmes(programme, client):
    create_owner("Teahouse", "Bo", "bo@teahouse.example", PASSWORD, now=utcnow())
    create_owner("Visitors", "Eve", "eve@visitors.example", PASSWORD, now=utcnow())
    for slug in ("brightleaf", "teahouse", "visitors"):
        account = account_of(slug)
        signup_rules.save_rules(account.id, signup_rules.Rules(confirm=False))
        account.approved_at = None if slug == "visitors" else utcnow()
        new = signup.new_affiliate(account, "Grace Hopper", "grace@example.org", utcnow())
        new.state = AffiliateState.ACTIVE
        db.session.add(new)
        db.session.commit()
    own_server(account.id)  # the portal sends this email all the same
    unknown, known = (
        _page(client, "/affiliate", "nobody@example.org"),
        _page(client, "/affiliate", "GRACE@example.org"),
    )
    assert known[0] == unknown[0] == 303
    assert known[1] == unknown[1]
    [mail] = messages("dashboard-links")
    assert mail.account_id is None
    keys = [page_keys.open_keys(one).dashboard for one in db.session.scalars(select(Affiliate))]
    found = dashboard_links._find_everywhere("grace@example.org")
    body = dashboard_links._text_of(found)
    assert all(f"/affiliate/{key}" in body for key in keys)
    assert "Teahouse:" in body
    assert body.count("A programme:") == 1
    assert "Visitors" not in body, "a visitor named this programme, and no operator has approved it"


@pytest.mark.both_databases
def test_the_limits_are_those_of_all_emails_that_strangers_cause(programme, client):
    sign_up(client)
    client.get("/join/brightleaf/thanks")
    for mailbox, uses in (("grace@example.org", 2), ("nobody@example.org", 3)):  # the sign-up was one of hers
        paths = [FIND, "/affiliate", FIND][:uses]
        assert [_page(client, path, mailbox)[0] for path in paths] == [303] * uses
        refused = client.submit(FIND, {"mailbox": mailbox})
        assert refused.status_code == 429
        assert client.submit("/affiliate", {"mailbox": mailbox}).status_code == 429
        assert f'value="{mailbox}"' in refused.get_data(as_text=True)
    assert len(messages("dashboard-link")) == 1
    assert len(messages("dashboard-links")) == 1


def test_a_network_asks_for_so_many_mailboxes_only(programme):
    now = utcnow()
    for number in range(dashboard_links.PER_NETWORK.amount):
        dashboard_links.send_links(f"a{number}@x.example", "192.0.2.7", now=now)
    with pytest.raises(signup.TooManySignUps):
        dashboard_links.send_links("last@x.example", "192.0.2.7", now=now)
    dashboard_links.send_links("last@x.example", "192.0.2.8", now=now)
    dashboard_links.send_links("later@x.example", "192.0.2.7", now=now + timedelta(hours=2))


@pytest.mark.both_databases
def test_who_waits_gets_the_confirmation_and_who_is_suspended_or_suppressed_nothing(programme, client):
    account = account_of()
    now = utcnow()
    for state in AffiliateState:
        new = signup.new_affiliate(account, "Grace", f"{state.value}@example.org", now)
        new.state = state
        db.session.add(new)
    gone = signup.new_affiliate(account, "Gone", "gone@example.org", now)
    gone.state = AffiliateState.ACTIVE
    db.session.add(gone)
    suppressions.suppress(account.id, "gone@example.org", SuppressionReason.BOUNCED, now=now)
    db.session.commit()
    for mailbox in (*(f"{state.value}@example.org" for state in AffiliateState), "gone@example.org"):
        assert _page(client, FIND, mailbox)[0] == 303
    assert {mail.recipient for mail in messages("dashboard-link")} == {
        "active@example.org",
        "pending@example.org",
        "declined@example.org",
    }
    assert [mail.recipient for mail in messages("confirm-sign-up")] == ["unconfirmed@example.org"]


def test_a_closed_programme_sends_nothing(programme, client):
    sign_up(client)
    account_of().suspended_at = utcnow()
    db.session.commit()
    assert standing.state_of(account_of()) is standing.AccountState.SUSPENDED
    answer = client.submit(FIND, {"mailbox": "grace@example.org"}, page="/affiliate")
    assert answer.status_code == 503
    assert not messages("dashboard-link")
