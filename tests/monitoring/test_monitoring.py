"""What a watcher is told: alive, ready or why not, and figures for those with the token."""

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


def scrape(client):
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    found = {}
    for family in text_string_to_metric_families(answer.get_data(as_text=True)):
        for sample in family.samples:
            found[sample.name, *sorted(sample.labels.values())] = sample.value
    return found


def seen(now=None):
    db.session.add(WorkerHeartbeat(name="test:1", started_at=utcnow(), seen_at=now or utcnow()))
    db.session.commit()


def test_the_process_says_that_it_answers(client):
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

    def ask(self, app):
        get_state(app).discard(ReadinessCache)
        answer = app.test_client().get("/readyz")
        assert answer.is_json
        return answer.status_code, answer.get_json()

    def test_it_is_ready_when_tables_keys_and_a_worker_are_there(self, fresh):
        assert self.ask(fresh)[1]["reasons"].keys() == {"migrations"}
        bootstrap.migrate(fresh)
        assert self.ask(fresh)[1]["reasons"].keys() == {"worker"}
        seen()
        assert self.ask(fresh) == (200, {"ready": True, "reasons": {}})

    def test_a_worker_gone_for_a_minute_and_a_wrong_key_are_told(self, fresh, tmp_path):
        bootstrap.migrate(fresh)
        seen(utcnow() - timedelta(seconds=90))
        other = create_app(make_config(tmp_path / "fresh", env={"SIGNET_KEYS": new_key()}))
        code, told = self.ask(other)
        assert code == 503
        assert told["reasons"].keys() == {"keys", "worker"}
        with other.app_context():
            db.engine.dispose()


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é"]
)
def test_figures_are_for_those_with_the_token(client, header):
    answer = client.get("/metrics", headers={"Authorization": header})
    assert answer.status_code == 401
    assert "signet_" not in answer.get_data(as_text=True)


def test_without_a_token_set_there_are_no_figures(tmp_path):
    app = create_app(make_config(tmp_path / "other"))
    assert app.test_client().get("/metrics").status_code == 404
    assert app.test_client().get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


def test_the_figures_are_those_of_the_tables(app, owner, client, enqueue, add_attempt):  # noqa: F811
    seen()
    enqueue(created_at=utcnow() - timedelta(seconds=100))
    sent = enqueue(status=Status.SENT, created_at=utcnow() - timedelta(seconds=4), settled_at=utcnow())
    add_attempt(sent, Outcome.DEFERRED, 1, stage="rcpt", server="smtp.mailgun.org:587")
    add_attempt(sent, Outcome.ACCEPTED, 2, stage="data", server="smtp.mailgun.org:587")
    failed = enqueue(status=Status.FAILED)
    add_attempt(failed, Outcome.REJECTED, 1, stage="<a label>", server="somewhere.example:587")
    told = scrape(client)
    assert told["signet_queue_depth", "queued"] == 1
    assert 99 < told["signet_oldest_waiting_seconds",] < 160
    assert told["signet_workers",] == 1
    assert told["signet_attempts_total", "deferred", "mailgun", "rcpt"] == 1
    assert told["signet_attempts_total", "accepted", "data", "mailgun"] == 1
    assert told["signet_attempts_total", "", "other", "rejected"] == 1
    assert told["signet_acceptance_seconds_count", "mailgun"] == 1
    assert told["signet_acceptance_seconds_bucket", "5.0", "mailgun"] == 1
    assert told["signet_acceptance_seconds_bucket", "3.0", "mailgun"] == 0
    assert told["signet_acceptance_seconds_sum", "mailgun"] == pytest.approx(4, abs=0.5)


def test_a_rollup_changes_no_figure_and_is_counted_once(app, owner, client, enqueue, add_attempt):  # noqa: F811
    seen()
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
    assert scrape(client)[name] == 3, "what was added up stays when old messages go"


def test_figures_are_asked_for_once_in_a_few_seconds(app, owner, client, enqueue):  # noqa: F811
    with time_machine.travel(utcnow(), tick=False) as clock:  # however slow the machine is
        seen()
        first = scrape(client)
        enqueue()
        assert scrape(client)["signet_queue_depth", "queued"] == first["signet_queue_depth", "queued"] == 0
        clock.shift(5)
        assert scrape(client)["signet_queue_depth", "queued"] == 1
