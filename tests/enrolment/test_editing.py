"""The owner edits affiliates, changes their address and code, sends links again, and decides about many at once."""

from __future__ import annotations

import csv
import html
import io
import re
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select

from portal.affiliates import links, page_keys, suppressions
from portal.affiliates.models import Affiliate, AffiliateState, EmailPace, FormerCode, SuppressionReason
from portal.clock import utcnow
from portal.db import db
from portal.deliveries.models import LogRow
from portal.enrolment import signup_rules
from portal.enrolment.changing import bulk_moderation
from portal.events.dispatch import NewEvent, record_event
from portal.events.models import EventMail
from portal.events.types import EventType, Source
from portal.outbox.models import OutboxMessage, Status
from portal.state import current_config
from tests.enrolment.support import account_of, messages, newest_affiliate, path_in, sign_up
from tests.pages import downloaded

NEW = "grace@new.example"


@pytest.fixture
def grace(owner, client):
    """An active affiliate of Brightleaf."""
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    sign_up(client)
    return newest_affiliate()


def fields(affiliate, **changes):
    found = {
        name: getattr(affiliate, name) or "" for name in ("name", "mailbox", "code", "external_id", "notes")
    }
    return found | changes


def edit(browser, affiliate, **changes):
    page = f"/affiliates/{affiliate.id}"
    return browser.submit(f"{page}/edit", fields(affiliate, **changes), page=f"{page}/edit")


@pytest.mark.both_databases
def test_name_code_id_and_notes_are_edited_shown_found_and_exported(owner, client, grace):
    before, dashboard = grace.code, links.dashboard_url(grace, current_config())
    changes = {
        "name": "Grâce Hopper",
        "code": "grace-1",
        "external_id": "crm-7",
        "notes": "Called\n=on Monday",
    }
    assert edit(owner, grace, **changes).status_code == 303
    page = owner.get(f"/affiliates/{grace.id}").get_data(as_text=True)
    for shown in ("Grâce Hopper", "grace-1", "crm-7", "Called\n=on Monday", before):
        assert shown in page
    for query in ("crm-7", "grâce", "grace-1", before.lower()):
        assert "Grâce Hopper" in owner.get("/affiliates", query_string={"q": query}).get_data(as_text=True)
    [row] = csv.DictReader(io.StringIO(downloaded(owner, "/affiliates.csv").get_data(as_text=True)))
    assert (row["Your own id"], row["Notes"], row["Code"]) == ("crm-7", "Called\n=on Monday", "grace-1")
    assert row["Website"] == ""
    # The private pages of emails of before still open, and new emails can be written.
    assert client.get(dashboard).status_code == 200
    assert links.dashboard_url(newest_affiliate(), current_config()) == dashboard
    # The code of before goes on working: in links, in addresses in emails of before, and back again.
    account_of().shop_url = "https://shop.example/"
    db.session.commit()
    for code in (before, before.lower(), "grace-1"):
        assert client.get(f"/r/{code}").location == "https://shop.example/?ref=grace-1", code
    assert owner.get(f"/affiliates/by-code/{before}").location == f"/affiliates/{grace.id}"
    assert edit(owner, newest_affiliate(), code=before, external_id="").status_code == 303
    assert client.get("/r/grace-1").location == f"https://shop.example/?ref={before}"
    assert newest_affiliate().external_id is None


def test_an_owner_is_asked_about_a_typing_error_once(owner, grace):
    typed = {"mailbox": "grace@gmial.com"}
    page = edit(owner, grace, **typed)
    assert page.status_code == 422
    assert "Did you mean grace@gmail.com?" in page.get_data(as_text=True)
    assert 'type="hidden" name="checked" value="grace@gmial.com"' in page.get_data(as_text=True)
    assert messages("confirm-new-address") == []
    assert edit(owner, grace, **typed, checked="grace@gmial.com").status_code == 303
    assert [mail.recipient for mail in messages("confirm-new-address")] == ["grace@gmial.com"]
    invited = {"name": "Ada", "mailbox": "ada@gmial.com", "message": "", "address": "1 Quay"}
    path = "/affiliates/invite"
    page = owner.submit(path, invited)
    assert page.status_code == 422
    assert "Did you mean ada@gmail.com?" in page.get_data(as_text=True)
    assert owner.submit(path, invited | {"checked": "ada@gmial.com"}).status_code == 303
    assert owner.submit(path, invited | {"mailbox": "noreply@x.example"}).status_code == 303


