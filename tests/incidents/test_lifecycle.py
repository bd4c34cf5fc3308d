"""Failures with one cause at one server are one incident, also for concurrent workers."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.incidents import detection
from portal.incidents.detection import SettledAttempt
from portal.incidents.models import IncidentKind
from portal.outbox.models import Outcome
from tests.incidents.conftest import (
    DOWN,
    REFUSED,
    SERVER,
    account_id_of,
    incidents,
    process_attempt,
)
from tests.outbox.support import run_together

pytestmark = pytest.mark.both_databases


def test_many_failures_with_one_cause_at_one_server_are_one_incident(brightleaf, clock):
    process_attempt(brightleaf, diagnosis=REFUSED, message=1, reply_code=535, reply_text="5.7.8 no")
    clock.shift(60)
    process_attempt(brightleaf, diagnosis=REFUSED, message=2)
    process_attempt(brightleaf, diagnosis=REFUSED, message=2)
    (incident,) = incidents(brightleaf)
    assert (incident.is_open, incident.attempts, incident.messages, incident.kind) == (
        True,
        3,
        2,
        IncidentKind.SENDING,
    )
    assert incident.last_seen_at - incident.opened_at == timedelta(minutes=1)


def test_other_causes_servers_and_accounts_have_their_own_incidents(brightleaf, stranger, clock):
    copperpot = account_id_of("copperpot")
    process_attempt(brightleaf, diagnosis=REFUSED)
    process_attempt(brightleaf, Outcome.DEFERRED, DOWN)
    process_attempt(brightleaf, diagnosis=REFUSED, server="other.example.com:465")
    process_attempt(copperpot, diagnosis=REFUSED)
    assert len(incidents(brightleaf)) == 3
    assert len(incidents(copperpot)) == 1


def test_a_failure_that_returns_within_half_an_hour_reopens_its_incident(brightleaf, clock):
    process_attempt(brightleaf, diagnosis=REFUSED)
    process_attempt(brightleaf, Outcome.ACCEPTED)
    clock.shift(29 * 60)
    process_attempt(brightleaf, diagnosis=REFUSED)
    (incident,) = incidents(brightleaf)
    assert (incident.is_open, incident.episodes) == (True, 2)
    process_attempt(brightleaf, Outcome.ACCEPTED)
    clock.shift(31 * 60)
    process_attempt(brightleaf, diagnosis=REFUSED)
    assert [row.is_open for row in incidents(brightleaf)] == [False, True]


def test_concurrent_workers_open_one_incident(app, brightleaf):
    def fail(number):
        attempt = SettledAttempt(brightleaf, number, Outcome.HELD, SERVER, 1, diagnosis=REFUSED)
        detection.process(attempt, now=utcnow())
        db.session.commit()

    assert run_together(app, 6, fail) == [None] * 6
    (incident,) = incidents(brightleaf)
    assert (incident.attempts, incident.messages) == (6, 6)
