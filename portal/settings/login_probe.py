"""Daily login probe of the live settings: log in without sending anything, and repeat soon after a failure.

An expired password, or a certificate about to expire, is thus known before an affiliate's email fails on it.
Listeners receive every result inside the transaction that records it; they do not commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update

from ..accounts.team.contact import contact_mailbox
from ..clock import utcnow
from ..db import db
from ..jobs import backoff
from ..outbox.overview import count_waiting
from ..outbox.queue import get_queue
from ..outbox.routing import NoRoute, Route
from ..smtp.diagnosis.diagnose import RetryClass
from ..smtp.failure import Stage, SubmissionFailure
from ..smtp.probe.dry_run import ProbeReport, probe
from ..state import current_config, get_state
from .checking import refused_targets
from .models import CheckState, LoginProbe, SettingsCheck, SmtpSettings, VersionState
from .routing import version_route

if TYPE_CHECKING:
    from flask import Flask

_LEASE = timedelta(minutes=5)  # a probe whose worker was killed is repeated after this time
_LATER = timedelta(hours=1)
_AFTER_LOGIN = {
    Stage.RCPT,
    Stage.DATA,
}  # a refusal at these stages comes after login and sender were accepted


@dataclass(frozen=True)
class ProbeResult:
    """Result of one login probe of a live version. ``diagnosis`` is None when the login succeeded."""

    version: SmtpSettings
    probe: LoginProbe
    diagnosis: Mapping[str, Any] | None = None
    server: str = ""  # host:port; empty: no route to any server
    stage: str = ""
    reply_code: int | None = None
    reply_text: str = ""


Listener = Callable[[ProbeResult], None]


@dataclass
class _ProbeListeners:
    listeners: list[Listener] = field(default_factory=list)


@dataclass(frozen=True)
class _Target:
    version_id: int
    account_id: int
    route: Route
    recipient: str


def add_listener(app: Flask, listener: Listener) -> None:
    """Register a function that receives the result of every login probe of a live version."""
    get_state(app).part(_ProbeListeners).listeners.append(listener)


def get(version_id: int) -> LoginProbe | None:
    """Return the login probe of a version, if one was ever scheduled."""
    return db.session.get(LoginProbe, version_id)


def find_due_work(now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of live versions whose login probe is due."""
    query = (
        select(LoginProbe.version_id)
        .join(SmtpSettings, SmtpSettings.id == LoginProbe.version_id)
        .where(LoginProbe.next_at <= now, SmtpSettings.state == VersionState.LIVE)
        .order_by(LoginProbe.next_at)
        .limit(50)
    )
    return [("login-probe", version_id) for version_id in db.session.scalars(query)]


def first_schedule(version: SmtpSettings, now: datetime) -> LoginProbe:
    """Return a new login probe of a version: due a day after its last passed check, or within ten minutes."""
    passed = select(func.max(SettingsCheck.ended_at)).where(
        SettingsCheck.version_id == version.id, SettingsCheck.state == CheckState.PASSED
    )
    passed_at = db.session.scalar(passed)
    soon = now + backoff.random_delay(timedelta(minutes=10))
    return LoginProbe(
        version_id=version.id,
        account_id=version.account_id,
        passed_at=passed_at,
        next_at=max(passed_at + _time_to_next(), soon) if passed_at is not None else soon,
        failures=0,
    )


def schedule_soon(
    account_id: int, number: int | None, *, now: datetime, within: timedelta = timedelta(minutes=1)
) -> None:
    """Bring the next probe of a version forward, as after a failure. The caller commits."""
    version = (
        select(SmtpSettings.id)
        .where(SmtpSettings.account_id == account_id, SmtpSettings.number == number)
        .scalar_subquery()
    )
    later = LoginProbe.next_at > now + within
    statement = update(LoginProbe).where(LoginProbe.version_id == version, later).values(next_at=now + within)
    db.session.execute(statement.execution_options(synchronize_session=False))


def run(version_id: int) -> None:
    """Log in with a version and record the result. Commits. Safe to repeat: one worker at a time does it."""
    target = _claim(version_id, utcnow())
    if target is None:
        return
    report = probe(target.route.server, target.route.return_path(), target.recipient)
    failure = report.failure
    if failure is None or failure.stage in _AFTER_LOGIN:
        _record_success(target, report, now=utcnow())
    else:
        _record_failure(target, failure, now=utcnow())
        if failure.is_refused_target:
            refused_targets.record_probe(target.account_id, target.route.server.address)