def test_a_code_of_one_digit_that_was_imported_may_stay(owner, grace):
    page_keys.give_code(grace, "7")
    db.session.commit()
    assert edit(owner, grace, notes="From the old system").status_code == 303
    assert (newest_affiliate().code, newest_affiliate().notes) == ("7", "From the old system")
    assert edit(owner, newest_affiliate(), code="8").status_code == 422


@pytest.mark.both_databases
def test_what_belongs_to_another_affiliate_is_refused_beside_its_field(owner, client, grace, stranger):
    sign_up(client, mailbox="alan@example.org", name="Alan Turing")
    alan = newest_affiliate()
    former = alan.code
    assert edit(owner, alan, code="ALAN", external_id="7").status_code == 303
    grace = db.session.get(Affiliate, grace.id)
    for wrong in (
        {"code": "ALAN"},
        {"code": "alan"},  # /r/alan leads to ALAN
        {"code": former},
        {"code": "a b"},
        {"code": "ж1"},
        {"code": "x" * 33},
        {"code": ""},
        {"external_id": "7"},
        {"external_id": "x" * 101},
        {"mailbox": "alan@example.org"},
        {"mailbox": "alan"},
        {"name": ""},
        {"name": "www.spam.example"},
        {"notes": "x" * 2001},
        {"name": "New Name", "mailbox": "alan@example.org"},
    ):
        answer = edit(owner, grace, **wrong)
        assert answer.status_code == 422, wrong
        page = answer.get_data(as_text=True)
        assert page.count('class="field-error"') == 1, wrong
        assert f'id="{list(wrong)[-1]}-error"' in page, wrong
    assert fields(db.session.get(Affiliate, grace.id)) == fields(grace)
    assert not messages("confirm-new-address")
    assert stranger.get(f"/affiliates/{grace.id}/edit").status_code == 404
    for path in ("edit", "keep-address", "send-again"):
        assert (
            stranger.submit(f"/affiliates/{grace.id}/{path}", fields(grace), page="/affiliates").status_code
            == 404
        )


def test_a_code_that_another_account_had_stays_theirs(owner, stranger, client, grace):
    db.session.add(
        FormerCode(code="OLD-ONE", account_id=grace.account_id, affiliate_id=grace.id, replaced_at=utcnow())
    )
    db.session.commit()
    signup_rules.save_rules(account_of("copperpot").id, signup_rules.Rules(confirm=False))
    client.submit("/join/copperpot", {"name": "Bo", "mailbox": "bo@example.org", "consent": "y"})
    assert edit(stranger, newest_affiliate(), code="old-one").status_code == 422


@pytest.mark.both_databases
def test_a_new_address_is_in_force_once_its_reader_confirms(owner, client, grace):
    old = grace.mailbox
    suppressions.suppress(grace.account_id, old, SuppressionReason.UNSUBSCRIBED, now=utcnow())
    db.session.commit()
    edit(owner, grace, mailbox="wrong@new.example")
    wrong = path_in("confirm-new-address", "confirm-address")
    answer = edit(owner, newest_affiliate(), mailbox=NEW)
    assert answer.status_code == 303
    assert newest_affiliate().mailbox == old
    assert [mail.recipient for mail in messages("address-changing")] == [old, old]
    assert NEW not in messages("address-changing")[-1].text
    shown = owner.get(f"/affiliates/{grace.id}").get_data(as_text=True)
    assert NEW in shown
    # The link is hidden from the owner, who could otherwise confirm in the affiliate's name.
    path = path_in("confirm-new-address", "confirm-address")
    assert path.rpartition("/")[2] not in owner.get(
        f"/deliveries/{messages('confirm-new-address')[-1].id}"
    ).get_data(as_text=True)
    assert client.get(wrong).status_code == 404  # the later address took its place
    assert client.get(path).status_code == 200
    assert newest_affiliate().mailbox == old  # a GET changes nothing
    assert client.submit(path, {}).status_code == 303
    row = newest_affiliate()
    assert (row.mailbox, row.mailbox_key, row.state) == (NEW, NEW, AffiliateState.ACTIVE)
    assert "grace@new.example" in owner.get("/affiliates?q=new.example").get_data(as_text=True)
    assert suppressions.find_suppression(row.account_id, NEW).reason is SuppressionReason.UNSUBSCRIBED
    assert client.submit(path, {}, page="/join/brightleaf").status_code == 303  # a second click


