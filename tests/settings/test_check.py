"""The settings check: which version goes live when, and what happens to a check whose worker crashes."""

import threading
from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import event, select

from portal.clock import utcnow
from portal.db import db
from portal.jobs.registry import job_registry
from portal.outbox.diagnoses import INTERNAL_ERROR
from portal.outbox.models import OutboxMessage, Outcome, Status
from portal.outbox.routing import Routing
from portal.outbox.sending import deliver
from portal.outbox.sending.drain import drain_queue
from portal.outbox.store import claims
from portal.rehearsal.listeners import ListenerKind
from portal.settings import check, credentials
from portal.settings.checking import due_checks
from portal.settings.models import CheckState, SettingsCheck, SmtpSettings
from portal.smtp.failure import Stage
from portal.smtp.protocol.stages import StageResult, StageStatus
from portal.state import get_state
from tests.databases import assert_no_open_transaction
from tests.outbox.support import (
    answering,
    attempts,
    enqueue_message,
    honest,
    message,
    queue,
    statuses,
    subjects,
    wait_for,
)
from tests.settings.conftest import (
    PAGE,
    account_id,
    checks,
    rehearsal_config,
    save,
    text_of,
    versions,
    work,
)

REFUSED = answering(AUTH=b"535 5.7.8 Username and password not accepted\r\n")


def sweep_all(*, after=timedelta()):
    for _, version_id in due_checks.find_due_work(utcnow() + after):
        check.run(version_id)
    db.session.rollback()


def test_a_passed_check_activates_the_version_and_mails_the_owner(owner, live, servers):
    (one,) = checks()
    assert one.state is CheckState.PASSED
    assert [result["verdict"] for result in one.stages] == ["passed"] * len(one.stages)
    assert one.stages[-1]["stage"] == "data"
    (raw,) = servers.one.messages
    assert b"RCPT TO:<ada@brightleaf.example>" in bytes(servers.one.received)
    assert b"From: Brightleaf <info@brightleaf.example>" in raw
    assert "All" in text_of(owner.get(PAGE))


def test_the_states_of_version_and_check_change_in_one_commit(app, owner, form):
    seen = []

    def record_states(session):
        seen.append((check_state(session), version_state(session)))

    save(owner, form)
    event.listen(db.session, "before_commit", record_states)
    work()
    event.remove(db.session, "before_commit", record_states)
    assert ("passed", "live") in seen
    assert not [pair for pair in seen if (pair[0] == "passed") != (pair[1] == "live")]


def check_state(session):
    return session.scalar(select(SettingsCheck.state).order_by(SettingsCheck.id.desc())).value


def version_state(session):
    return session.scalar(select(SmtpSettings.state).order_by(SmtpSettings.id.desc())).value


def test_a_passed_check_releases_the_held_queue(owner, form, servers):
    servers.two.script = REFUSED  # the platform's own server refuses the login
    id_ = enqueue_message(account_id(), "waiting")
    drain_queue(account_id())
    assert message(id_).status is Status.HELD
    save(owner, form)
    work()
    assert message(id_).status is Status.SENT
    assert "Welcome, waiting" in subjects(servers.one)


def test_a_failed_check_leaves_the_previous_version_live(owner, live, form, servers):
    servers.one.script = REFUSED
    save(owner, form, password="wrong")
    work()
    assert [version.state for version in versions()] == ["live", "draft"]
    assert checks()[-1].diagnosis["kind"] == "credentials"
    servers.one.script = honest()
    id_ = enqueue_message(live.account_id, "m")
    drain_queue(live.account_id)
    assert attempts(id_)[0].version_number == 1
    assert queue(live.account_id).held_at is None, "a failed check does not hold the queue"


def test_a_failed_check_of_the_first_version_leaves_the_platform_sending(owner, form, servers):
    servers.one.script = REFUSED
    save(owner, form)
    work()
    id_ = enqueue_message(account_id(), "m")
    drain_queue(account_id())
    assert message(id_).status is Status.SENT
    assert attempts(id_)[0].version_number is None


def test_the_page_offers_another_check_and_never_shows_the_password(owner, form, servers):
    servers.one.script = REFUSED
    save(owner, form)
    work()
    html = text_of(owner.get(PAGE))
    assert "Check again" in html
    assert "canary" not in html


