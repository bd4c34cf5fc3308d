"""What a sweep of an idle worker costs: its statements are counted, those of a usual and of a full one."""

from dataclasses import replace
from datetime import timedelta

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.jobs import heartbeat, worker
from portal.jobs.backend import QUEUES, parts_of
from portal.jobs.models import WorkerHeartbeat
from portal.jobs.registry import add_work_source
from tests.conftest import make_config
from tests.outbox.support import count_statements

pytestmark = pytest.mark.both_databases
STARTED = utcnow()
# What else an idle worker sends in a second: looks into its job queues, and the monitor every ten seconds.
BESIDE_SWEEPS = 1.2
SWEEP_S = 5.0  # the default of SIGNET_SWEEP_SECONDS
WANTED = 5.0  # statements a second, at most


def sweep(app, *, is_full):
    """Sweep once; return the statements, without those of the job queues."""
    with count_statements(*db.engines.values()) as found:
        worker.sweep(app, started_at=STARTED, threads=4, queues=parts_of(QUEUES), is_full=is_full)
    return found


def test_an_idle_worker_sends_few_statements(app, config):
    sweep(app, is_full=True)  # inserts the heartbeat
    full, usual = len(sweep(app, is_full=True)), len(sweep(app, is_full=False))
    rounds = worker.sweeps_for_a_full_one(replace(config, sweep=SWEEP_S))
    average = (full + (rounds - 1) * usual) / rounds
    assert usual < full
    assert average / SWEEP_S + BESIDE_SWEEPS < WANTED


@pytest.mark.parametrize(("seconds", "rounds"), [(0.5, 6), (5.0, 6), (10.0, 3), (60.0, 1)])
def test_patient_work_waits_half_a_minute_or_one_sweep(tmp_path, seconds, rounds):
    assert worker.sweeps_for_a_full_one(make_config(tmp_path / "instance", sweep=seconds)) == rounds


def test_patient_work_and_outdated_heartbeats_are_found_by_a_full_sweep(app):
    asked = []
    add_work_source(app, lambda _now: asked.append("patient") or [], is_patient=True)
    add_work_source(app, lambda _now: asked.append("urgent") or [])
    old = utcnow() - timedelta(days=3)
    with app.app_context():
        heartbeat.record_heartbeat(old, started_at=old)
        db.session.execute(db.update(WorkerHeartbeat).values(name="lost"))
        db.session.commit()
    sweep(app, is_full=False)
    assert asked == ["urgent"]
    sweep(app, is_full=True)
    assert asked == ["urgent", "urgent", "patient"]
    assert [one.name for one in heartbeat.recent_workers()] == [heartbeat.process_name()]
