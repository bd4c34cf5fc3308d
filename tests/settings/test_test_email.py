"""Send test email takes any address while the account's own settings send; Reply-To is asked once, visibly."""

from __future__ import annotations

import re

from sqlalchemy import select

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import OutboxMessage
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
    assert "accepted by" in text_of(owner.get(answer.headers["Location"])).lower()


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
    assert re.search(r'<input[^>]*name="reply_to"[^>]*value=""', page)
    db.session.get_one(SmtpSettings, live.id).reply_to = "ada@brightleaf.example"
    db.session.commit()
    assert "no-reply-to" not in text_of(owner.get(PAGE))
