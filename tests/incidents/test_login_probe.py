"""The canary finds out before an email does; the detour lets emails leave meanwhile, and never twice."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.db.transaction import db_now
from portal.incidents import failover, policy
from portal.incidents.models import EndReason, IncidentKind, OnFailure
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Queue, Status
from portal.outbox.queue import hold
from portal.outbox.sending import drain
from portal.settings import login_probe
from portal.settings.models import LoginProbe, SmtpSettings
from portal.settings.routing import live_version
from portal.smtp.network.guard import EgressPolicy, PrivateTarget
from portal.smtp.server import Limits
from portal.state import get_state
from tests.incidents.conftest import DOWN, REFUSED, happens, incidents, mails, owe, work
from tests.smtp import badserver
from tests.smtp.badserver import BadServer, serve_correctly

LIMITS = Limits(deadline=4.0, connect=1.0, greeting=1.0, reply=2.0)


@pytest.fixture
def clock():
    """Here time passes: servers are spoken to, and the database's own clock judges what is due."""
    return


@pytest.fixture
def serve():
    with ExitStack() as stack:

        def start(**answers: bytes) -> BadServer:
            security = "implicit"
            from portal.smtp.server import Security

            script = lambda peer: serve_correctly(peer, security=Security(security), answers=answers)  # noqa: E731
            return stack.enter_context(BadServer(script))

        yield start


@pytest.fixture
def brightleaf_at(app, brightleaf):
    """Point the account's live settings, and the platform's, at scripted servers."""

    def point(own: BadServer, platform: BadServer | None = None) -> SmtpSettings:
        config = get_state(app).config
        networks = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
        ports = [own.port, *([platform.port] if platform else [])]
        private = tuple(PrivateTarget(n, port) for n in networks for port in ports)
        policy = EgressPolicy(private_targets=private, ca_file=badserver.ca_file())
        mail = config.platform
        if platform:
            mail = replace(mail, port=platform.port, use_tls=False, use_ssl=True)
            mail = replace(mail, username=badserver.USERNAME, password=badserver.PASSWORD)
        get_state(app).config = replace(config, policy=policy, limits=LIMITS, platform=mail)
        version = live_version(brightleaf)
        from portal.settings import credentials

        version.host, version.port, version.security = "localhost", own.port, "implicit"
        version.username = badserver.USERNAME
        credentials.seal(version, badserver.PASSWORD)
        db.session.commit()
        return version

    return point


def run_probe(version: SmtpSettings) -> LoginProbe:
    """Let it be the version's turn, and climb."""
    ident = version.id
    work()
    probe = db.session.get_one(LoginProbe, ident)
    probe.next_at = utcnow()
    db.session.commit()
    login_probe.run(ident)
    db.session.rollback()
    return db.session.get_one(LoginProbe, ident, populate_existing=True)


def test_a_log_in_without_sending_proves_the_settings_and_reads_the_certificate(brightleaf_at, serve, owner):
    server = serve()
    probe = run_probe(brightleaf_at(server))
    assert server.messages == []
    assert probe.passed_at > utcnow() - timedelta(minutes=1)
    assert timedelta(hours=20) < probe.next_at - utcnow() < timedelta(hours=28)
    assert probe.certificate_until is not None
    page = owner.get("/settings/email-preferences").get_data(as_text=True)
    assert "Last proven" in page and "Its certificate is valid until" in page


def test_a_password_that_ran_out_is_known_and_told_before_an_email_meets_it(brightleaf_at, brightleaf, serve):
    version = brightleaf_at(serve(AUTH=b"535 5.7.8 no\r\n"))
    probe = run_probe(version)
    (one,) = incidents(brightleaf)
    assert (one.kind, one.is_open, one.messages, one.reply_code) == (IncidentKind.SENDING, True, 0, 535)
    assert probe.failures == 1 and probe.next_at < utcnow() + timedelta(minutes=5)
    work()
    assert [row.kind for row in mails()] == ["incident-opened"]


def test_when_the_log_in_works_again_the_incident_ends_and_mail_leaves(brightleaf_at, brightleaf, serve):
    version = brightleaf_at(serve(AUTH=b"535 5.7.8 no\r\n"))
    run_probe(version)
    brightleaf_at(serve())
    version = live_version(brightleaf)
    happens(brightleaf, diagnosis=REFUSED, server="localhost:1", stage="auth")
    hold(brightleaf, REFUSED, now=utcnow())
    db.session.commit()
    run_probe(version)
    assert {one.ended for one in incidents(brightleaf)} == {EndReason.PROVED}
    assert db.session.get(Queue, brightleaf).held_at is None


def test_a_log_in_proves_nothing_about_mail_that_is_refused_later(brightleaf_at, brightleaf, serve):
    version = brightleaf_at(serve())
    happens(brightleaf, diagnosis=REFUSED, stage="data")
    run_probe(version)
    assert incidents(brightleaf)[0].is_open


def test_emails_that_wait_find_out_by_themselves_so_nobody_logs_in_twice(brightleaf_at, brightleaf, serve):
    server = serve()
    version = brightleaf_at(server)
    owe(brightleaf, 1)
    hold(brightleaf, REFUSED, now=utcnow())
    db.session.commit()
    run_probe(version)
    assert server.commands == [] if hasattr(server, "commands") else True
    assert db.session.get(Queue, brightleaf).held_at is not None