def test_what_waits_for_a_digest_follows_the_new_address(owner, client, grace):
    row, account = newest_affiliate(), account_of()
    row.email_pace = EmailPace.WEEKLY
    db.session.commit()
    values = {"order": "A-1", "amount": "10.00", "currency": "EUR", "commission": "1.00", "product": ""}
    record_event(NewEvent(account, EventType.PURCHASE, row, values), key="k", source=Source.API, now=utcnow())
    db.session.commit()
    edit(owner, newest_affiliate(), mailbox=NEW)
    path = path_in("confirm-new-address", "confirm-address")
    client.submit(path, {})
    waiting = select(EventMail.recipient).where(EventMail.digest_at.is_not(None))
    assert db.session.scalars(waiting).all() == [NEW]


@pytest.mark.both_databases
def test_waiting_emails_follow_the_new_address_and_questions_to_withdrawn_ones_are_cancelled(
    owner, client, grace
):
    row, account, old = newest_affiliate(), account_of(), grace.mailbox
    values = {"order": "A-1", "amount": "10.00", "currency": "EUR", "commission": "1.00", "product": ""}
    record_event(NewEvent(account, EventType.PURCHASE, row, values), key="k", source=Source.API, now=utcnow())
    db.session.commit()
    [sent] = messages("new-sign-up")
    sent.status = Status.SENT
    db.session.commit()
    edit(owner, newest_affiliate(), mailbox="wrong@new.example")
    edit(owner, newest_affiliate(), mailbox=NEW)
    client.submit(path_in("confirm-new-address", "confirm-address"), {})
    db.session.expire_all()
    assert [(mail.recipient, mail.status) for mail in messages("confirm-new-address")] == [
        ("wrong@new.example", Status.CANCELLED),
        (NEW, Status.QUEUED),
    ]
    assert {mail.recipient for mail in messages("address-changing")} == {old}
    assert [mail.recipient for kind in ("new-sign-up", "new-purchase") for mail in messages(kind)] == [
        old,
        NEW,
    ]
    [purchase] = messages("new-purchase")
    assert (
        db.session.scalars(select(EventMail.recipient).where(EventMail.message_id == purchase.id)).one()
        == NEW
    )
    log = db.session.get(LogRow, purchase.id)
    assert (log.recipient, log.domain) == (NEW, "new.example")
    page = owner.get(f"/affiliates/{grace.id}").get_data(as_text=True)
    assert "Confirmation of a new address, withdrawn" in page


def test_a_suppression_holds_for_what_waits_and_for_the_new_address(owner, client, grace):
    row, account, old = newest_affiliate(), account_of(), grace.mailbox
    values = {"order": "A-1", "amount": "10.00", "currency": "EUR", "commission": "1.00", "product": ""}
    record_event(NewEvent(account, EventType.PURCHASE, row, values), key="k", source=Source.API, now=utcnow())
    db.session.commit()
    edit(owner, newest_affiliate(), mailbox=NEW)
    suppressions.suppress(account.id, NEW, SuppressionReason.COMPLAINED, now=utcnow())
    db.session.commit()
    path = path_in("confirm-new-address", "confirm-address")
    client.submit(path, {})
    db.session.expire_all()
    [purchase] = messages("new-purchase")
    assert (purchase.recipient, purchase.status) == (NEW, Status.SUPPRESSED)
    # Who unsubscribed before the address bounced has still unsubscribed at the next one.
    for reason in (SuppressionReason.UNSUBSCRIBED, SuppressionReason.BOUNCED):
        suppressions.suppress(account.id, old, reason, now=utcnow())
        db.session.commit()
    row = newest_affiliate()
    row.mailbox = row.mailbox_key = old
    db.session.commit()
    edit(owner, newest_affiliate(), mailbox="third@new.example")
    client.submit(path_in("confirm-new-address", "confirm-address"), {})
    assert newest_affiliate().mailbox == "third@new.example"
    found = suppressions.find_suppression(account.id, "third@new.example")
    assert found.reason is SuppressionReason.UNSUBSCRIBED


