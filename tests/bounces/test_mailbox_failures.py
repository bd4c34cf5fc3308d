"""A mailbox that fails: one email that the server never hands out, and failures that last and become an incident."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from portal.bounces.mailbox import reading
from portal.bounces.mailbox.models import BounceMailbox
from portal.bounces.models import EventState
from portal.clock import utcnow
from portal.db import db
from portal.incidents.models import EndReason, Incident, IncidentKind
from tests.bounces.imap_server import ImapScript
from tests.bounces.mails import mail, notification, status_fields
from tests.bounces.support import GRACE, events, outcome, run_worker, send
from tests.bounces.test_mailbox import PAGE, about, connect, mailbox_of, text_of
from tests.bounces.test_mailbox import config as config
from tests.bounces.test_mailbox import other as other
from tests.bounces.test_mailbox import script as script
from tests.bounces.test_mailbox import server as server
from tests.conftest import PASSWORD
from tests.incidents.conftest import clock as clock
from tests.incidents.conftest import incidents
from tests.smtp.badserver import Peer

pytestmark = pytest.mark.both_databases
POISON = 30


def read_when_due(account_id: int, clock) -> BounceMailbox:
    """Read the mailbox at the time that its last reading set, as the worker does."""
    row = mailbox_of(account_id)
    clock.shift(max(row.next_read_at - utcnow(), timedelta()) + timedelta(seconds=1))
    reading.read(row.id)
    run_worker()
    return mailbox_of(account_id)


def refuse(_script: ImapScript, peer: Peer, tag: bytes, _line: bytes) -> None:
    peer.send(tag + b" NO that email is damaged\r\n")


def hang_up(_script: ImapScript, peer: Peer, _tag: bytes, _line: bytes) -> None:
    peer.disconnect()


def ignore_the_limit(_script: ImapScript, peer: Peer, _tag: bytes, _line: bytes) -> None:
    peer.send(b"* 1 FETCH (UID %d BODY[]<0> {99999999}\r\n" % POISON)


def poison(script: ImapScript, *, answer: Callable[..., None], part: bytes) -> None:
    """Let each FETCH of one part of the mail ``POISON`` fail."""

    def fetch(peer: Peer, tag: bytes, line: bytes) -> None:
        if re.search(rb"\b%d\b" % POISON, line.split(b" ")[2]) and part in line:
            answer(script, peer, tag, line)
        else:
            script._answer(peer, tag, line)

    script.answers[b"UID FETCH"] = fetch


@pytest.mark.parametrize(
    ("answer", "part"), [(refuse, b"[HEADER]"), (hang_up, b"[HEADER]"), (ignore_the_limit, b"BODY.PEEK[]")]
)
def test_an_email_that_is_never_handed_out_is_passed_over(
    brightleaf, clock, owner, server, script, answer, part
):
    sent = send(brightleaf)
    script.mails = {uid: mail("Hello.", "Hello") for uid in (28, 29)}
    script.mails[POISON] = notification(status_fields(GRACE))
    script.mails[31] = about(sent, notification(status_fields(GRACE)))
    poison(script, answer=answer, part=part)
    connect(owner, server)
    readings = 1
    while not (row := read_when_due(brightleaf, clock)).skipped:
        readings += 1
    assert readings in {3, 4}, "the first one may ask for several headers at once"
    assert (row.problem != "", row.last_uid, row.skipped, row.reports) == (True, POISON, 1, 0)
    row = read_when_due(brightleaf, clock)
    assert (row.problem, row.last_uid, row.skipped, row.reports) == ("", 31, 1, 1)
    assert outcome(sent.id) is not None
    (skipped,) = [one for one in events(brightleaf) if one.state is EventState.UNMATCHED]
    assert f"UID: {POISON}\n" in skipped.raw
    assert "did not let Signet read one email" in text_of(owner)
    listed = owner.get("/settings/bounces/events").get_data(as_text=True)
    assert "The server did not let Signet read an email in the mailbox" in listed
    assert f"UID: {POISON}" in listed


def test_failures_before_any_email_pass_over_nothing(brightleaf, clock, owner, server, script):
    script.mails = {POISON: mail("Hello.", "Hello")}
    script.answers[b"UID SEARCH"] = lambda peer, tag, _line: peer.send(tag + b" NO busy\r\n")
    connect(owner, server)
    for _ in range(5):
        row = read_when_due(brightleaf, clock)
    assert (row.skipped, row.failures) == (0, 5)
    script.answers.clear()
    assert read_when_due(brightleaf, clock).mails == 1


def test_a_server_that_hands_out_no_email_at_all_loses_none(brightleaf, clock, owner, server, script):
    sent = send(brightleaf)
    script.mails = {28: mail("Hello.", "Hello"), POISON: about(sent, notification(status_fields(GRACE)))}
    script.answers[b"UID FETCH"] = lambda peer, tag, _line: peer.send(tag + b" NO [UNAVAILABLE] later\r\n")
    connect(owner, server)
    for _ in range(8):
        row = read_when_due(brightleaf, clock)
    assert (row.skipped, row.failures, row.last_uid) == (0, 8, 0)
    script.answers.clear()
    row = read_when_due(brightleaf, clock)
    assert (row.problem, row.mails, row.reports) == ("", 2, 1)
    assert outcome(sent.id) is not None


def test_neighbours_that_are_never_handed_out_are_passed_over_once_another_email_is(
    brightleaf, clock, owner, server, script
):
    script.mails = {POISON: mail("Hello.", "Hello")}
    refused = {POISON, POISON + 1}

    def fetch(peer: Peer, tag: bytes, line: bytes) -> None:
        is_refused = refused & {int(one) for one in line.split(b" ")[2].split(b",")}
        (refuse(script, peer, tag, line) if is_refused else script._answer(peer, tag, line))

    script.answers[b"UID FETCH"] = fetch
    connect(owner, server)
    for _ in range(5):
        row = read_when_due(brightleaf, clock)
    assert (row.skipped, row.mails) == (0, 0), "no other email shows that it is the fault of this one"
    script.mails |= {uid: mail("Hello.", "Hello") for uid in (POISON + 1, POISON + 2)}
    readings = 0
    while row.problem and readings < 30:
        row, readings = read_when_due(brightleaf, clock), readings + 1
    assert (row.problem, row.skipped, row.last_uid, row.mails) == ("", 2, POISON + 2, 1)


def the_incident(account_id: int) -> Incident | None:
    db.session.rollback()
    found = [row for row in incidents(account_id) if row.kind is IncidentKind.MAILBOX]
    assert len(found) <= 1
    return found[0] if found else None


def test_a_refused_log_in_is_an_incident_until_the_mailbox_is_read(brightleaf, clock, owner, server):
    connect(owner, server, password="wrong")
    for _ in range(2):
        read_when_due(brightleaf, clock)
    assert the_incident(brightleaf) is None
    for _ in range(3):
        read_when_due(brightleaf, clock)
    row = the_incident(brightleaf)
    assert row.is_open
    assert (row.cause, row.server) == ("mailbox-unreadable", f"localhost:{server.port}")
    page = owner.get(f"/incidents/{row.id}").get_data(as_text=True)
    assert "Your mailbox for bounces cannot be read" in page
    assert "refused the username or the password" in page
    assert "Mailbox for bounces" in page
    assert owner.get("/incidents").status_code == 200
    assert owner.submit("/account/is-it-you", {"password": PASSWORD}).status_code == 303
    connect(owner, server)
    assert read_when_due(brightleaf, clock).problem == ""
    row = the_incident(brightleaf)
    assert (row.is_open, row.ended) == (False, EndReason.READABLE)
    page = owner.get(f"/incidents/{row.id}").get_data(as_text=True)
    assert "Signet reads the mailbox for bounces again." in page


def test_a_server_that_is_away_is_an_incident_after_two_hours(brightleaf, clock, owner, server, script):
    connect(owner, server)
    read_when_due(brightleaf, clock)
    script.answers[b"CAPABILITY"] = lambda peer, _tag, _line: peer.disconnect()
    went_away = utcnow()
    while the_incident(brightleaf) is None:
        row = read_when_due(brightleaf, clock)
        assert row.problem != ""
        assert utcnow() - went_away < timedelta(hours=12)
    assert utcnow() - went_away > timedelta(hours=2)
    owner.submit(f"{PAGE}/remove", {}, page=PAGE)
    assert the_incident(brightleaf).ended is EndReason.REMOVED
