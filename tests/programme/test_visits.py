"""Counts stay in memory until they are written, also while the database is away, and no day knows the one before."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from portal.clock import utcnow
from portal.db import db
from portal.enrolment import listing
from portal.programme import visits
from portal.programme.models import VisitCount
from portal.programme.visitors import TodaysVisitors
from tests.programme.conftest import BROWSER, add_affiliate

pytestmark = pytest.mark.both_databases
ENVIRON = {"REMOTE_ADDR": "192.0.2.7", "HTTP_USER_AGENT": BROWSER}


def _count(app, affiliate, times=1, zone="UTC"):
    buffer, id_ = visits.buffer_of(app), affiliate.id
    db.session.commit()  # the counts are written in another transaction
    for _ in range(times):
        buffer.count(app, id_, zone, ENVIRON, is_person=True)
    return buffer


def _rows():
    db.session.rollback()
    return list(db.session.execute(select(VisitCount.visits, VisitCount.visitors)))


def test_counts_are_written_by_themselves(app, grace):
    _count(app, grace, 3)
    timer = visits.buffer_of(app)._timer
    timer.join(120)
    assert _rows() == [(3, 1)]


def test_no_timer_is_left_where_the_counts_are_written_before_it(app, grace):
    buffer = _count(app, grace)
    timer = buffer._timer
    buffer.flush(app)
    assert timer.finished.is_set(), "cancelled, or it would write into what comes later"
    assert buffer._timer is None


def test_counts_of_threads_add_up(app, grace):
    buffer, id_ = visits.buffer_of(app), grace.id
    db.session.commit()

    def visit():
        for _ in range(50):
            buffer.count(app, id_, "UTC", ENVIRON, is_person=True)

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    buffer.flush(app)
    assert _rows() == [(200, 1)]


def test_counts_wait_while_the_database_is_away(app, grace, monkeypatch):
    buffer = _count(app, grace, 2)

    def fails(_pending):
        raise OperationalError("INSERT", {}, Exception("away"))

    with monkeypatch.context() as patch:
        patch.setattr(visits, "_write", fails)
        buffer.flush(app)
    assert _rows() == []
    _count(app, grace)
    buffer.flush(app)
    assert _rows() == [(3, 1)]


@pytest.mark.tuning(visit_flush_s=0.01, visit_retry_s=0.01)
def test_counts_that_the_database_refused_are_written_without_another_visit(app, grace, monkeypatch):
    failed, write = [], visits._write

    def fails_twice(pending):
        if len(failed) < 2:
            failed.append(pending)
            raise OperationalError("INSERT", {}, Exception("away"))
        write(pending)

    monkeypatch.setattr(visits, "_write", fails_twice)
    _count(app, grace, 2)
    end = time.monotonic() + 120
    while not _rows() and time.monotonic() < end:
        time.sleep(0.02)
    assert (_rows(), len(failed)) == ([(2, 1)], 2)


def test_a_visit_counts_on_the_day_of_the_account(app, grace):
    zone = "Pacific/Kiritimati"
    _count(app, grace, zone=zone).flush(app)
    db.session.rollback()
    assert db.session.scalar(select(VisitCount.day)) == utcnow().astimezone(ZoneInfo(zone)).date()


def test_the_next_day_starts_without_the_visitors_and_the_secret_of_the_day_before():
    seen, day = TodaysVisitors(), utcnow().date()
    assert [seen.is_new(1, ENVIRON, day), seen.is_new(1, ENVIRON, day)] == [True, False]
    secret, hashes = seen._secret, set(seen._seen)
    assert not [one for one in hashes if b"192.0.2.7" in one]
    assert seen.is_new(2, ENVIRON, day), "another affiliate's link"
    assert seen.is_new(1, ENVIRON, day + timedelta(days=1))
    assert seen._secret != secret
    assert not hashes & seen._seen


def test_visitors_are_forgotten_when_their_day_ends_also_without_another_visit():
    seen = TodaysVisitors()
    assert seen.is_new(1, ENVIRON, utcnow().date() - timedelta(days=1))
    limit = time.monotonic() + 120
    while (seen._seen or seen._secret) and time.monotonic() < limit:
        time.sleep(0.01)
    assert (seen._seen, seen._secret) == (set(), b"")


def test_the_sign_ups_end_with_the_links_that_were_visited_where_visits_are_counted(owner, grace, set_shop):
    add_affiliate(name="Ada", mailbox="ada@example.org")
    assert listing.funnel(grace.account_id, now=utcnow()).visited is None
    assert "visits through their link" not in owner.get("/affiliates").get_data(as_text=True)
    set_shop()
    assert listing.funnel(grace.account_id, now=utcnow()).visited == 0
    db.session.add(VisitCount(affiliate_id=grace.id, day=utcnow().date(), visits=3))
    db.session.commit()
    found = listing.funnel(grace.account_id, now=utcnow())
    assert (found.signed_up, found.approved, found.visited) == (2, 2, 1)
    assert "visits through their link" in owner.get("/affiliates").get_data(as_text=True)
