"""Failures are grouped into incidents, which end by themselves."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from portal.clock import utcnow
from portal.db import db
from portal.incidents import detection, monitor
from portal.incidents.detection import SettledAttempt
from portal.incidents.models import EndReason, Incident, IncidentKind
from portal.outbox.models import DeliveryAttempt, Outcome, Status
from portal.settings import versions
from portal.settings.models import VersionState
from tests.incidents.conftest import (
    DOWN,
    NO_SUCH_USER,
    REFUSED,
    SERVER,
    account_id,
    happens,
    incidents,
    live_settings,
    owe,
    work,
)

pytestmark = pytest.mark.both_databases


def test_many_failures_with_one_cause_at_one_server_are_one_incident(brightleaf, clock):
    happens(brightleaf, diagnosis=REFUSED, message=1, reply_code=535, reply_text="5.7.8 no")
    clock.shift(60)
    happens(brightleaf, diagnosis=REFUSED, message=2)
    happens(brightleaf, diagnosis=REFUSED, message=2)
    (one,) = incidents(brightleaf)
    assert (one.is_open, one.attempts, one.messages, one.kind) == (True, 3, 2, IncidentKind.SENDING)
    assert one.last_seen_at - one.opened_at == timedelta(minutes=1)


def test_another_cause_another_server_and_another_account_are_incidents_of_their_own(
    brightleaf, stranger, clock
):
    copperpot = account_id("copperpot")
    happens(brightleaf, diagnosis=REFUSED)
    happens(brightleaf, Outcome.DEFERRED, DOWN)
    happens(brightleaf, diagnosis=REFUSED, server="other.example.com:465")
    happens(copperpot, diagnosis=REFUSED)
    assert len(incidents(brightleaf)) == 3
    assert len(incidents(copperpot)) == 1


def test_it_ends_when_mail_flows_again_the_same_way(brightleaf, clock):
    happens(brightleaf, diagnosis=REFUSED)
    happens(brightleaf, Outcome.ACCEPTED, server="other.example.com:465", version=None)
    assert incidents(brightleaf)[0].is_open
    happens(brightleaf, Outcome.ACCEPTED)
    (one,) = incidents(brightleaf)
    assert (one.is_open, one.ended) == (False, EndReason.FLOWS)


def test_mail_through_the_platform_does_not_end_trouble_of_ones_own_server(brightleaf, clock):
    happens(brightleaf, diagnosis=REFUSED)
    happens(brightleaf, Outcome.ACCEPTED, version=None)
    assert incidents(brightleaf)[0].is_open


def test_it_ends_when_other_settings_that_work_have_taken_over(brightleaf, clock):
    happens(brightleaf, diagnosis=REFUSED)
    work()
    assert incidents(brightleaf)[0].is_open
    clock.shift(60)
    newer = live_settings(brightleaf, number=2, state=VersionState.DRAFT)
    versions.activate(newer, now=utcnow())
    db.session.commit()
    work()
    (one,) = incidents(brightleaf)
    assert (one.is_open, one.ended) == (False, EndReason.REPLACED)


def test_what_the_moment_forgot_is_found_by_the_watch(brightleaf, clock):
    message = owe(brightleaf, 1)
    happens(brightleaf, Outcome.DEFERRED, DOWN, message=message.id)
    clock.shift(60)
    db.session.add(
        DeliveryAttempt(
            message_id=message.id,
            number=1,
            version_number=1,
            server=SERVER,
            started_at=utcnow(),
            outcome=Outcome.ACCEPTED,
        )
    )
    message.status, message.settled_at = Status.SENT, utcnow()
    db.session.commit()
    work()
    assert incidents(brightleaf)[0].ended is EndReason.FLOWS


def test_what_an_account_sent_before_its_trouble_is_not_gone_through_to_find_its_end(brightleaf, database):
    query = select(Incident.id).where(Incident.is_open, monitor._disproved())
    statement = query.compile(db.engine, compile_kwargs={"literal_binds": True})
    if database == "postgresql":  # whose planner knows how many rows there are
        assert db.session.execute(query).all() == []
        return
    plan = " ".join(row[-1] for row in db.session.execute(text(f"EXPLAIN QUERY PLAN {statement}")))
    assert "ix_delivery_log_settled (account_id=? AND settled_at>?)" in plan
    assert "delivery_attempt_1 (message_id=?" in plan and "ix_outbox_message_log" not in plan


def test_what_comes_back_within_half_an_hour_is_the_same_incident(brightleaf, clock):
    happens(brightleaf, diagnosis=REFUSED)
    happens(brightleaf, Outcome.ACCEPTED)
    clock.shift(29 * 60)
    happens(brightleaf, diagnosis=REFUSED)
    (one,) = incidents(brightleaf)
    assert (one.is_open, one.episodes) == (True, 2)
    happens(brightleaf, Outcome.ACCEPTED)
    clock.shift(31 * 60)
    happens(brightleaf, diagnosis=REFUSED)
    assert [row.is_open for row in incidents(brightleaf)] == [False, True]


def test_one_bad_address_opens_nothing(brightleaf, clock):
    happens(brightleaf, Outcome.REJECTED, NO_SUCH_USER)
    assert incidents(brightleaf) == []


def test_very_many_bad_addresses_open_one_incident_which_ends_an_hour_later(brightleaf, clock):
    for number in range(1, 13):
        message = owe(brightleaf, number)
        refuse(message.id)
        happens(brightleaf, Outcome.REJECTED, NO_SUCH_USER, message=message.id)
    (one,) = incidents(brightleaf)
    assert (one.kind, one.messages, one.is_open) == (IncidentKind.RECIPIENTS, 3, True)
    work()
    assert incidents(brightleaf)[0].is_open
    clock.shift(61 * 60)
    work()
    assert incidents(brightleaf)[0].ended is EndReason.OVER


def test_bad_addresses_among_many_good_ones_open_nothing(brightleaf, clock):
    for number in range(1, 16):
        accept(owe(brightleaf, number).id)
    for number in range(16, 28):
        message = owe(brightleaf, number)
        refuse(message.id)
        happens(brightleaf, Outcome.REJECTED, NO_SUCH_USER, message=message.id)
    assert incidents(brightleaf) == []


def refuse(message_id):
    tried(message_id, Outcome.REJECTED, NO_SUCH_USER)


def accept(message_id):
    tried(message_id, Outcome.ACCEPTED, None)


def tried(message_id, outcome, diagnosis):
    row = DeliveryAttempt(message_id=message_id, number=1, started_at=utcnow(), outcome=outcome)
    row.diagnosis = diagnosis
    db.session.add(row)
    db.session.commit()


def test_two_workers_at_once_open_one_incident(app, brightleaf):
    barrier = threading.Barrier(6)

    def fail(number):
        with app.app_context():
            barrier.wait()
            one = SettledAttempt(brightleaf, number, Outcome.HELD, SERVER, 1, diagnosis=REFUSED)
            detection.process(one, now=utcnow())
            db.session.commit()

    threads = [threading.Thread(target=fail, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    (one,) = incidents(brightleaf)
    assert (one.attempts, one.messages) == (6, 6)


def test_a_time_without_any_worker_is_written_into_the_history(brightleaf, clock):
    work()
    owe(brightleaf, 1)
    clock.shift(3600)
    work()
    (one,) = incidents(brightleaf)
    assert (one.kind, one.is_open) == (IncidentKind.WORKER, False)
    assert one.closed_at - one.opened_at == timedelta(hours=1)
