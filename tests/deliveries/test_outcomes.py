"""What the delivery log shows of reports after the acceptance: page of a message, list, filter, figures, CSV and API."""

from __future__ import annotations

import csv
import io
import re
import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import event, text, update

from portal.accounts.models import Owner
from portal.affiliates import suppressions
from portal.bounces import processing
from portal.bounces.meaning import Meaning, Report
from portal.bounces.models import BounceEvent, EventState, MessageOutcome
from portal.bounces.recording import record_event
from portal.clock import utcnow
from portal.db import db
from portal.deliveries import message_outcomes, retention
from portal.deliveries.models import LogRow
from portal.outbox.models import DeliveryAttempt, OutboxMessage
from tests.bounces.support import account_id_of, make_hook, run_worker, send
from tests.deliveries.conftest import listed_ids
from tests.pages import downloaded

pytestmark = pytest.mark.both_databases


@pytest.fixture
def brightleaf(app, owner) -> int:
    return account_id_of()


def report(account_id: int, sent, meaning: Meaning, source: str = "mailgun", **more) -> None:
    found = Report(meaning, f"{sent.id}{meaning}", reference=sent.reference, **more)
    record_event(account_id, source, found, now=utcnow())
    db.session.commit()
    run_worker()


def text_of(browser, url: str) -> str:
    answer = browser.get(url)
    assert answer.status_code == 200
    return " ".join(answer.get_data(as_text=True).split())


def test_of_very_many_messages_with_one_queue_id_the_newest_are_found(brightleaf):
    ids = [send(brightleaf, queue_id="same").id for _ in range(22)]
    assert message_outcomes._by_queue_id(brightleaf, "same") == ids[:1:-1]


@pytest.mark.only_postgresql
def test_an_event_that_is_matched_while_its_message_is_deleted_leaves_no_outcome(app, brightleaf):
    sent = send(brightleaf)
    old = utcnow() - timedelta(days=401)
    for table, key in ((OutboxMessage, OutboxMessage.id), (LogRow, LogRow.message_id)):
        db.session.execute(update(table).where(key == sent.id).values(settled_at=old))
    record_event(brightleaf, "mailgun", Report(Meaning.HARD, "late", reference=sent.reference), now=utcnow())
    db.session.commit()

    def match():
        with app.app_context():
            processing.process(brightleaf)

    thread = threading.Thread(target=match)

    def match_meanwhile(_connection, _cursor, statement, *_more):
        if statement.startswith("DELETE FROM outbox_message") and not thread.ident:
            thread.start()
            _wait_until(lambda: not thread.is_alive() or _waits_for_lock())

    event.listen(db.engine, "before_cursor_execute", match_meanwhile)
    assert retention.prune(utcnow()) == 1
    thread.join(120)
    event.remove(db.engine, "before_cursor_execute", match_meanwhile)
    db.session.rollback()
    assert db.session.query(OutboxMessage).count() == 0
    assert db.session.query(MessageOutcome).count() == 0
    assert [row.state for row in db.session.query(BounceEvent)] == [EventState.UNMATCHED]


def _waits_for_lock():
    query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with db.engine.connect() as connection:
        return connection.scalar(query) > 0


def _wait_until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_page_of_a_message_shows_its_history(brightleaf, owner, stranger):
    sent = send(brightleaf)
    later = utcnow() + timedelta(minutes=5)
    report(brightleaf, sent, Meaning.DELAYED, status="4.4.1", occurred_at=utcnow())
    report(brightleaf, sent, Meaning.HARD, status="5.1.1", reason="No <b>such</b> user", occurred_at=later)
    text = text_of(owner, f"/deliveries/{sent.id}")
    for part in (
        "Bounced: the mailbox does not exist (5.1.1).",
        "No &lt;b&gt;such&lt;/b&gt; user · reported by Mailgun",
        "Delayed: the provider tries again (4.4.1)",
        "Ask the affiliate for another address.",
        "Attempt 1 was accepted",
    ):
        assert part in text
    assert text.index("Attempt 1 was accepted") < text.rindex("Bounced: the mailbox does not exist (5.1.1)")
    assert stranger.get(f"/deliveries/{sent.id}").status_code == 404


def test_the_advice_is_true_for_the_recipient_as_it_is_now(brightleaf, owner):
    sent = send(brightleaf)
    report(brightleaf, sent, Meaning.COMPLAINT)
    page, blocked = f"/deliveries/{sent.id}", "Signet sends this recipient no more emails."
    assert blocked in text_of(owner, page)
    row = suppressions.find_suppression(brightleaf, sent.recipient)
    suppressions.lift(brightleaf, row.id, why="By mistake", by="Ada", now=utcnow())
    assert blocked not in text_of(owner, page)
    own = send(brightleaf, "ada@brightleaf.example", affiliate=False)
    report(brightleaf, own, Meaning.HARD)
    assert "Ask the affiliate" not in text_of(owner, f"/deliveries/{own.id}")