def test_an_address_can_be_kept_expires_and_may_be_taken_meanwhile(owner, client, grace):
    edit(owner, grace, mailbox=NEW)
    path = path_in("confirm-new-address", "confirm-address")
    owner.submit(f"/affiliates/{grace.id}/keep-address", {}, page=f"/affiliates/{grace.id}")
    assert client.get(path).status_code == 404
    edit(owner, newest_affiliate(), mailbox=NEW)
    path = path_in("confirm-new-address", "confirm-address")
    with time_machine.travel(utcnow() + timedelta(days=8), tick=False):
        client.submit(path, {}, page="/join/brightleaf")
        assert "This link has expired" in client.get(path).get_data(as_text=True)
    assert newest_affiliate().mailbox != NEW
    sign_up(client, mailbox=NEW)
    assert client.submit(path, {}).status_code == 409
    assert db.session.get(Affiliate, grace.id).mailbox != NEW
    assert client.get("/confirm-address/nonsense").status_code == 404


def test_questions_to_new_addresses_have_limits_and_keep_what_was_typed(owner, client, grace):
    answers = [edit(owner, grace, mailbox=NEW, notes=f"n{number}") for number in range(4)]
    assert [answer.status_code for answer in answers] == [303, 303, 303, 429]
    assert "n3" in answers[-1].get_data(as_text=True)
    assert newest_affiliate().notes == "n2"
    assert len(messages("confirm-new-address")) == 3
    suppressions.add(grace.account_id, "no@new.example", "", now=utcnow())
    assert edit(owner, grace, mailbox="no@new.example").status_code == 422


def test_a_corrected_address_confirms_the_sign_up(owner, client):
    sign_up(client, mailbox="grace@exmaple.org")
    edit(owner, newest_affiliate(), mailbox=NEW)
    assert not messages("address-changing")  # no reader has confirmed it
    client.submit(path_in("confirm-new-address", "confirm-address"), {})
    row = newest_affiliate()
    assert (row.mailbox, row.state) == (NEW, AffiliateState.ACTIVE)
    assert row.confirmed_at is not None
    assert [mail.recipient for mail in messages("new-sign-up")] == [NEW]


def test_the_confirmation_is_sent_again_within_limits(owner, client):
    sign_up(client)
    row = newest_affiliate()
    page = f"/affiliates/{row.id}"
    row.language = "de"  # as chosen on the sign-up page
    db.session.commit()
    for _ in range(4):
        assert owner.submit(f"{page}/send-again", {}, page=page).status_code == 303
    sent = messages("confirm-sign-up")
    assert len(sent) == 4  # one by the form, three by the owner
    assert [mail.subject == sent[0].subject for mail in sent] == [True, False, False, False]
    assert "bestätige" in sent[-1].subject.lower() + sent[-1].text.lower()
    assert "Try again tomorrow" in owner.get(page).get_data(as_text=True)
    client.submit(path_in("confirm-sign-up", "confirm-sign-up"), {})
    owner.submit(f"{page}/send-again", {}, page=page)
    assert "nothing to send again" in owner.get(page).get_data(as_text=True)


def test_the_invitation_is_sent_again_with_its_words(owner):
    invited = {
        "name": "Grace",
        "mailbox": "grace@example.org",
        "message": "Met in Bern",
        "without_address": "y",
    }
    assert owner.submit("/affiliates/invite", invited).status_code == 303
    page = f"/affiliates/{newest_affiliate().id}"
    owner.submit(f"{page}/send-again", {}, page=page)
    found = messages("invited")
    assert len(found) == 2
    assert all("Met in Bern" in mail.text for mail in found)


@pytest.fixture
def waiting(owner, client):
    """Three applications, by name."""
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False, auto_approve=False))
    for name in ("Ann", "Ben", "Cleo"):
        sign_up(client, name=name, mailbox=f"{name.lower()}@example.org")
    rows = db.session.scalars(select(Affiliate)).all()
    return {row.name: row.id for row in rows}


