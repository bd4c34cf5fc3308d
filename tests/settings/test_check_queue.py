"""One check of each account at a time, so that an account with a mute server delays neither other checks nor alerts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import Account
from portal.accounts.registration import create_owner
from portal.clock import utcnow
from portal.db import db
from portal.incidents import alerts, detection
from portal.incidents.detection import SettledAttempt
from portal.jobs import backend, worker
from portal.jobs.fair_pool import FairPools
from portal.jobs.registry import job_registry
from portal.outbox.models import Outcome
from portal.outbox.sending.drain import drain_queue
from portal.settings import check, versions
from portal.settings.checking import check_requests
from portal.settings.models import SettingsCheck, SmtpSettings
from portal.settings.validation import SettingsInput
from portal.state import get_state
from tests.conftest import PASSWORD, make_config
from tests.incidents.conftest import REFUSED
from tests.outbox.support import run_together, wait_for
from tests.settings.conftest import LIMITS, PAGE, checks, save, text_of, work
from tests.settings.conftest import versions as saved
from tests.smtp import badserver
from tests.smtp.badserver import BadServer, mute

_BEHIND = "Your previous check is still running. This one starts when it ends."


@pytest.fixture
def silent() -> Iterator[BadServer]:
    """A server that accepts connections and never answers, until the test ends."""
    with BadServer(mute) as running:
        yield running


@pytest.fixture
def config(tmp_path, servers, silent):
    """As in the other tests of the settings, with a third server."""
    ports = [servers.one.port, servers.two.port, silent.port]
    env = {
        "SIGNET_SMTP_PORTS": " ".join(map(str, ports)),
        "SIGNET_SMTP_PRIVATE": " ".join(f"127.0.0.0/8:{port} ::1/128:{port}" for port in ports),
        "SIGNET_SMTP_CA_FILE": badserver.ca_file(),
        "MAIL_PORT": str(servers.two.port),
        "MAIL_USE_TLS": "0",
        "MAIL_USE_SSL": "1",
    }
    return make_config(tmp_path / "instance", env=env, lease=600.0, limits=LIMITS)


@contextmanager
def working(app: Flask, silent: BadServer) -> Iterator[None]:
    """Run the threads of `flask worker --queue checks` in this process. The silent server ends with them."""
    threads = worker._threads(get_state(app).config.tuning)
    consumers = [worker._consumer(app, part, threads[part]) for part in backend.parts_of(["checks"])]
    processes = [process for consumer in consumers for _, process in consumer.worker_threads]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for consumer in consumers:
            consumer.stop_flag.set()
        silent.__exit__()
        for process in processes:
            process.join(300)
        pools = get_state(app).part(FairPools)
        pools.request_stop()
        pools.finish()


def states_of(slug: str) -> list[str]:
    """Return the states of the checks of an account, the oldest first."""
    db.session.rollback()
    query = (
        select(SettingsCheck.state)
        .join(SmtpSettings, SmtpSettings.id == SettingsCheck.version_id)
        .join(Account, Account.id == SmtpSettings.account_id)
        .where(Account.slug == slug)
    )
    found = [state.value for state in db.session.scalars(query.order_by(SettingsCheck.id))]
    db.session.rollback()
    return found


def refuse_login(slug: str) -> None:
    """Record a refused login, of which the owner is alerted at once."""
    account_id = db.session.scalars(select(Account.id).where(Account.slug == slug)).one()
    attempt = SettledAttempt(
        account_id=account_id,
        message_id=1,
        outcome=Outcome.HELD,
        server="localhost:465",
        version_number=1,
        diagnosis=REFUSED,
    )
    detection.process(attempt, now=utcnow())
    db.session.commit()


def due_alerts() -> list[tuple[str, int]]:
    """Return the jobs of the alerts that are due, and end the transaction."""
    db.session.rollback()
    found = alerts.find_due_work(utcnow())
    db.session.rollback()
    return found


def test_eight_checks_against_a_silent_server_delay_no_other_check_and_no_alert(
    app, owner, stranger, form, servers, silent
):
    with working(app, silent):
        for number in range(8):
            changes = {"domain": "copperpot.example", "wrapped_user": f"info{number}"}
            assert save(stranger, form, port=str(silent.port), **changes).status_code == 303
        for version in saved():  # every job before that of the other account
            backend.push(app, "check", version.id)
        assert save(owner, form).status_code == 303
        wait_for(lambda: states_of("brightleaf") == ["passed"])
        refuse_login("brightleaf")
        backend.push_missing(app, due_alerts())
        wait_for(lambda: not due_alerts())
        drain_queue(0)
        assert len(servers.two.messages) == 1
        assert states_of("copperpot") == ["running", "waiting"]
        assert silent.connections == 1
        assert _BEHIND in text_of(stranger.get(PAGE))


def test_silent_servers_of_several_accounts_delay_no_check_of_another_account(
    app, owner, form, servers, silent
):
    several = 5
    for number in range(several):
        slow = create_owner(f"Slow {number}", "Bo Larsen", f"bo@slow{number}.example", PASSWORD, now=utcnow())
        values = {**form, "port": str(silent.port), "domain": f"slow{number}.example"}
        versions.save_draft(slow, SettingsInput(**values), now=utcnow())
    db.session.rollback()
    with working(app, silent):
        wait_for(lambda: silent.connections == several)
        assert save(owner, form).status_code == 303
        wait_for(lambda: states_of("brightleaf") == ["passed"])
        assert [one.state.value for one in checks()] == [*["running"] * several, "passed"]


def test_the_next_check_of_an_account_starts_when_one_ends(app, owner, form, servers, silent):
    with working(app, silent):
        assert save(owner, form, port=str(silent.port)).status_code == 303
        wait_for(lambda: silent.connections)
        assert save(owner, form).status_code == 303
        wait_for(lambda: not job_registry(app).queues["checks"].pending_jobs())
        assert states_of("brightleaf") == ["running", "waiting"]
        silent.__exit__()
        wait_for(lambda: states_of("brightleaf") == ["failed", "passed"])


def test_a_new_request_replaces_one_that_has_not_started(app, owner, form):
    for _ in range(3):
        save(owner, form)
    (waiting,) = checks()
    assert waiting.version_id == saved()[-1].id
    work()
    assert [version.state for version in saved()] == ["draft", "draft", "live"]


@pytest.mark.only_postgresql
def test_of_the_checks_of_an_account_one_is_claimed_at_a_time(app, owner, form):
    save(owner, form)
    (version,) = saved()
    account_id = version.account_id
    for number in (2, 3, 4):
        db.session.add(_copy(version, number))
    db.session.commit()
    ids = [one.id for one in saved()]
    for version_id in ids[1:]:
        row = SettingsCheck(version_id=version_id, recipient="ada@brightleaf.example", recipient_name="Ada")
        row.state, row.stages, row.created_at = "waiting", [], utcnow()
        db.session.add(row)
    db.session.commit()
    claimed = run_together(app, 4, lambda number: check._claim(ids[number], utcnow()))
    assert len([one for one in claimed if one is not None]) == 1
    assert check_requests.is_being_checked(account_id, utcnow())


def _copy(version: SmtpSettings, number: int) -> SmtpSettings:
    values = {
        column.name: getattr(version, column.name)
        for column in SmtpSettings.__table__.columns
        if column.name not in {"id", "number"}
    }
    return SmtpSettings(**values, number=number)


def test_a_worker_for_checks_serves_all_queues_but_that_of_mail(app):
    registry = job_registry(app)
    assert set(backend.QUEUES) == {"mail", "checks"}
    assert {*registry.queue_of_job.values()} == set(backend.parts_of(backend.QUEUES)) == set(registry.queues)
    assert set(backend.parts_of(["checks"])) == set(registry.queues) - {"mail"}
    assert set(worker._threads(get_state(app).config.tuning)) == set(backend.parts_of(["checks"]))


def test_alerts_and_housekeeping_share_no_thread_with_jobs_that_connect_to_owners_servers(app):
    queue_of = job_registry(app).queue_of_job
    connecting = {queue_of[job] for job in ("drain", "check", "login-probe", "check-domain", "webhook")}
    only_database = {
        queue_of[job] for job in ("alert", "monitor", "rollup", "cleanup", "weekly-summary", "bulk-action")
    }
    assert not connecting & only_database
