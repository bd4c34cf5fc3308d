"""The monitor closes incidents that are over and records times without a worker."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from portal.clock import utcnow
from portal.db import db
from portal.incidents import monitor
from portal.incidents.models import EndReason, Incident, IncidentKind
from portal.outbox.models import DeliveryAttempt, Outcome, Status
from portal.settings import versions
from portal.settings.models import VersionState
from tests.incidents.conftest import (
    DOWN,
    REFUSED,
    SERVER,
    add_settings,
    enqueue,
    incidents,
    process_attempt,
    run_worker_jobs,
)

pytestmark = pytest.mark.both_databases


def test_an_incident_of_replaced_settings_is_closed(brightleaf, clock):
    process_attempt(brightleaf, diagnosis=REFUSED)
    run_worker_jobs()
    assert incidents(brightleaf)[0].is_open
    clock.shift(60)
    newer = add_settings(brightleaf, number=2, state=VersionState.DRAFT)
    versions.activate(newer, now=utcnow())
    db.session.commit()
    run_worker_jobs()
    (incident,) = incidents(brightleaf)
    assert (incident.is_open, incident.ended) == (False, EndReason.REPLACED)


def test_an_incident_that_the_listener_missed_is_closed_by_the_monitor(brightleaf, clock):
    message = enqueue(brightleaf, 1)
    process_attempt(brightleaf, Outcome.DEFERRED, DOWN, message=message.id)
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
    run_worker_jobs()
    assert incidents(brightleaf)[0].ended is EndReason.FLOWS


def test_the_search_for_acceptances_reads_no_older_messages(brightleaf, database):
    query = select(Incident.id).where(Incident.is_open, monitor._is_disproved())
    statement = query.compile(db.engine, compile_kwargs={"literal_binds": True})
    if database == "postgresql":  # its planner chooses by the number of rows
        assert db.session.execute(query).all() == []
        return
    plan = " ".join(row[-1] for row in db.session.execute(text(f"EXPLAIN QUERY PLAN {statement}")))
    assert "ix_delivery_log_settled (account_id=? AND settled_at>?)" in plan
    assert "delivery_attempt_1 (message_id=?" in plan and "ix_outbox_message_log" not in plan


def test_a_time_without_a_worker_is_recorded_as_a_closed_incident(brightleaf, clock):
    run_worker_jobs()
    enqueue(brightleaf, 1)
    clock.shift(3600)
    run_worker_jobs()
    (incident,) = incidents(brightleaf)
    assert (incident.kind, incident.is_open) == (IncidentKind.WORKER, False)
    assert incident.closed_at - incident.opened_at == timedelta(hours=1)