def test_the_providers_own_list_is_named_with_a_link(brightleaf, owner):
    sent = send(brightleaf)
    report(brightleaf, sent, Meaning.HARD, is_listed=True)
    text = text_of(owner, f"/deliveries/{sent.id}")
    assert "Not sent: Mailgun blocks this address." in text
    assert "the mailbox does not exist" not in text
    assert "Mailgun blocks this address. Before you write to it again" in text
    assert 'href="https://app.mailgun.com/"' in text


def test_a_report_of_a_mailbox_reader_names_its_source(brightleaf, owner):
    sent = send(brightleaf)
    report(brightleaf, sent, Meaning.SOFT, source="mailbox")
    assert "Reported by your mailbox for bounces" in text_of(owner, f"/deliveries/{sent.id}")


def test_list_filter_and_figures_know_the_outcome(brightleaf, owner):
    assert "Your provider does not report yet whether accepted emails reach the recipient." not in text_of(
        owner, "/deliveries"
    )
    messages = [send(brightleaf, f"p{number}@receiver.example") for number in range(6)]
    assert "Your provider does not report yet whether accepted emails reach the recipient." in text_of(
        owner, "/deliveries"
    )
    for sent, meaning in zip(
        messages,
        (Meaning.HARD, Meaning.SOFT, Meaning.COMPLAINT, Meaning.DELIVERED, Meaning.HARD),
        strict=False,
    ):
        report(brightleaf, sent, meaning)
    page = owner.get("/deliveries?outcome=hard").get_data(as_text=True)
    assert listed_ids(page) == [messages[4].id, messages[0].id]
    assert "No such mailbox" in page
    assert listed_ids(
        owner.get("/deliveries?outcome=hard&status=sent&q=p4@receiver.example").get_data(as_text=True)
    ) == [messages[4].id]
    assert listed_ids(owner.get("/deliveries?outcome=hard&status=failed").get_data(as_text=True)) == []
    assert (
        listed_ids(
            owner.get("/deliveries?outcome=soft&status=failed&kind=new-purchase").get_data(as_text=True)
        )
        == []
    )
    assert len(listed_ids(owner.get("/deliveries?outcome=invented").get_data(as_text=True))) == 6
    text = text_of(owner, "/deliveries")
    assert "3 (50.0 %)" in text
    assert (
        "Amazon reviews senders with 5.0 % bounces or more. Google and Yahoo ask for less than 0.30 % complaints."
        in text
    )
    assert "2 (" not in text
    db.session.execute(update(Owner).values(language="de"))
    db.session.commit()
    assert "3 (50,0 %)" in text_of(owner, "/deliveries")


def test_deliveries_that_no_source_reports_are_not_counted_as_none(brightleaf, owner):
    make_hook(brightleaf, "generic")
    sent = send(brightleaf)
    text = text_of(owner, "/deliveries")
    assert "Nothing has been reported yet about the emails of this period." in text
    assert "Set up reports" not in text
    report(brightleaf, sent, Meaning.HARD)
    text = text_of(owner, "/deliveries")
    assert "Delivered</dt> <dd> not reported </dd>" in text
    assert "chart-delivered" not in text
    assert 'data-label="Delivered"' not in text
    home = text_of(owner, "/")
    assert "Bounced</dt>" in home
    assert "Delivered</dt>" not in home


@pytest.mark.parametrize("span", ["day", "month"])
def test_the_chart_divides_accepted_emails_where_deliveries_are_reported(brightleaf, owner, span):
    messages = [send(brightleaf, f"p{number}@receiver.example") for number in range(5)]
    for sent, meaning in zip(
        messages, (Meaning.DELIVERED, Meaning.COMPLAINT, Meaning.HARD, Meaning.DELIVERED), strict=False
    ):
        report(brightleaf, sent, meaning)
    text = text_of(owner, f"/deliveries?span={span}")
    assert re.search(r'aria-label="[^"]*: Delivered 3, Accepted, not reported yet 1, Bounced 1"', text)
    assert text.count('class="chart-delivered"') == 1
    assert 'data-label="Delivered">3</td>' in text, "the table for readers, and that of the domains"
    assert text.count('data-label="Delivered">3</td>') == 2


def test_the_csv_has_the_outcome(brightleaf, owner):
    sent, other = send(brightleaf), send(brightleaf, "other@receiver.example")
    report(brightleaf, sent, Meaning.BLOCKED, status="5.7.1", reason="=policy")
    answer = downloaded(owner, "/deliveries/export.csv")
    rows = {
        int(row["id"]): row
        for row in csv.DictReader(io.StringIO(answer.get_data(as_text=True).lstrip("\ufeff")))
    }
    row = rows[sent.id]
    assert (row["outcome"], row["outcome_code"], row["outcome_reason"], row["outcome_source"]) == (
        "blocked",
        "5.7.1",
        "'=policy",
        "mailgun",
    )
    assert rows[other.id]["outcome"] == ""


def test_a_deleted_message_takes_its_reports_along(brightleaf):
    sent = send(brightleaf)
    report(brightleaf, sent, Meaning.DELIVERED)
    retention.save(brightleaf, retention.Retention(1, 1))
    retention.prune(utcnow() + timedelta(days=2))
    for table in (OutboxMessage, DeliveryAttempt, BounceEvent, MessageOutcome):
        assert db.session.query(table).count() == 0, table
