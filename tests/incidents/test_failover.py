"""Failover: emails leave through the platform's server and return, and none is delivered twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.incidents import failover, policy
from portal.incidents.models import OnFailure
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Status
from portal.outbox.sending import drain
from portal.settings.routing import live_version
from tests.incidents.conftest import (
    DOWN,
    enqueue,
    incidents,
    process_attempt,
    run_login_probe,
    run_worker_jobs,
)


@pytest.fixture
def clock():
    """Override the frozen clock: servers are connected to, and the database's own clock decides what is due."""
    return


def test_emails_fail_over_after_the_chosen_minutes_and_fail_back(point_settings_at, brightleaf, serve, owner):
    failing, platform = serve(AUTH=b"535 5.7.8 no\r\n"), serve()
    version = point_settings_at(failing, platform)
    policy.set_failure_action(brightleaf, OnFailure.PLATFORM, 30)
    run_worker_jobs()
    message_id = enqueue(brightleaf, 1).id
    drain.Drain(brightleaf).run()
    assert db.session.get(OutboxMessage, message_id, populate_existing=True).status is Status.HELD
    (incident,) = incidents(brightleaf)
    run_worker_jobs()
    assert live_version(brightleaf).failover_since is None, "the chosen minutes are not over"
    incident.episode_started_at -= timedelta(minutes=31)
    db.session.commit()
    run_worker_jobs()
    assert live_version(brightleaf).failover_since is not None
    drain.Drain(brightleaf).run()
    assert len(platform.messages) == 1
    assert b"Reply-To: ada@brightleaf.example" in platform.messages[0]
    assert incidents(brightleaf)[0].is_open
    attempt = (
        db.session.query(DeliveryAttempt).filter_by(message_id=message_id, outcome=Outcome.ACCEPTED).one()
    )
    assert attempt.version_number is None
    assert "The platform’s sender" in owner.get(f"/deliveries/{message_id}").get_data(as_text=True)
    working = serve()
    version = point_settings_at(working, platform)
    run_login_probe(version)
    assert live_version(brightleaf).failover_since is None
    assert not incidents(brightleaf)[0].is_open
    enqueue(brightleaf, 2)
    drain.Drain(brightleaf).run()
    assert len(working.messages) == 1 and len(platform.messages) == 1


def test_a_possibly_delivered_email_does_not_fail_over(point_settings_at, brightleaf, serve):
    own, platform = serve(), serve()
    point_settings_at(own, platform)
    possible_duplicate = enqueue(brightleaf, 1)
    db.session.add(
        DeliveryAttempt(
            message_id=possible_duplicate.id,
            number=1,
            version_number=1,
            server="localhost:1",
            started_at=utcnow(),
            outcome=Outcome.DEFERRED,
            ambiguous=True,
        )
    )
    possible_duplicate.attempts = 1
    db.session.commit()
    enqueue(brightleaf, 2)
    process_attempt(brightleaf, Outcome.DEFERRED, DOWN)
    failover.start(brightleaf, now=utcnow())
    drain.Drain(brightleaf).run()
    assert len(platform.messages) == 1 and b"affiliate2@" in platform.messages[0]
    assert (
        db.session.get(OutboxMessage, possible_duplicate.id, populate_existing=True).status is Status.QUEUED
    )
    failover.end_manually(brightleaf, now=utcnow())
    drain.Drain(brightleaf).run()
    assert len(own.messages) == 1 and b"affiliate1@" in own.messages[0]


def test_a_possibly_delivered_email_expires_after_two_days(point_settings_at, brightleaf, serve):
    own, platform = serve(), serve()
    point_settings_at(own, platform)
    possible_duplicate = enqueue(brightleaf, 1)
    attempt = DeliveryAttempt(
        message_id=possible_duplicate.id, number=1, version_number=1, outcome=Outcome.DEFERRED, server="x:1"
    )
    attempt.started_at, attempt.ambiguous = utcnow() - timedelta(hours=49), True
    db.session.add(attempt)
    possible_duplicate.attempts = 1
    db.session.commit()
    failover.start(brightleaf, now=utcnow())
    drain.Drain(brightleaf).run()
    assert platform.messages == []
    assert (
        db.session.get(OutboxMessage, possible_duplicate.id, populate_existing=True).status is Status.FAILED
    )
