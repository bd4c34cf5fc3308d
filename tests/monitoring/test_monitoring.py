"""Liveness, readiness with its reasons, and metrics for requests with the token."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from prometheus_client.parser import text_string_to_metric_families

from portal import bootstrap, create_app
from portal.clock import utcnow
from portal.db import db
from portal.deliveries import rollup
from portal.deliveries.models import RollupCursor
from portal.jobs.models import WorkerHeartbeat
from portal.monitoring.health import ReadinessCache
from portal.monitoring.prometheus import MetricsCache
from portal.outbox.models import DeliveryAttempt, Outcome, Status
from portal.state import get_state
from portal.vault import new_key
from tests.conftest import make_config
from tests.deliveries.conftest import add_attempt, enqueue  # noqa: F401

pytestmark = pytest.mark.both_databases
TOKEN = "a-token-for-the-tests-0123456789"


@pytest.fixture
def config(config):
    return replace(config, metrics_token=TOKEN)


@pytest.fixture
def frozen_time():
    with time_machine.travel(utcnow(), tick=False):
        yield


def scrape(client):
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    found = {}
    for family in text_string_to_metric_families(answer.get_data(as_text=True)):
        for sample in family.samples:
            found[sample.name, *sorted(sample.labels.values())] = sample.value
    return found


def add_heartbeat(now=None):
    db.session.add(WorkerHeartbeat(name="test:1", started_at=utcnow(), seen_at=now or utcnow()))
    db.session.commit()


def test_the_process_responds(client):
    assert client.get("/healthz").get_data(as_text=True) == "ok\n"


@pytest.mark.empty_database
class TestReady:
    @pytest.fixture
    def fresh(self, tmp_path):
        app = create_app(make_config(tmp_path / "fresh"))
        with app.app_context():
            yield app
            db.session.remove()
            db.engine.dispose()

    def check_readiness(self, app):
        get_state(app).discard(ReadinessCache)
        answer = app.test_client().get("/readyz")
        assert answer.is_json
        return answer.status_code, answer.get_json()

    def test_it_is_ready_with_tables_keys_and_a_worker(self, fresh):
        assert self.check_readiness(fresh)[1]["reasons"].keys() == {"migrations"}
        bootstrap.migrate(fresh)
        assert self.check_readiness(fresh)[1]["reasons"].keys() == {"worker"}
        add_heartbeat()
        assert self.check_readiness(fresh) == (200, {"ready": True, "reasons": {}})

    def test_a_missing_worker_and_a_wrong_key_are_reported(self, fresh, tmp_path):
        bootstrap.migrate(fresh)
        add_heartbeat(utcnow() - timedelta(seconds=90))
        other = create_app(make_config(tmp_path / "fresh", env={"SIGNET_KEYS": new_key()}))
        code, metrics = self.check_readiness(other)
        assert code == 503
        assert metrics["reasons"].keys() == {"keys", "worker"}
        with other.app_context():
            db.engine.dispose()


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é"]
)
def test_metrics_need_the_token(client, header):
    answer = client.get("/metrics", headers={"Authorization": header})
    assert answer.status_code == 401
    assert "signet_" not in answer.get_data(as_text=True)


def test_without_a_configured_token_there_are_no_metrics(tmp_path):
    app = create_app(make_config(tmp_path / "other"))
    assert app.test_client().get("/metrics").status_code == 404
    assert app.test_client().get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


def test_metrics_are_read_from_the_tables(app, owner, client, enqueue, add_attempt, frozen_time):  # noqa: F811
    add_heartbeat()
    enqueue(created_at=utcnow() - timedelta(seconds=100))
    sent = enqueue(status=Status.SENT, created_at=utcnow() - timedelta(seconds=4), settled_at=utcnow())
    add_attempt(sent, Outcome.DEFERRED, 1, stage="rcpt", server="smtp.mailgun.org:587")
    add_attempt(sent, Outcome.ACCEPTED, 2, stage="data", server="smtp.mailgun.org:587")
    failed = enqueue(status=Status.FAILED)
    add_attempt(failed, Outcome.REJECTED, 1, stage="<a label>", server="somewhere.example:587")
    metrics = scrape(client)
    assert metrics["signet_queue_depth", "queued"] == 1
    assert metrics["signet_oldest_waiting_seconds",] == pytest.approx(100)
    assert metrics["signet_workers",] == 1
    assert metrics["signet_attempts_total", "deferred", "mailgun", "rcpt"] == 1
    assert metrics["signet_attempts_total", "accepted", "data", "mailgun"] == 1
    assert metrics["signet_attempts_total", "", "other", "rejected"] == 1
    assert metrics["signet_acceptance_seconds_count", "mailgun"] == 1
    assert metrics["signet_acceptance_seconds_bucket", "5.0", "mailgun"] == 1
    assert metrics["signet_acceptance_seconds_bucket", "3.0", "mailgun"] == 0
    assert metrics["signet_acceptance_seconds_sum", "mailgun"] == pytest.approx(4, abs=0.001)


def test_a_rollup_does_not_change_the_metrics(app, owner, client, enqueue, add_attempt):  # noqa: F811
    add_heartbeat()
    for hours in (30, 3, 2, 0):
        at = utcnow() - timedelta(hours=hours)
        sent = enqueue(status=Status.SENT, created_at=at, settled_at=at)
        add_attempt(sent, Outcome.ACCEPTED, 1, stage="data", server="smtp.mailgun.org:587", started_at=at)
    before = scrape(client)
    while rollup.roll_up(utcnow()):
        pass
    rollup.roll_up(utcnow())
    get_state(app).discard(MetricsCache)
    after = scrape(client)
    name = ("signet_attempts_total", "accepted", "data", "mailgun")
    assert before[name] == after[name] == 4
    assert db.session.get(RollupCursor, "attempts").until > utcnow() - timedelta(hours=2)
    db.session.query(DeliveryAttempt).delete()
    db.session.commit()
    get_state(app).discard(MetricsCache)
    assert scrape(client)[name] == 3, "totals stay after old messages are deleted"


def test_metrics_are_cached_for_a_few_seconds(app, owner, client, enqueue):  # noqa: F811
    with time_machine.travel(utcnow(), tick=False) as clock:  # so that a slow machine does not matter
        add_heartbeat()
        first = scrape(client)
        enqueue()
        assert scrape(client)["signet_queue_depth", "queued"] == first["signet_queue_depth", "queued"] == 0
        clock.shift(5)
        assert scrape(client)["signet_queue_depth", "queued"] == 1
