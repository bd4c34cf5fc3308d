"""The mailbox for bounces: saved on its page, read over IMAP, and what it reports about messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import time_machine
from flask import Flask

from portal.bounces.mailbox import imap, reading, saving
from portal.bounces.mailbox.models import BounceMailbox
from portal.bounces.meaning import Meaning
from portal.clock import utcnow
from portal.db import db
from tests.bounces.imap_server import ImapScript
from tests.bounces.mails import MESSAGE_ID, complaint, mail, notification, status_fields
from tests.bounces.support import GRACE, Sent, events, outcome, run_worker, send, suppressed
from tests.conftest import make_config
from tests.smtp import badserver
from tests.smtp.badserver import PASSWORD, USERNAME, BadServer, Peer

PAGE = "/settings/bounces/mailbox"
pytestmark = pytest.mark.both_databases


@pytest.fixture
def script() -> ImapScript:
    return ImapScript()


@pytest.fixture
def server(script: ImapScript) -> Iterator[BadServer]:
    with BadServer(script) as running:
        yield running


@pytest.fixture
def other() -> Iterator[BadServer]:
    with BadServer(ImapScript()) as running:
        yield running


@pytest.fixture
def config(tmp_path, server, other):
    ports = (server.port, other.port)
    env = {
        "SIGNET_SMTP_PRIVATE": " ".join(f"127.0.0.0/8:{port} ::1/128:{port}" for port in ports),
        "SIGNET_SMTP_CA_FILE": badserver.ca_file(),
    }
    return make_config(tmp_path / "instance", env=env)


def fields(server: BadServer, **changes: str) -> dict[str, str]:
    values = {
        "host": "localhost",
        "security": "implicit",
        "port": str(server.port),
        "username": USERNAME,
        "password": PASSWORD,
        "folder": "INBOX",
    }
    return {**values, **changes}


def connect(owner, server: BadServer, **changes: str) -> None:
    assert owner.submit(PAGE, fields(server, **changes)).status_code == 303


def mailbox_of(account_id: int) -> BounceMailbox:
    db.session.rollback()
    found = saving.find(account_id)
    assert found is not None
    db.session.refresh(found)
    return found


def read(account_id: int) -> BounceMailbox:
    """Read the mailbox as a worker does, whether or not it is due, and then assign what it reports."""
    saving.read_now(account_id, now=utcnow())
    reading.read(mailbox_of(account_id).id)
    run_worker()
    return mailbox_of(account_id)


def text_of(browser) -> str:
    answer = browser.get(PAGE)
    assert answer.status_code == 200
    return " ".join(answer.get_data(as_text=True).split())


def about(sent: Sent, raw: bytes) -> bytes:
    """Return a report about a message: its reference and Message-ID in place of those of the sample."""
    return raw.replace(b"k3f7q2w8", sent.reference.encode()).replace(
        MESSAGE_ID.encode(), sent.header_id.strip("<>").encode()
    )


def test_a_bounce_in_the_mailbox_decides_about_its_message(brightleaf, owner, server, script):
    bounced, disliked = send(brightleaf), send(brightleaf, "hal@receiver.example")
    script.mails = {
        3: mail("When do you pay?", "A question", From="grace@receiver.example", Return_Path=f"<{GRACE}>"),
        4: about(bounced, notification(status_fields(GRACE))),
        5: about(disliked, complaint("abuse")),
        6: mail("I am away.", "Out of office", From=GRACE, Auto_Submitted="auto-replied"),
    }
    connect(owner, server)
    row = read(brightleaf)
    assert (row.problem, row.last_uid, row.mails, row.reports) == ("", 6, 4, 2)
    assert outcome(bounced.id).meaning is Meaning.HARD
    assert outcome(disliked.id).meaning is Meaning.COMPLAINT
    assert set(suppressed(brightleaf)) == {GRACE, "hal@receiver.example"}
    # Nothing was changed, and letters of people were not fetched.
    verbs = {line.split(b" ")[0] for line in script.commands}
    assert verbs == {b"CAPABILITY", b"AUTHENTICATE", b"EXAMINE", b"UID", b"LOGOUT"}
    assert all(b"PEEK" in line for line in script.commands if b"FETCH" in line)
    assert script.fetched == [4, 5]
    page = text_of(owner)
    assert "The last reading worked. A running worker reads the mailbox every five minutes." in page
    assert PASSWORD not in page


def test_the_next_reading_goes_on_where_the_last_one_ended(brightleaf, owner, server, script):
    first, second = send(brightleaf), send(brightleaf, "hal@receiver.example")
    script.mails = {10: about(first, notification(status_fields(GRACE)))}
    connect(owner, server)
    read(brightleaf)
    script.mails[11] = about(
        second, notification(status_fields("hal@receiver.example", status="5.2.2", diagnostic=""))
    )
    read(brightleaf)
    assert script.fetched == [10, 11]
    assert outcome(second.id).meaning is Meaning.SOFT
    read(brightleaf)
    assert script.fetched == [10, 11]


def test_a_server_that_does_not_state_the_next_uid_is_read(brightleaf, owner, server, script):
    script.states_next_uid = False
    connect(owner, server)
    row = read(brightleaf)
    assert (row.problem, row.last_uid, row.mails) == ("", 0, 0)
    bounced = send(brightleaf)
    script.mails = {4: mail("A question", "Hello"), 9: about(bounced, notification(status_fields(GRACE)))}
    row = read(brightleaf)
    assert (row.problem, row.last_uid, row.mails, row.reports) == ("", 9, 2, 1)
    assert outcome(bounced.id).meaning is Meaning.HARD


def test_a_renumbered_mailbox_is_read_again_and_nothing_counts_twice(brightleaf, owner, server, script):
    sent = send(brightleaf)
    script.mails = {10: about(sent, notification(status_fields(GRACE)))}
    connect(owner, server)
    read(brightleaf)
    script.uid_validity, script.mails = 8, {1: script.mails[10]}
    assert read(brightleaf).last_uid == 1
    assert script.fetched == [10, 1]
    assert len(events(brightleaf)) == 1


@pytest.mark.parametrize(
    "to",
    [
        "bounces+{}@return.brightleaf.example",
        "BOUNCES+{}@RETURN.BRIGHTLEAF.EXAMPLE",
        "prvs=0123abcdef=bounces+{}@return.brightleaf.example",
        "SRS0=x1y2=AB=return.brightleaf.example=bounces+{}@relay.example",
    ],
)
def test_a_bounce_is_assigned_by_the_address_that_it_came_to(brightleaf, owner, server, script, to):
    sent = send(brightleaf)
    reference = sent.reference.upper() if to.isupper() else sent.reference
    bare = notification(status_fields(GRACE), returned="Subject: hello\n\n", To=to.format(reference))
    script.mails = {
        1: bare,
        2: mail(
            "Hello, when do you pay?", "A question", From="grace@receiver.example", To=to.format(reference)
        ),
    }
    connect(owner, server)
    assert read(brightleaf).reports == 1
    assert outcome(sent.id).meaning is Meaning.HARD


def test_a_bounce_is_assigned_by_the_envelope_id_and_by_no_invented_one(brightleaf, owner, server, script):
    sent = send(brightleaf)
    mta = "Reporting-MTA: dns; relay.sender.example\nOriginal-Envelope-Id: "
    script.mails = {
        number: notification(
            status_fields(GRACE), returned="Subject: hello\n\n", per_message=mta + envelope_id
        )
        for number, envelope_id in enumerate((sent.reference, "0" * 32), 1)
    }
    connect(owner, server)
    assert read(brightleaf).reports == 1
    assert outcome(sent.id).meaning is Meaning.HARD


def test_a_report_that_names_no_message_of_ours_changes_nothing(brightleaf, owner, server, script):
    sent = send(brightleaf)
    forged = notification(status_fields(GRACE), returned="Subject: hello\n\n")
    script.mails = {1: forged, 2: notification(status_fields(GRACE))}
    connect(owner, server)
    read(brightleaf)
    assert outcome(sent.id) is None
    assert not suppressed(brightleaf)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"password": "wrong"}, "The server refused the username or the password"),
        ({"folder": "Bounces"}, "The mailbox has no folder with this name"),
        ({"security": "starttls"}, "The server did not answer"),
    ],
)
def test_a_failure_is_stated_and_tried_again_later(brightleaf, owner, server, changes, problem):
    if changes.get("security"):
        server.script = lambda peer: peer.send(b"220 this is no IMAP server\r\n")
    connect(owner, server, **changes)
    row = read(brightleaf)
    assert row.failures == 1
    assert row.next_read_at > utcnow() + timedelta(minutes=4)
    page = text_of(owner)
    assert problem in page
    assert "secret words of the server" not in page


def test_a_mailbox_is_read_over_starttls(brightleaf, owner, server, script):
    script.starttls, script.capabilities = True, b"IMAP4rev1 STARTTLS AUTH=PLAIN"
    connect(owner, server, security="starttls")
    assert read(brightleaf).problem == ""
    assert script.commands.count(b"STARTTLS") == 1


def _more_before_tls(peer: Peer, tag: bytes, _line: bytes) -> None:
    peer.send(tag + b" OK go on\r\n* CAPABILITY IMAP4rev1 LOGIN\r\n")
    peer.encrypt()


def test_answers_from_before_the_encryption_do_not_count(brightleaf, owner, server, script):
    script.starttls, script.capabilities = True, b"IMAP4rev1 STARTTLS AUTH=PLAIN"
    script.answers[b"STARTTLS"] = _more_before_tls
    connect(owner, server, security="starttls")
    assert read(brightleaf).problem in {"tls", "disconnected"}
    assert not server.received_secret()


@pytest.mark.parametrize(
    "flood",
    [
        lambda peer, _tag, _line: peer.send(b"* SEARCH {99999999999}\r\n"),
        lambda peer, _tag, _line: badserver.repeat_endlessly(b"* 1 EXISTS\r\n")(peer),
        lambda peer, _tag, _line: badserver.repeat_endlessly(b"x" * 1000)(peer),
    ],
    ids=["announced", "lines", "one line"],
)
def test_a_server_that_sends_too_much_is_left(brightleaf, owner, server, script, flood, monkeypatch):
    monkeypatch.setattr(imap, "_MAX_TOTAL_BYTES", 1024 * 1024)  # of 16 MiB, which take long to send
    script.mails = {1: mail("Hello.", "Hello")}
    script.answers[b"UID SEARCH"] = flood
    connect(owner, server)
    assert read(brightleaf).problem in {"too-much", "protocol"}


def test_a_saved_password_only_goes_to_the_server_it_was_typed_for(brightleaf, owner, server, other):
    connect(owner, server)
    read(brightleaf)
    refused = owner.submit(PAGE, fields(other, password=""))
    assert refused.status_code == 422
    assert "Enter the IMAP password." in refused.get_data(as_text=True)
    assert other.connections == 0
    connect(owner, server, password="", folder="INBOX")
    assert read(brightleaf).problem == ""


def test_a_password_that_was_moved_to_another_server_does_not_open(brightleaf, owner, server, other):
    connect(owner, server)
    row = mailbox_of(brightleaf)
    row.port = other.port
    db.session.commit()
    assert read(brightleaf).problem == "password-lost"
    assert other.connections == 0


def test_a_target_inside_the_network_is_refused(brightleaf, owner, server):
    assert owner.submit(PAGE, fields(server, port="25")).status_code == 422
    connect(owner, server, host="127.0.0.1", port="993")
    assert read(brightleaf).problem == "target-refused"


def test_what_is_wrong_is_stated_beside_its_field(brightleaf, owner, server):
    answer = owner.submit(PAGE, fields(server, host="", username="", password="a\x00b", folder=""))
    assert answer.status_code == 422
    page = answer.get_data(as_text=True)
    for sentence in ("Enter the server", "Enter the username", "control character", "Enter the folder"):
        assert sentence in page
    assert saving.find(brightleaf) is None


def test_reading_ends_with_the_mailbox(app: Flask, brightleaf, owner, server):
    connect(owner, server)
    mailbox_id = mailbox_of(brightleaf).id
    assert owner.submit(f"{PAGE}/remove", {}, page=PAGE).status_code == 303
    assert owner.submit(f"{PAGE}/remove", {}, page=PAGE).status_code == 404
    reading.read(mailbox_id)
    assert server.connections == 0
    assert "Stop reading" not in text_of(owner)


@contextmanager
def _later(**step: int) -> Iterator[None]:
    with time_machine.travel(utcnow() + timedelta(**step)):
        yield


def test_a_mailbox_is_due_every_five_minutes(brightleaf, owner, server):
    connect(owner, server)
    read(brightleaf)
    assert reading.find_due_work(utcnow()) == []
    with _later(minutes=6):
        assert reading.find_due_work(utcnow()) == [(reading.JOB, mailbox_of(brightleaf).id)]


def test_another_account_sees_nothing_of_it(brightleaf, copperpot, owner, stranger, server):
    connect(owner, server)
    assert USERNAME not in text_of(stranger)
    assert stranger.submit(f"{PAGE}/remove", {}, page=PAGE).status_code == 404
    assert saving.find(brightleaf) is not None
