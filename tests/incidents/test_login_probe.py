"""Results of login probes open and close incidents before an email fails."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.incidents import policy
from portal.incidents.models import EndReason, IncidentKind, OnFailure
from portal.outbox.models import Queue
from portal.outbox.queue import hold
from portal.outbox.sending import drain
from portal.settings.routing import live_version
from tests.incidents.conftest import (
    REFUSED,
    alert_emails,
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


def test_a_login_probe_proves_the_settings_and_reads_the_certificate(point_settings_at, serve, owner):
    server, started_at = serve(), utcnow()
    probe = run_login_probe(point_settings_at(server))
    assert server.messages == []
    assert probe.passed_at >= started_at
    assert timedelta(hours=20) < probe.next_at - utcnow() < timedelta(hours=28)
    assert probe.certificate_until is not None
    page = owner.get("/settings/email-preferences").get_data(as_text=True)
    assert "Last check passed" in page and "certificate is valid until" in page


def test_a_refused_login_probe_opens_an_incident_before_an_email_fails(point_settings_at, brightleaf, serve):
    version = point_settings_at(serve(AUTH=b"535 5.7.8 no\r\n"))
    probe = run_login_probe(version)
    (incident,) = incidents(brightleaf)
    assert (incident.kind, incident.is_open, incident.messages, incident.reply_code) == (
        IncidentKind.SENDING,
        True,
        0,
        535,
    )
    assert probe.failures == 1 and probe.next_at < utcnow() + timedelta(minutes=5)
    run_worker_jobs()
    assert [row.kind for row in alert_emails()] == ["incident-opened"]


def test_a_successful_login_probe_closes_the_incident_and_releases_the_queue(
    point_settings_at, brightleaf, serve
):
    version = point_settings_at(serve(AUTH=b"535 5.7.8 no\r\n"))
    run_login_probe(version)
    point_settings_at(serve())
    version = live_version(brightleaf)
    process_attempt(brightleaf, diagnosis=REFUSED, server="localhost:1", stage="auth")
    hold(brightleaf, REFUSED, now=utcnow())
    db.session.commit()
    run_login_probe(version)
    assert {incident.ended for incident in incidents(brightleaf)} == {EndReason.PROVED}
    assert db.session.get(Queue, brightleaf).held_at is None


def test_a_login_probe_does_not_disprove_failures_after_the_login(point_settings_at, brightleaf, serve):
    version = point_settings_at(serve())
    process_attempt(brightleaf, diagnosis=REFUSED, stage="data")
    run_login_probe(version)
    assert incidents(brightleaf)[0].is_open


def test_no_login_probe_runs_while_waiting_emails_probe_the_server(point_settings_at, brightleaf, serve):
    server = serve()
    version = point_settings_at(server)
    enqueue(brightleaf, 1)
    hold(brightleaf, REFUSED, now=utcnow())
    db.session.commit()
    run_login_probe(version)
    assert server.connections == 0
    assert db.session.get(Queue, brightleaf).held_at is not None


def test_the_stop_policy_ends_automatic_retries(point_settings_at, brightleaf, serve):
    version = point_settings_at(serve(AUTH=b"535 5.7.8 no\r\n"))
    policy.set_failure_action(brightleaf, OnFailure.STOP, 30)
    enqueue(brightleaf, 1)
    drain.Drain(brightleaf).run()
    queue = db.session.get(Queue, brightleaf, populate_existing=True)
    assert queue.held_at is not None and queue.next_probe_at is None
    working = serve()
    point_settings_at(working)
    run_login_probe(version)
    assert db.session.get(Queue, brightleaf, populate_existing=True).held_at is not None
    assert not incidents(brightleaf)[0].is_open
    assert working.messages == []
