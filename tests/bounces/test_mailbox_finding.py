"""What the mailbox reader finds besides reports that come directly: test emails, and what an owner forwards as an attachment."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import select

from portal.accounts.models import Owner
from portal.arrival.models import FromOutcome, TestEmail
from portal.arrival.pasting import store
from portal.bounces.mailbox import finding
from portal.bounces.mailbox.candidates import Expected, MailKind, kind_of
from portal.bounces.meaning import Meaning
from portal.bounces.parsing.model import BounceClass, RecipientReport
from portal.clock import utcnow
from portal.db import db
from tests.arrival import receivers
from tests.bounces.mails import mail, notification, status_fields
from tests.bounces.support import GRACE, Sent, outcome, send
from tests.bounces.test_mailbox import about, connect, read
from tests.bounces.test_mailbox import config as config
from tests.bounces.test_mailbox import other as other
from tests.bounces.test_mailbox import script as script
from tests.bounces.test_mailbox import server as server

pytestmark = pytest.mark.both_databases
LETTER = {"From": "grace@receiver.example", "Return_Path": f"<{GRACE}>"}


def add_test_email(account_id: int) -> Sent:
    """Add a test email that a server has accepted."""
    sent, now = send(account_id, "ada@receiver.example", affiliate=False), utcnow()
    row = TestEmail(
        account_id=account_id, message_id=sent.id, token_hash=f"{sent.id:064}", recipient=sent.recipient
    )
    row.created_at = row.sent_at = now
    row.expires_at = now + timedelta(days=7)
    row.sender, row.header_id, row.version_number = "Brightleaf <info@brightleaf.example>", sent.header_id, 1
    row.return_path = "info@brightleaf.example"
    db.session.add(row)
    db.session.commit()
    return sent


def the_test() -> TestEmail:
    db.session.rollback()
    return db.session.scalars(select(TestEmail).execution_options(populate_existing=True)).one()


def arrived(sent: Sent, above: str = "") -> bytes:
    """Return a message as Google delivers it, with further header fields above the others."""
    head = receivers.received(receivers.GMAIL, sent.header_id)
    return f"{above}{head}X-Signet-Ref: {sent.reference}\n\nHello".encode()


def forwarded(inner: bytes, sender: str) -> bytes:
    parts = [b"Content-Type: text/plain\n\nSee below.\n", b"Content-Type: message/rfc822\n\n" + inner]
    body = b"".join(b"--outer\n" + part + b"\n" for part in parts) + b"--outer--\n"
    kind = 'multipart/mixed; boundary="outer"'
    head = mail("", "Fwd: Undelivered", From=f"Ada <{sender}>", Return_Path=f"<{sender}>", Content_Type=kind)
    return head + body


def owner_of(account_id: int) -> str:
    return db.session.scalars(select(Owner.mailbox).where(Owner.account_id == account_id)).one()


def test_a_test_email_is_found_without_a_click(brightleaf, owner, server, script):
    sent = add_test_email(brightleaf)
    long = "".join(f"X-Filter-{number}: {'x' * 200}\n" for number in range(60))
    script.mails = {
        1: arrived(send(brightleaf)),  # no test email
        2: arrived(sent, long),  # its own fields are beyond those that are read first
        3: mail("When do you pay?", "A question", **LETTER),
    }
    connect(owner, server)
    row = read(brightleaf)
    assert (row.problem, row.mails, row.reports, script.fetched) == ("", 3, 0, [1, 2])
    found = the_test()
    assert found.outcome == FromOutcome.AS_PROMISED
    assert found.received_at is not None
    page = unescape(owner.get("/settings/arrival").get_data(as_text=True))
    assert "The From address arrived unchanged." in page
    assert "from the email in the mailbox for bounces" in page
    script.mails[4] = arrived(sent)
    read(brightleaf)
    assert script.fetched == [1, 2], "nothing is looked for any more"


def test_a_found_copy_does_not_replace_the_results_that_the_owner_pasted(brightleaf, owner, server, script):
    pasted = add_test_email(brightleaf)
    store(brightleaf, arrived(pasted).decode(), now=utcnow())
    add_test_email(brightleaf)  # whose headers are waited for
    script.mails = {1: arrived(pasted).replace(b"dmarc=pass", b"dmarc=fail")}
    connect(owner, server)
    read(brightleaf)
    assert script.fetched == [1]
    row = db.session.scalars(select(TestEmail).where(TestEmail.message_id == pasted.id)).one()
    assert row.outcome == FromOutcome.AS_PROMISED
    assert row.received_at is not None
    assert row.observed is not None
    assert not row.observed["is_found"]


def test_a_copy_of_a_sent_email_did_not_arrive(brightleaf, owner, server, script):
    sent = add_test_email(brightleaf)
    text = f"From: info@brightleaf.example\nMessage-ID: {sent.header_id}\nX-Signet-Ref: {sent.reference}\n\nHello"
    script.mails = {1: text.encode(), 2: arrived(sent).replace(sent.reference.encode(), b"0" * 32)}
    connect(owner, server)
    read(brightleaf)
    assert the_test().received_at is None


def test_an_owner_forwards_a_bounce_and_a_test_email_as_attachments(brightleaf, owner, server, script):
    bounced, tested = send(brightleaf), add_test_email(brightleaf)
    bounce = about(bounced, notification(status_fields(GRACE)))
    ada = owner_of(brightleaf)
    script.mails = {1: forwarded(bounce, ada), 2: forwarded(arrived(tested), ada.upper())}
    connect(owner, server)
    assert read(brightleaf).reports == 1
    assert outcome(bounced.id).meaning is Meaning.HARD
    assert the_test().outcome == FromOutcome.AS_PROMISED


def test_attachments_of_other_people_are_not_fetched(brightleaf, owner, server, script):
    sent = send(brightleaf)
    script.mails = {1: forwarded(about(sent, notification(status_fields(GRACE))), "mallory@receiver.example")}
    connect(owner, server)
    assert read(brightleaf).reports == 0
    assert script.fetched == []
    assert outcome(sent.id) is None


@pytest.mark.parametrize(
    ("raw", "expected", "kind"),
    [
        (b"From: ada@x.example\nContent-Type: multipart/mixed; boundary=a\n\n", Expected(), MailKind.LETTER),
        (
            b"From: ada@x.example\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n",
            Expected(frozenset({"ada@x.example"})),
            MailKind.FORWARD,
        ),
        (b"From: ada@x.example\n\n", Expected(frozenset({"ada@x.example"})), MailKind.LETTER),
        (b"From: a@x.example\nX-Signet-Ref: 1\n\n", Expected(), MailKind.LETTER),
        (b"From: a@x.example\nX-Signet-Ref: 1\n\n", Expected(test_email=True), MailKind.TEST_EMAIL),
        (b"From: a@x.example\nX-Long: ...", Expected(test_email=True), MailKind.TEST_EMAIL),
        (b"From: a@x.example\nX-Long: ...", Expected(), MailKind.LETTER),
        (b"From: MAILER-DAEMON@x.example\nX-Signet-Ref: 1\n\n", Expected(test_email=True), MailKind.REPORT),
        (b"To: bounces+" + b"a" * 32 + b"@x.example\n\n", Expected(), MailKind.REPORT),
    ],
)
def test_headers_decide_what_is_fetched(raw, expected, kind):
    assert kind_of(raw, expected) is kind


def test_the_words_of_a_report_state_each_code_once():
    bare = RecipientReport(BounceClass.HARD, recipient="a@x.example", status="5.1.1", reply_code="550")
    assert finding._words_of(replace(bare, reason="550 5.1.1 gone")) == "a@x.example: 550 5.1.1 gone"
    assert finding._words_of(replace(bare, reason="gone")) == "a@x.example: 550 5.1.1 gone"