@pytest.mark.parametrize("crashed", ["before the connection", "after the acceptance", "after the refusal"])
def test_the_check_of_a_crashed_worker_is_continued(app, owner, form, servers, config, crashed):
    save(owner, form)
    lease = timedelta(seconds=config.lease)
    if crashed == "after the refusal":
        servers.one.script = REFUSED
    run = check._claim(versions()[0].id, utcnow() - 2 * lease)
    if crashed != "before the connection":
        email = check._enqueue_test_email(run)
        claim = claims.claim_one(email.id)
        deliver.attempt(claim, version_id=email.forced_version_id)
        db.session.execute(db.update(SettingsCheck).values(lease_until=utcnow() - lease))
        db.session.commit()
    assert checks()[0].state is CheckState.RUNNING
    before = servers.one.connections
    sweep_all()
    failed = crashed == "after the refusal"
    assert checks()[0].state is (CheckState.FAILED if failed else CheckState.PASSED)
    assert versions()[0].state == ("draft" if failed else "live")
    if crashed != "before the connection":
        assert servers.one.connections == before, "a settled message is not sent again"
    if failed:
        assert checks()[0].diagnosis["kind"] == "credentials"


def test_a_running_check_is_not_taken_over_before_its_lease_expires(owner, form, servers):
    save(owner, form)
    check._claim(versions()[0].id, utcnow())
    sweep_all()
    assert servers.one.connections == 0
    assert due_checks.find_due_work(utcnow() + timedelta(minutes=11))


def test_a_worker_whose_check_lease_expired_changes_nothing_afterwards(owner, form, servers, config):
    save(owner, form)
    lease = timedelta(seconds=config.lease)
    stale = check._claim(versions()[0].id, utcnow() - 2 * lease)
    sweep_all()
    assert checks()[0].state is CheckState.PASSED
    check._stage_recorder(stale)(StageResult(Stage.AUTH, StageStatus.FAILED, 1, "late"))
    check._finish(stale, passed=False, diagnosis=INTERNAL_ERROR)
    assert "late" not in str(checks()[0].stages)
    assert (checks()[0].state, versions()[0].state) == (CheckState.PASSED, "live")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_concurrent_checks_the_one_of_the_newer_version_decides(owner, form, servers, order):
    save(owner, form)
    save(owner, form, from_name="Newer")
    ids = [version.id for version in versions()]
    for index in order:
        check.run(ids[index])
    assert [version.state for version in versions()] == ["draft", "live"]


def test_concurrent_workers_run_a_check_once(app, owner, form, servers):
    save(owner, form)
    version_id = versions()[0].id

    def run():
        with app.app_context():
            check.run(version_id)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(servers.one.messages) == 1
    assert versions()[0].state == "live"


def test_repeated_requests_for_a_check_start_it_once(owner, form, servers):
    save(owner, form)
    for _ in range(3):
        owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
    assert len(checks()) == 1
    work()
    assert len(servers.one.messages) == 1


def test_no_transaction_is_open_during_the_smtp_session_of_a_check(owner, form, servers, config):
    seen = []

    def assert_no_transaction(peer, _line):
        assert_no_open_transaction(config)
        seen.append(True)
        peer.send(b"250 2.1.0 Ok\r\n")

    servers.one.script = answering(MAIL=assert_no_transaction, DOT=assert_no_transaction)
    save(owner, form)
    work()
    assert len(seen) == 2
    assert versions()[0].state == "live"


def test_each_stage_result_is_stored_when_its_stage_ends(app, owner, form, servers):
    stages = []

    def read_stages(peer, _line):
        with app.app_context():
            stages.extend(result["stage"] for result in checks()[0].stages)
        peer.send(b"250 2.1.0 Ok\r\n")

    servers.one.script = answering(MAIL=read_stages)
    save(owner, form)
    work()
    assert stages == ["resolve", "connect", "tls", "greeting", "ehlo", "auth"]


def test_forced_activation_requires_a_known_port_and_encryption(owner, form, servers):
    save(owner, form, security="detect", host="no-such-host.invalid")
    save(owner, form, security="detect", port="", host="no-such-host.invalid")
    for number in (1, 2):
        owner.submit(f"{PAGE}/versions/{number}/activate", {}, page=PAGE)
    assert {version.state for version in versions()} == {"draft"}
    assert "unknown" in text_of(owner.get(PAGE))


def test_a_draft_can_be_activated_without_a_check_and_given_up_for_the_platform(owner, form, servers):
    servers.one.script = REFUSED
    save(owner, form)
    owner.submit(f"{PAGE}/versions/1/activate", {}, page=PAGE)
    assert versions()[0].state == "live"
    owner.submit(f"{PAGE}/stop", {}, page=PAGE)
    assert versions()[0].state == "retired"
    enqueue_message(account_id(), "m")
    drain_queue(account_id())
    assert statuses(account_id())[-1] is Status.SENT
    assert subjects(servers.two) == ["Welcome, m"]