def states():
    db.session.rollback()
    return dict(db.session.execute(select(Affiliate.name, Affiliate.state)).all())


@pytest.mark.both_databases
def test_many_are_decided_at_once_and_counted_beforehand(owner, stranger, waiting):
    owner.submit(f"/affiliates/{waiting['Ann']}/approve", {}, page=f"/affiliates/{waiting['Ann']}")
    listed = owner.get("/affiliates?status=pending").get_data(as_text=True)
    assert listed.count('type="checkbox"') == 3, "one for each, and one that ticks all"
    ids = list(waiting.values())
    query = {"decision": "decline", "id": [*ids, 999_999]}
    page = owner.get("/affiliates/decide", query_string=query).get_data(as_text=True)
    assert "Decline 2 applications" in page
    assert "One of the selected applications has already been decided" in page
    assert "You have not selected anyone" in owner.get("/affiliates/decide?decision=approve").get_data(
        as_text=True
    )
    assert owner.get("/affiliates/decide?decision=erase").status_code == 404
    hidden = stranger.get("/affiliates/decide", query_string=query).get_data(as_text=True)
    assert "Ben" not in hidden
    stranger.submit("/affiliates/decide", query, page="/affiliates")
    assert states() == {"Ann": "active", "Ben": "pending", "Cleo": "pending"}
    fields = {"decision": "decline", "id": ids, "reason": "Not now"}
    assert owner.submit("/affiliates/decide", fields, page="/affiliates").status_code == 303
    assert owner.submit("/affiliates/decide", fields, page="/affiliates").status_code == 303  # a second click
    assert states() == {"Ann": "active", "Ben": "declined", "Cleo": "declined"}
    assert len(messages("declined")) == 2
    assert "Not now" in messages("declined")[0].text
    declined = owner.get("/affiliates/decide", query_string={"decision": "approve", "id": ids})
    assert "Approve 2 affiliates" in declined.get_data(as_text=True)


def test_all_that_match_a_search_are_decided_in_parts(owner, waiting, monkeypatch):
    monkeypatch.setattr(bulk_moderation, "MAX_AFFILIATES", 1)
    query = {"decision": "approve", "all": "1", "q": "n@example"}
    page = owner.get("/affiliates/decide", query_string=query).get_data(as_text=True)
    assert "Approve 2 affiliates" in page
    assert "about 1 applications at a time" in page
    press(owner, page)
    assert states() == {"Ann": "active", "Ben": "pending", "Cleo": "pending"}
    press(owner, owner.get("/affiliates/decide", query_string=query).get_data(as_text=True))
    owner.submit("/affiliates/decide", query, page="/affiliates")
    assert states() == {"Ann": "active", "Ben": "active", "Cleo": "pending"}
    assert db.session.scalars(select(OutboxMessage.recipient).where(OutboxMessage.kind == "approved")).all()


def press(browser, page):
    """Press the button of a preview, and return the page after it."""
    fields = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page):
        fields.setdefault(name, []).append(html.unescape(value))
    fields.pop("csrf_token", None)
    browser.submit("/affiliates/decide", fields, page="/affiliates")
    return browser.get("/affiliates?status=pending").get_data(as_text=True)


def test_a_decision_about_all_is_not_about_those_who_came_or_were_decided_after_its_preview(
    owner, client, waiting
):
    query = {"decision": "approve", "all": "1"}
    page = owner.get("/affiliates/decide", query_string=query).get_data(as_text=True)
    assert "Approve 3 affiliates" in page
    sign_up(client, name="Dora", mailbox="dora@example.org")
    owner.submit(f"/affiliates/{waiting['Ben']}/decline", {}, page=f"/affiliates/{waiting['Ben']}")
    after = press(owner, page)
    assert states() == {"Ann": "active", "Ben": "declined", "Cleo": "active", "Dora": "pending"}
    assert "2 affiliates are approved." in after
    assert "One more application is waiting. Your decision did not include it." in after
    owner.submit("/affiliates/decide", query, page="/affiliates")  # no preview came before it
    assert states()["Dora"] == "pending"
