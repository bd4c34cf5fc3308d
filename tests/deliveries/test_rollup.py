"""The rollup of full hours and days, and the statistics read from it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.deliveries import retention, rollup, stats
from portal.deliveries.models import DeliveryHour, LogRow, RollupCursor
from portal.outbox.models import Status

from .conftest import account_of

pytestmark = pytest.mark.both_databases


def test_statistics_are_the_same_before_and_after_the_rollup(owner, enqueue):
    now = utcnow().replace(minute=30)
    for hours, status in ((0, "sent"), (2, "sent"), (2, "failed"), (5, "sent"), (200, "sent"), (900, "sent")):
        at = now - timedelta(hours=hours)
        enqueue(status=Status(status), created_at=at - timedelta(seconds=8), settled_at=at)
    enqueue(created_at=now - timedelta(hours=1))
    account = account_of().id
    for span, sent in (("day", 3), ("month", 4)):
        before = stats.read(account, span, now=now)
        assert (before.sent, before.failed, before.waiting) == (sent, 1, 1)
        assert 5 <= before.median <= 10
    both_before = [stats.read(account, span, now=now) for span in ("day", "month")]
    while rollup.roll_up(now):
        pass
    assert db.session.query(DeliveryHour).count() > 0
    assert [stats.read(account, span, now=now) for span in ("day", "month")] == both_before
    page = owner.get("/deliveries?span=month").get_data(as_text=True)
    assert 'class="chart-sent"' in page
    assert "Figures by day" in page


def test_hours_of_past_days_are_merged_and_statistics_stay_the_same(owner, stranger, enqueue):
    now = utcnow().replace(hour=15, minute=30)
    for hours in (*range(0, 30, 5), *range(30, 700, 61), 690, 695):
        for slug, status, took in (
            ("brightleaf", "sent", hours),
            ("brightleaf", "failed", 1),
            ("copperpot", "sent", 4),
        ):
            at = now - timedelta(hours=hours)
            enqueue(slug, status=Status(status), created_at=at - timedelta(seconds=took), settled_at=at)
    accounts = [account_of(slug).id for slug in ("brightleaf", "copperpot")]

    def all_stats(when):
        return [stats.read(account, span, now=when) for account in accounts for span in ("day", "month")]

    before = all_stats(now)
    while rollup.roll_up(now):
        pass
    for _ in range(2):
        assert all_stats(now) == before
        db.session.query(RollupCursor).filter_by(
            name=stats.DAYS
        ).delete()  # merging once more changes nothing
        rollup.roll_up(now)
    hours = sorted({row.hour for row in db.session.query(DeliveryHour)})
    edge = (now - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert {hour.hour for hour in hours if hour < edge} == {0}
    assert len({hour.hour for hour in hours if hour >= edge}) > 3
    later = now + timedelta(days=2)
    live = all_stats(later)
    while rollup.roll_up(later):
        pass
    assert all_stats(later) == live


def test_removed_messages_stay_in_the_statistics(owner, enqueue):
    now = utcnow()
    for days in (9, 20):
        enqueue(status=Status.SENT, settled_at=now - timedelta(days=days))
    while rollup.roll_up(now):
        pass
    before = stats.read(account_of().id, "month", now=now)
    retention.save(account_of().id, retention.Retention(1, 7))
    while retention.prune(now):
        pass
    assert db.session.query(LogRow).count() == 0
    assert stats.read(account_of().id, "month", now=now) == before


def test_the_job_is_found_only_when_it_is_due(owner, enqueue):
    now = utcnow()
    assert rollup.find_due_work(now) == [("rollup", 0)]
    rollup.roll_up(now)
    rollup.clean_up(now)
    assert rollup.find_due_work(now) == []
    assert rollup.find_due_work(now + timedelta(hours=2)) == [("rollup", 0)]
