"""The table to take away, how long messages are kept, and the figures."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.deliveries import export, retention, rollup, stats
from portal.deliveries.models import DeliveryHour, LogRow, RollupCursor
from portal.outbox import cancellations
from portal.outbox.cancellations import MessageCancellation
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Status

from .conftest import account_of

pytestmark = pytest.mark.both_databases


def _table(browser, query=""):
    answer = browser.get(f"/deliveries/export.csv?{query}")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="brightleaf-deliveries-')
    return list(csv.DictReader(io.StringIO(answer.get_data(as_text=True).lstrip("\ufeff"))))


def test_the_table_holds_what_the_filters_let_through(owner, owe, tried, monkeypatch):
    monkeypatch.setattr(export, "BATCH", 2)
    rows = [owe(status=Status.SENT) for _ in range(5)]
    tried(rows[0], Outcome.DEFERRED, 1, reply_code=451)
    tried(rows[0], Outcome.ACCEPTED, 2, reply_code=250, queue_id="4Xyz")
    owe()
    found = _table(owner, "status=sent")
    assert [int(row["id"]) for row in found] == [row.id for row in reversed(rows)]
    last = found[-1]
    assert (last["reply_code"], last["queue_id"], last["attempts"], last["settings_version"]) == (
        "250", "4Xyz", "2", "3",
    )  # fmt: skip
    assert last["owed_at"].endswith("Z")
    assert "T" in last["owed_at"]
    assert len(_table(owner)) == 6


def test_the_table_is_the_owners_alone(owner, stranger, client, owe):
    owe()
    assert client.get("/deliveries/export.csv").status_code == 303
    assert "person" not in stranger.get("/deliveries/export.csv").get_data(as_text=True)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", " =", "＝"])
def test_a_cell_is_no_formula(owner, owe, start):
    owe(recipient_name=f'{start}HYPERLINK("http://x.example")')
    (row,) = _table(owner)
    assert row["recipient_name"].startswith("'")


def test_words_go_first_then_the_message_and_what_waits_stays(owner, owe, tried):
    now = utcnow()
    young, old, ancient = (
        owe(status=Status.SENT, created_at=now - timedelta(days=days), settled_at=now - timedelta(days=days))
        for days in (10, 91, 401)
    )
    for row in (young, old, ancient):
        tried(row, transcript="     1 ms  C: EHLO x")
    waiting = owe(created_at=now - timedelta(days=500))
    idents = [row.id for row in (young, old, ancient, waiting)]
    while retention.prune(utcnow()):
        pass
    db.session.expire_all()
    found = [db.session.get(OutboxMessage, ident) for ident in idents]
    assert [row and bool(row.text) for row in found] == [True, False, None, True]
    said = {row.message_id: bool(row.transcript) for row in db.session.query(DeliveryAttempt)}
    assert said == {idents[0]: True, idents[1]: False}
    page = owner.get(f"/deliveries/{idents[1]}").get_data(as_text=True)
    assert "The text was removed after 91 days" in page
    assert owner.get(f"/deliveries/{idents[2]}").status_code == 404
    assert db.session.get(LogRow, idents[2]) is None


def test_an_account_chooses_how_long(owner, stranger, owe):
    message = owe(status=Status.SENT, settled_at=utcnow() - timedelta(days=8))
    answer = owner.submit("/deliveries/keep", {"body_days": "7", "row_days": "30"})
    assert answer.status_code == 303
    assert 'value="7"' in owner.get("/deliveries/keep").get_data(as_text=True)
    assert 'value="90"' in stranger.get("/deliveries/keep").get_data(as_text=True)
    assert retention.prune(utcnow()) == 1
    db.session.expire_all()
    assert message.text == ""


@pytest.mark.parametrize(
    ("body", "row", "said"),
    [
        ("0", "30", "whole number of days"),
        ("x", "30", "whole number of days"),
        ("", "30", "whole number of days"),
        ("90", "9999999999999999999999", "whole number of days"),
        ("90", "30", "at least as long"),
    ],
)
def test_days_that_make_no_sense_are_refused(owner, body, row, said):
    answer = owner.submit("/deliveries/keep", {"body_days": body, "row_days": row})
    assert answer.status_code == 422
    assert said in answer.get_data(as_text=True)


def test_the_figures_are_the_same_before_and_after_they_are_added_up(owner, owe):
    now = utcnow().replace(minute=30)
    for hours, status in ((0, "sent"), (2, "sent"), (2, "failed"), (5, "sent"), (200, "sent"), (900, "sent")):
        at = now - timedelta(hours=hours)
        owe(status=Status(status), created_at=at - timedelta(seconds=8), settled_at=at)
    owe(created_at=now - timedelta(hours=1))
    account = account_of().id
    for span, sent in (("day", 3), ("month", 4)):
        before = stats.read(account, span, now=now)
        assert (before.sent, before.failed, before.waiting) == (sent, 1, 1)
        assert 5 <= before.median <= 10
    befores = [stats.read(account, span, now=now) for span in ("day", "month")]
    while rollup.roll_up(now):
        pass
    assert db.session.query(DeliveryHour).count() > 0
    assert [stats.read(account, span, now=now) for span in ("day", "month")] == befores
    page = owner.get("/deliveries?span=month").get_data(as_text=True)
    assert 'class="chart-sent"' in page
    assert "day by day" in page


def test_the_hours_of_past_days_are_kept_as_days_and_the_figures_stay_the_same(owner, stranger, owe):
    now = utcnow().replace(hour=15, minute=30)
    for hours in (*range(0, 30, 5), *range(30, 700, 61), 690, 695):
        for slug, status, took in (
            ("brightleaf", "sent", hours),
            ("brightleaf", "failed", 1),
            ("copperpot", "sent", 4),
        ):
            at = now - timedelta(hours=hours)
            owe(slug, status=Status(status), created_at=at - timedelta(seconds=took), settled_at=at)
    accounts = [account_of(slug).id for slug in ("brightleaf", "copperpot")]

    def everything(when):
        return [stats.read(account, span, now=when) for account in accounts for span in ("day", "month")]

    before = everything(now)
    while rollup.roll_up(now):
        pass
    for _ in range(2):
        assert everything(now) == before
        db.session.query(RollupCursor).filter_by(
            name=stats.DAYS
        ).delete()  # merged once more: nothing changes
        rollup.roll_up(now)
    hours = sorted({row.hour for row in db.session.query(DeliveryHour)})
    edge = (now - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert {one.hour for one in hours if one < edge} == {0}
    assert len({one.hour for one in hours if one >= edge}) > 3
    later = now + timedelta(days=2)
    live = everything(later)
    while rollup.roll_up(later):
        pass
    assert everything(later) == live


def test_what_is_removed_stays_in_the_figures_of_its_day(owner, owe):
    now = utcnow()
    for days in (9, 20):
        owe(status=Status.SENT, settled_at=now - timedelta(days=days))
    while rollup.roll_up(now):
        pass
    before = stats.read(account_of().id, "month", now=now)
    retention.save(account_of().id, retention.Retention(1, 7))
    while retention.prune(now):
        pass
    assert db.session.query(LogRow).count() == 0
    assert stats.read(account_of().id, "month", now=now) == before


def test_why_a_message_was_called_off_goes_with_it(owner, owe):
    now = utcnow()
    old, young = (owe(status=Status.CANCELLED, settled_at=now - timedelta(days=days)).id for days in (20, 2))
    cancellations.record_reason([old, young], "You discarded it.", now=now)
    retention.save(account_of().id, retention.Retention(1, 7))
    while retention.prune(now):
        pass
    assert db.session.scalars(db.select(MessageCancellation.message_id)).all() == [young]


def test_the_worker_is_asked_for_what_is_due_only(owner, owe):
    now = utcnow()
    assert rollup.find_due_work(now) == [("rollup", 0)]
    rollup.roll_up(now)
    rollup.clean_up(now)
    assert rollup.find_due_work(now) == []
    assert rollup.find_due_work(now + timedelta(hours=2)) == [("rollup", 0)]
