"""Delivery attempts open and close incidents; bursts of refused recipients open one."""

from __future__ import annotations

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.incidents import lifecycle
from portal.incidents.lifecycle import Failure
from portal.incidents.models import EndReason, IncidentKind
from portal.outbox.models import DeliveryAttempt, Outcome
from tests.incidents.conftest import (
    NO_SUCH_USER,
    REFUSED,
    enqueue,
    incidents,
    process_attempt,
    run_worker_jobs,
)
from tests.outbox.support import count_statements

pytestmark = pytest.mark.both_databases


def add_refusal(message_id):
    add_attempt(message_id, Outcome.REJECTED, NO_SUCH_USER)


def add_acceptance(message_id):
    add_attempt(message_id, Outcome.ACCEPTED, None)


def add_attempt(message_id, outcome, diagnosis):
    attempt = DeliveryAttempt(message_id=message_id, number=1, started_at=utcnow(), outcome=outcome)
    attempt.diagnosis = diagnosis
    db.session.add(attempt)
    db.session.commit()


def test_an_acceptance_on_the_same_route_closes_the_incident(brightleaf, clock):
    process_attempt(brightleaf, diagnosis=REFUSED)
    process_attempt(brightleaf, Outcome.ACCEPTED, server="other.example.com:465", version=None)
    assert incidents(brightleaf)[0].is_open
    process_attempt(brightleaf, Outcome.ACCEPTED)
    (incident,) = incidents(brightleaf)
    assert (incident.is_open, incident.ended) == (False, EndReason.FLOWS)


def test_an_acceptance_through_the_platform_does_not_close_an_incident_of_the_own_server(brightleaf, clock):
    process_attempt(brightleaf, diagnosis=REFUSED)
    process_attempt(brightleaf, Outcome.ACCEPTED, version=None)
    assert incidents(brightleaf)[0].is_open


def test_an_acceptance_costs_no_lock_while_an_incident_is_open_that_it_cannot_end(brightleaf, clock):
    diagnosis = {"code": "domain-worse", "kind": "domain", "cause": "The records became worse."}
    failure = Failure(brightleaf, IncidentKind.DOMAIN, diagnosis, "brightleaf.example")
    lifecycle.record_failure(failure, now=utcnow())
    db.session.commit()
    with count_statements() as found:
        process_attempt(brightleaf, Outcome.ACCEPTED)
    assert not [one for one in found if "outbox_queue" in one]
    process_attempt(brightleaf, diagnosis=REFUSED)
    process_attempt(brightleaf, Outcome.ACCEPTED)
    assert [(one.kind, one.is_open) for one in incidents(brightleaf)] == [
        (IncidentKind.DOMAIN, True),
        (IncidentKind.SENDING, False),
    ]


def test_one_refused_recipient_opens_no_incident(brightleaf, clock):
    process_attempt(brightleaf, Outcome.REJECTED, NO_SUCH_USER)
    assert incidents(brightleaf) == []


def test_a_burst_of_refused_recipients_opens_one_incident_for_an_hour(brightleaf, clock):
    for number in range(1, 13):
        message = enqueue(brightleaf, number)
        add_refusal(message.id)
        process_attempt(brightleaf, Outcome.REJECTED, NO_SUCH_USER, message=message.id)
    (incident,) = incidents(brightleaf)
    assert (incident.kind, incident.messages, incident.is_open) == (IncidentKind.RECIPIENTS, 3, True)
    run_worker_jobs()
    assert incidents(brightleaf)[0].is_open
    clock.shift(61 * 60)
    run_worker_jobs()
    assert incidents(brightleaf)[0].ended is EndReason.OVER


def test_refused_recipients_among_many_accepted_ones_open_no_incident(brightleaf, clock):
    for number in range(1, 16):
        add_acceptance(enqueue(brightleaf, number).id)
    for number in range(16, 28):
        message = enqueue(brightleaf, number)
        add_refusal(message.id)
        process_attempt(brightleaf, Outcome.REJECTED, NO_SUCH_USER, message=message.id)
    assert incidents(brightleaf) == []