@pytest.mark.tuning(settle_lag_s=-1.0)  # each message is recorded in the table before the next
def test_a_version_that_goes_live_during_a_drain_sends_the_remaining_messages(
    app, owner, live, form, servers
):
    """Version 2 goes live while the first message is submitted through version 1."""
    save(owner, form, port=str(servers.two.port), from_name="Second")
    second = versions()[1].id
    done = []

    def check_second_version(peer, _line):
        if not done:
            with app.app_context():
                check.run(second)
            done.append(True)
        peer.send(b"250 2.0.0 Ok: queued as 1\r\n")

    servers.one.script = answering(DOT=check_second_version)
    ids = [enqueue_message(live.account_id, f"m{number}") for number in range(3)]
    drain_queue(live.account_id)
    assert [attempts(id_)[0].version_number for id_ in ids] == [1, 2, 2]
    assert [version.state for version in versions()] == ["retired", "live"]


def test_an_internal_error_of_a_check_is_diagnosed_as_a_fault_of_the_portal(app, owner, form):
    save(owner, form)
    get_state(app).part(Routing).find = lambda *_: 1 / 0
    work()
    assert checks()[0].state is CheckState.FAILED
    assert checks()[0].diagnosis["code"] == "portal-fault"


class TestDetection:
    @pytest.fixture
    def config(self, tmp_path, rehearsal):
        return rehearsal_config(tmp_path, rehearsal)

    @pytest.fixture
    def form(self):
        return {
            "provider": "rehearsal",
            "host": "localhost",
            "username": "postmaster@brightleaf.example",
            "password": "rehearsal",
            "security": "detect",
            "port": "",
            "mechanism": "automatic",
        }

    @pytest.mark.parametrize(
        ("kind", "found"),
        [(None, "starttls"), (ListenerKind.STARTTLS, "starttls"), (ListenerKind.TLS, "implicit")],
    )
    def test_detect_for_me_finds_and_keeps_port_and_encryption(self, owner, form, rehearsal, kind, found):
        port = str(rehearsal.ports[kind]) if kind else ""
        assert save(owner, form, port=port).status_code == 303
        work()
        (version,) = versions()
        assert version.state == "live", checks()[0].diagnosis
        assert version.security == found
        assert (
            version.port
            == rehearsal.ports[ListenerKind.TLS if found == "implicit" else ListenerKind.STARTTLS]
        )
        assert credentials.open_password(version) == "rehearsal", "sealed again for the detected values"
        assert checks()[0].stages[0]["stage"] == "detect"
        assert save(owner, form, password="", security=found, port=str(version.port)).status_code == 303

    def test_a_detection_without_a_result_has_its_own_diagnosis(self, owner, form, rehearsal):
        save(owner, form, port=str(rehearsal.ports[ListenerKind.EXPIRED]))
        work()
        assert versions()[0].state == "draft"
        assert checks()[0].diagnosis["code"] == "detect-nothing"
        owner.get(PAGE)

    def test_an_interrupted_detection_is_continued(self, owner, form, config):
        save(owner, form)
        check._claim(versions()[0].id, utcnow() - timedelta(seconds=2 * config.lease))
        sweep_all()
        assert versions()[0].state == "live"

    def test_the_diagnosis_of_a_simulated_fault_is_on_the_page(self, owner, form):
        save(owner, form, username="sender-refused@brightleaf.example", security="starttls")
        work()
        assert versions()[0].state == "draft"
        assert checks()[0].stages[-1]["stage"] == "mail"
        assert checks()[0].diagnosis["cause"] in unescape(text_of(owner.get(PAGE)))


def test_a_real_worker_checks_a_saved_version(app, owner, form, config):
    """The job goes through Huey's queue, as between a portal and a worker process."""
    from portal.jobs import worker

    consumer = worker._consumer(app, "checks", 1)
    job_registry(app).queues["checks"].storage.flush_all()
    for process in (process for _, process in consumer.worker_threads):
        process.start()
    try:
        save(owner, form)
        wait_for(lambda: versions()[0].state == "live")
    finally:
        consumer.stop_flag.set()
        for _, process in consumer.worker_threads:
            process.join(300)
    assert Outcome.ACCEPTED in [one.outcome for one in attempts(1)]
    assert db.session.scalar(select(OutboxMessage.status)) is Status.SENT


def test_a_pending_check_does_not_undo_the_decision_to_stop_using_custom_smtp(app, owner, form):
    save(owner, form)
    (pending,) = checks()
    owner.submit(f"{PAGE}/stop", {}, page=PAGE)
    check.run(pending.version_id)
    assert [version.state for version in versions()] == ["draft"]
    assert [one.state for one in checks()] == ["failed"]