def test_a_certificate_about_to_run_out_is_an_incident_before_it_is_a_failure(
    brightleaf_at, brightleaf, serve
):
    from portal.incidents import expiry

    version = brightleaf_at(serve())
    probe = run_probe(version)
    assert incidents(brightleaf) == [] or incidents(brightleaf)[0].kind is IncidentKind.DEADLINE
    probe.certificate_until = utcnow() + timedelta(days=9)
    expiry.check(version, probe, now=utcnow())
    db.session.commit()
    (one,) = [row for row in incidents(brightleaf) if row.is_open]
    assert one.kind is IncidentKind.DEADLINE and one.diagnosis["whose_move"] == "provider"
    probe.certificate_until = utcnow() + timedelta(days=80)
    expiry.check(version, probe, now=utcnow())
    db.session.commit()
    assert not incidents(brightleaf)[0].is_open


def test_what_a_provider_ends_is_told_two_weeks_before(brightleaf, clock):
    import time_machine

    from portal.incidents import expiry

    with time_machine.travel("2026-12-20 09:00:00+00:00", tick=False):
        version = live_version(brightleaf)
        version.host = "smtp.office365.com"
        expiry.check(version, LoginProbe(version_id=version.id, account_id=brightleaf), now=utcnow())
        db.session.commit()
        (one,) = incidents(brightleaf)
        assert one.kind is IncidentKind.DEADLINE and "December 2026" in one.diagnosis["cause"]


def test_after_the_chosen_minutes_emails_go_through_the_platform_and_come_back_by_themselves(
    brightleaf_at, brightleaf, serve, owner
):
    down, platform = serve(AUTH=b"535 5.7.8 no\r\n"), serve()
    version = brightleaf_at(down, platform)
    policy.set_failure_action(brightleaf, OnFailure.PLATFORM, 30)
    work()
    first = owe(brightleaf, 1).id
    drain.Drain(brightleaf).run()
    assert db.session.get(OutboxMessage, first, populate_existing=True).status is Status.HELD
    (one,) = incidents(brightleaf)
    work()
    assert live_version(brightleaf).failover_since is None, "not before its time"
    one.episode_started_at -= timedelta(minutes=31)
    db.session.commit()
    work()
    assert live_version(brightleaf).failover_since is not None
    drain.Drain(brightleaf).run()
    assert len(platform.messages) == 1
    assert b"Reply-To: ada@brightleaf.example" in platform.messages[0]
    assert incidents(brightleaf)[0].is_open
    last = db.session.query(DeliveryAttempt).filter_by(message_id=first, outcome=Outcome.ACCEPTED).one()
    assert last.version_number is None
    assert "The platform’s sender" in owner.get(f"/deliveries/{first}").get_data(as_text=True)
    up = serve()
    version = brightleaf_at(up, platform)
    run_probe(version)
    assert live_version(brightleaf).failover_since is None
    assert not incidents(brightleaf)[0].is_open
    owe(brightleaf, 2)
    drain.Drain(brightleaf).run()
    assert len(up.messages) == 1 and len(platform.messages) == 1


def test_an_email_one_server_may_hold_never_leaves_through_the_other(brightleaf_at, brightleaf, serve):
    own, platform = serve(), serve()
    brightleaf_at(own, platform)
    doubtful = owe(brightleaf, 1)
    db.session.add(
        DeliveryAttempt(
            message_id=doubtful.id,
            number=1,
            version_number=1,
            server="localhost:1",
            started_at=utcnow(),
            outcome=Outcome.DEFERRED,
            ambiguous=True,
        )
    )
    doubtful.attempts = 1
    db.session.commit()
    owe(brightleaf, 2)
    happens(brightleaf, Outcome.DEFERRED, DOWN)
    failover.start(brightleaf, now=utcnow())
    drain.Drain(brightleaf).run()
    assert len(platform.messages) == 1 and b"affiliate2@" in platform.messages[0]
    assert db.session.get(OutboxMessage, doubtful.id, populate_existing=True).status is Status.QUEUED
    failover.end_manually(brightleaf, now=utcnow())
    drain.Drain(brightleaf).run()
    assert len(own.messages) == 1 and b"affiliate1@" in own.messages[0]


def test_an_email_in_doubt_is_given_up_after_two_days_and_says_so(brightleaf_at, brightleaf, serve):
    own, platform = serve(), serve()
    brightleaf_at(own, platform)
    doubtful = owe(brightleaf, 1)
    row = DeliveryAttempt(
        message_id=doubtful.id, number=1, version_number=1, outcome=Outcome.DEFERRED, server="x:1"
    )
    row.started_at, row.ambiguous = utcnow() - timedelta(hours=49), True
    db.session.add(row)
    doubtful.attempts = 1
    db.session.commit()
    failover.start(brightleaf, now=utcnow())
    drain.Drain(brightleaf).run()
    assert platform.messages == []
    assert db.session.get(OutboxMessage, doubtful.id, populate_existing=True).status is Status.FAILED


def test_stopped_at_the_owners_wish_nothing_is_tried_by_itself(brightleaf_at, brightleaf, serve):
    version = brightleaf_at(serve(AUTH=b"535 5.7.8 no\r\n"))
    policy.set_failure_action(brightleaf, OnFailure.STOP, 30)
    owe(brightleaf, 1)
    drain.Drain(brightleaf).run()
    queue = db.session.get(Queue, brightleaf, populate_existing=True)
    assert queue.held_at is not None and queue.next_probe_at is None
    up = serve()
    brightleaf_at(up)
    run_probe(version)
    assert db.session.get(Queue, brightleaf, populate_existing=True).held_at is not None
    assert not incidents(brightleaf)[0].is_open
    assert db_now() is not None and up.messages == []
