"""Bounce mails that the rehearsal plays, from the page of a message to the outcome: over IMAP, as a real server's."""

from __future__ import annotations

import imaplib
import ssl
from html import unescape
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from portal.bounces.mailbox import reading, saving
from portal.bounces.meaning import Meaning
from portal.clock import utcnow
from portal.db import db
from portal.oauth.issuers import REHEARSAL_READ_SCOPE, REHEARSAL_SCOPE
from portal.oauth.models import OAuthGrant, Purpose
from portal.oauth.tokens import GrantTokens
from portal.rehearsal import mailboxes
from portal.rehearsal.consents import Consents, TokenLogin
from portal.rehearsal.listeners import PASSWORD, ListenerKind
from tests.bounces.support import account_id_of, events, outcome, run_worker, suppressed
from tests.rehearsal.conftest import TIMEOUT_S
from tests.rehearsal.test_connecting import ALLOW, exchange
from tests.rehearsal.test_played_reports import PAGE, play
from tests.rehearsal.test_played_reports import sent as sent
from tests.settings.conftest import rehearsal as rehearsal
from tests.settings.conftest import rehearsal_config

SENDER = "a@brightleaf.example"
MAILBOX_PAGE = "/settings/bounces/mailbox"


@pytest.fixture
def config(tmp_path, rehearsal):
    return rehearsal_config(tmp_path, rehearsal)


def read() -> str:
    """Read the mailbox as a worker does; return the code of the problem."""
    mailbox = saving.find(account_id_of())
    assert mailbox is not None
    reading.read(mailbox.id)
    run_worker()
    db.session.refresh(mailbox)
    return mailbox.problem


def test_a_played_bounce_is_read_from_the_mailbox_of_its_sender(app, owner, rehearsal, sent):
    port = rehearsal.ports[ListenerKind.IMAP]
    page = play(owner, "mailbox", "delay-then-delivery")
    assert f"server localhost, port {port}, SSL/TLS, username {SENDER}, password {PASSWORD}." in page
    fields = {"host": "localhost", "security": "implicit", "port": str(port), "folder": "INBOX"}
    answer = owner.submit(MAILBOX_PAGE, {**fields, "username": SENDER, "password": PASSWORD})
    assert answer.status_code == 303
    assert read() == ""
    assert outcome(sent.id).meaning is Meaning.DELIVERED
    for what, meaning in (("replay", Meaning.HARD), ("complaint", Meaning.COMPLAINT)):
        assert "Signet reads it now" in play(owner, "mailbox", what)
        assert read() == ""
        assert outcome(sent.id).meaning is meaning
    assert len(events()) == 4, "the replayed bounce counts once"
    assert suppressed(account_id_of()) != {}
    assert "no signature" in play(owner, "mailbox", "wrong-signature")
    assert owner.submit(f"{PAGE}/report", {"provider": "mailbox", "what": "?"}, page=PAGE).status_code == 400


def test_the_server_answers_an_independent_client_and_refuses_what_it_does_not_know(
    app, owner, rehearsal, sent
):
    play(owner, "mailbox", "bounce")
    trust = ssl.create_default_context(cafile=str(rehearsal.files.ca))
    port = rehearsal.ports[ListenerKind.IMAP]
    with imaplib.IMAP4_SSL("localhost", port, ssl_context=trust, timeout=TIMEOUT_S) as imap:
        assert imap.noop()[0] == "OK"
        with pytest.raises(imaplib.IMAP4.error):
            imap.authenticate("PLAIN", lambda _: b"\0a@brightleaf.example\0wrong")
        with pytest.raises(imaplib.IMAP4.error):
            imap.login(SENDER, PASSWORD)
        with pytest.raises(imaplib.IMAP4.error):
            imap.authenticate("PLAIN", lambda _: b"no credentials")
        imap.authenticate("PLAIN", lambda _: f"\0{SENDER}\0{PASSWORD}".encode())
        assert imap.select("Other", readonly=True)[0] == "NO"
        assert imap.select("INBOX", readonly=True) == ("OK", [b"1"])
        _, found = imap.uid("FETCH", "1,7", "(UID RFC822.SIZE BODY.PEEK[HEADER]<0.20>)")
        assert found[0][1] == b"Return-Path: <>\r\nFro"
        with pytest.raises(imaplib.IMAP4.error):
            imap.uid("STORE", "1", "+FLAGS", "(\\Deleted)")


def test_a_mailbox_keeps_its_newest_mails_and_takes_details_of_its_address(tmp_path):
    uids = [mailboxes.add(tmp_path / "m", "Bounces+1@x.example", b"Subject: a\n\n") for _ in range(3)]
    assert uids == [1, 2, 3]
    folder = mailboxes.mailbox_folder(tmp_path / "m", "bounces@x.example")
    assert mailboxes.uids(folder) == uids
    assert mailboxes.read(folder, 2) == b"Subject: a\r\n\r\n"
    assert mailboxes.read(folder, 9) == b""
    assert mailboxes.uids(tmp_path / "none") == []
    for _ in range(mailboxes.MAX_MAILS):
        mailboxes.add(tmp_path / "m", "bounces@x.example", b"x")
    assert len(mailboxes.uids(folder)) == mailboxes.MAX_MAILS
    assert mailboxes.uids(folder)[0] == 4


def consent_to_read(owner, **choices: str):
    """Go from the portal to the page of consent, decide there, and come back; return what the page asked and the answer."""
    page = unescape(
        owner.submit(f"{MAILBOX_PAGE}/connect/rehearsal", {"mailbox": SENDER}).get_data(as_text=True)
    )
    url = page.partition('content="1; url=')[2].partition('"')[0]
    asked = exchange(url)[2]
    form = {name: value for name, value in (ALLOW | {"mailbox": SENDER} | choices).items() if value}
    back = urlsplit(exchange(url, "POST", form)[1]["Location"])
    return asked, owner.get(back.path, query_string=back.query)


def test_a_mailbox_is_read_by_consent_with_its_faults(app, owner, rehearsal, sent, config):
    assert "Rehearsal, by signing in" in owner.get(MAILBOX_PAGE).get_data(as_text=True)
    refused = consent_to_read(owner, may_send="")[1]
    assert refused.status_code == 400
    assert saving.find(account_id_of()) is None
    asked, answer = consent_to_read(owner)
    assert "Signet may read this mailbox" in asked
    assert answer.status_code == 303
    assert "Signet reads it now" in play(owner, "mailbox", "replay")
    assert read() == ""
    assert outcome(sent.id).meaning is Meaning.HARD
    (grant,) = db.session.scalars(select(OAuthGrant)).all()
    assert grant.purpose is Purpose.READ
    login = TokenLogin(SENDER, GrantTokens(grant.id).fetch().secret.reveal())
    issued = Consents(config)
    assert issued.accepts(login, REHEARSAL_READ_SCOPE, utcnow())
    assert not issued.accepts(login, REHEARSAL_SCOPE, utcnow()), "a permission to read sends nothing"
    consent_to_read(owner, fault="token-refused")
    assert read() == "token-refused"
