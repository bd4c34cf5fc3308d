"""Incidents for certificates and log-ins that end on a known day."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine

from portal.clock import utcnow
from portal.db import db
from portal.incidents import expiry
from portal.incidents.models import IncidentKind
from portal.settings.models import LoginProbe
from portal.settings.routing import live_version
from tests.incidents.conftest import (
    incidents,
    run_login_probe,
)


@pytest.fixture
def clock():
    """Override the frozen clock: servers are connected to, and the database's own clock decides what is due."""
    return


def test_a_certificate_that_expires_soon_opens_an_incident(point_settings_at, brightleaf, serve):
    version = point_settings_at(serve())
    probe = run_login_probe(version)
    assert incidents(brightleaf) == [] or incidents(brightleaf)[0].kind is IncidentKind.DEADLINE
    probe.certificate_until = utcnow() + timedelta(days=9)
    expiry.check(version, probe, now=utcnow())
    db.session.commit()
    (incident,) = [row for row in incidents(brightleaf) if row.is_open]
    assert incident.kind is IncidentKind.DEADLINE and incident.diagnosis["whose_move"] == "provider"
    probe.certificate_until = utcnow() + timedelta(days=80)
    expiry.check(version, probe, now=utcnow())
    db.session.commit()
    assert not incidents(brightleaf)[0].is_open


def test_a_deprecated_login_opens_an_incident_two_weeks_before(brightleaf, clock):
    with time_machine.travel("2026-12-20 09:00:00+00:00", tick=False):
        version = live_version(brightleaf)
        version.host = "smtp.office365.com"
        expiry.check(version, LoginProbe(version_id=version.id, account_id=brightleaf), now=utcnow())
        db.session.commit()
        (incident,) = incidents(brightleaf)
        assert incident.kind is IncidentKind.DEADLINE and "December 2026" in incident.diagnosis["cause"]