def _claim(version_id: int, now: datetime) -> _Target | None:
    """Claim a due probe and open the password. Commits, so that no transaction waits for a server."""
    due = (LoginProbe.version_id == version_id, LoginProbe.next_at <= now)
    claimed = db.session.execute(update(LoginProbe).where(*due).values(next_at=now + _LEASE))
    version = db.session.get(SmtpSettings, version_id)
    if claimed.rowcount != 1 or version is None or version.state is not VersionState.LIVE:  # type: ignore[attr-defined]
        db.session.rollback()
        return None
    row = db.session.get_one(LoginProbe, version_id, populate_existing=True)
    if _queue_probes_server(version):
        row.next_at = now + _LATER
        db.session.commit()
        return None
    try:
        route = version_route(version)
    except NoRoute as none:
        row.tried_at, row.next_at, row.diagnosis = now, now + _LATER, none.diagnosis
        _notify(ProbeResult(version, row, none.diagnosis))
        db.session.commit()
        return None
    recipient = contact_mailbox(version.account_id)
    target = _Target(version.id, version.account_id, route, recipient or route.sender)
    db.session.commit()
    return target


def _queue_probes_server(version: SmtpSettings) -> bool:
    """Whether a held queue already tries this server with a waiting email; a second login would only cost trust."""
    if version.failover_since is not None:
        return False
    queue = get_queue(version.account_id)
    return (
        queue.held_at is not None
        and queue.next_probe_at is not None
        and count_waiting(version.account_id) > 0
    )


def _time_to_next() -> timedelta:
    """Return the time from a success to the next probe, with jitter."""
    tuning = current_config().tuning
    return backoff.with_jitter(
        timedelta(seconds=tuning.login_probe_every_s), tuning.login_probe_jitter_fraction
    )


def _record_success(target: _Target, report: ProbeReport, *, now: datetime) -> None:
    version, row = _locked(target)
    row.passed_at = row.tried_at = now
    row.failures, row.diagnosis, row.next_at = 0, None, now + _time_to_next()
    row.certificate_until = _certificate_until(report, now)
    if version.state is VersionState.LIVE:
        _notify(ProbeResult(version, row, server=target.route.server.address))
    db.session.commit()


def _record_failure(target: _Target, failure: SubmissionFailure, *, now: datetime) -> None:
    version, row = _locked(target)
    diagnosis = target.route.explain(failure)
    tuning = current_config().tuning
    delays = {
        RetryClass.SETTINGS: tuning.login_probe_refused_delays_s,
        RetryClass.SERVER: tuning.login_probe_unreachable_delays_s,
    }.get(diagnosis.retry_class)
    row.tried_at = now
    # A temporary refusal or a rate limit does not show whether the settings are right.
    if version.state is not VersionState.LIVE or delays is None:
        row.next_at = now + _LATER
        db.session.commit()
        return
    row.failures += 1
    delay = backoff.delay_after(row.failures, delays)
    row.next_at, row.diagnosis = (
        now + backoff.with_jitter(delay, tuning.login_probe_jitter_fraction),
        diagnosis.as_dict(),
    )
    reply = failure.reply
    _notify(
        ProbeResult(
            version,
            row,
            diagnosis.as_dict(),
            server=target.route.server.address,
            stage=failure.stage,
            reply_code=reply.code if reply else None,
            reply_text=reply.text if reply else "",
        )
    )
    db.session.commit()


def _locked(target: _Target) -> tuple[SmtpSettings, LoginProbe]:
    """Return the version and its probe as they are now, with the account's queue locked."""
    get_queue(target.account_id, lock=True)
    row = db.session.get_one(LoginProbe, target.version_id, populate_existing=True)
    return db.session.get_one(SmtpSettings, target.version_id), row


def _notify(result: ProbeResult) -> None:
    for listener in get_state().part(_ProbeListeners).listeners:
        listener(result)


def _certificate_until(report: ProbeReport, now: datetime) -> datetime | None:
    days = [stage.evidence["days_left"] for stage in report.stages if stage.evidence.get("days_left")]
    return now + timedelta(days=int(days[-1])) if days else None
