"""Send test email takes any address while the account's own settings send; Reply-To is asked once, visibly."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from portal.accounts.models import Account
from portal.clock import utcnow
from portal.db import db
from portal.notices import rendering
from portal.notices.catalogue import CATALOGUE
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Status
from portal.settings import routing
from portal.settings.models import SmtpSettings
from tests.settings.conftest import PAGE, text_of, work


def recipients():
    db.session.rollback()
    query = select(OutboxMessage.recipient).where(OutboxMessage.is_test).order_by(OutboxMessage.id)
    found = list(db.session.scalars(query))
    db.session.rollback()
    return found


def test_any_address_gets_a_test_email_through_own_settings(owner, live, servers):
    assert 'name="recipient"' in text_of(owner.get(PAGE))
    answer = owner.submit(f"{PAGE}/test", {"recipient": "Bea@Elsewhere.example"}, page=PAGE)
    assert answer.status_code == 303
    work()
    assert recipients() == ["Bea@elsewhere.example"]
    assert b"RCPT TO:<Bea@elsewhere.example>" in bytes(servers.one.received)
    assert "accepted the test email" in text_of(owner.get(answer.headers["Location"])).lower()


def test_without_an_address_the_owner_gets_it(owner, live):
    owner.submit(f"{PAGE}/test", {"recipient": ""}, page=PAGE)
    assert recipients() == ["ada@brightleaf.example"]


def test_through_the_platform_s_sender_only_the_owner_gets_a_test_email(owner):
    assert 'name="recipient"' not in text_of(owner.get(PAGE))
    owner.submit(f"{PAGE}/test", {"recipient": "bea@elsewhere.example"}, page=PAGE)
    assert recipients() == ["ada@brightleaf.example"]


def test_during_a_failover_only_the_owner_gets_a_test_email(owner, live):
    db.session.get_one(SmtpSettings, live.id).failover_since = utcnow()
    db.session.commit()
    owner.submit(f"{PAGE}/test", {"recipient": "bea@elsewhere.example"}, page=PAGE)
    assert recipients() == ["ada@brightleaf.example"]


def test_a_test_email_to_another_address_never_leaves_through_the_platform_s_sender(owner, live):
    owner.submit(f"{PAGE}/test", {"recipient": "bea@elsewhere.example"}, page=PAGE)
    owner.submit(f"{PAGE}/stop", {}, page=PAGE)
    work()
    message = db.session.scalars(select(OutboxMessage).where(OutboxMessage.is_test)).one()
    attempt = db.session.scalars(
        select(DeliveryAttempt).where(DeliveryAttempt.message_id == message.id)
    ).one()
    assert message.status is Status.FAILED
    assert "only through your own server" in attempt.diagnosis["cause"]


def test_an_invalid_address_has_an_error_beside_its_field(owner, live):
    for invalid in (
        "bea",
        "bea@elsewhere.example, cy@elsewhere.example",
        "bea@x.example\r\nBcc: y",
        "x" * 300,
    ):
        answer = owner.submit(f"{PAGE}/test", {"recipient": invalid}, page=PAGE)
        assert answer.status_code == 422
        assert 'id="recipient-error"' in text_of(answer)
    assert recipients() == []


def test_the_first_form_suggests_the_owner_s_mailbox_for_replies(owner):
    page = text_of(owner.get(PAGE))
    field = re.search(r'<input[^>]*name="reply_to"[^>]*>', page)[0]
    assert 'value="ada@brightleaf.example"' in field
    assert page.index('name="reply_to"') < page.index("<summary>Advanced")


def test_live_settings_without_reply_to_show_a_banner_and_are_not_changed(owner, live):
    page = text_of(owner.get(PAGE))
    assert "Replies go to info@brightleaf.example" in page
    part = page[page.index("sender-banners") :]  # a live part, so that a check that ends shows it
    assert part.index('id="no-reply-to"') < part.index('id="sender"')
    assert re.search(r'<input[^>]*name="reply_to"[^>]*value=""', page)
    db.session.get_one(SmtpSettings, live.id).reply_to = "ada@brightleaf.example"
    db.session.commit()
    assert "no-reply-to" not in text_of(owner.get(PAGE))


ASKING = ("application-received", "declined", "commission-declined", "payout-sent")


@pytest.mark.parametrize("kind", ASKING)
def test_an_email_asks_for_an_answer_only_if_answers_have_a_mailbox(app, owner, kind):
    notice = CATALOGUE[kind]
    account = db.session.scalars(select(Account)).one()
    assert "eply to this email" in rendering.render_sample(notice, account).text
    assert "eply to this" not in rendering.render_sample(notice, account, values={"reply_to": ""}).text


def test_answers_go_to_reply_to_to_the_mailbox_of_the_log_in_or_to_the_owner(app, owner, live):
    version = db.session.get_one(SmtpSettings, live.id)
    db.session.flush()
    assert routing.reply_mailbox(live.account_id) == ""
    version.wrapped_user = "ada"
    db.session.flush()
    assert routing.reply_mailbox(live.account_id) == "ada@brightleaf.example"
    version.reply_to = "team@brightleaf.example"
    db.session.flush()
    assert routing.reply_mailbox(live.account_id) == "team@brightleaf.example"
    version.failover_since = utcnow()
    db.session.get_one(Account, live.account_id).approved_at = utcnow()
    db.session.flush()
    assert routing.reply_mailbox(live.account_id) == "ada@brightleaf.example"
    db.session.get_one(Account, live.account_id).approved_at = None
    db.session.flush()
    assert routing.reply_mailbox(live.account_id) == ""
    db.session.rollback()
