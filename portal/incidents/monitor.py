"""Monitor job: every ten seconds one worker checks what no single delivery attempt shows.

It closes incidents that are over, records the number of waiting emails, starts failovers, schedules the first login
probe of each live version, and records times without a running worker.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, exists, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from ..clock import utcnow
from ..db import db
from ..deliveries.models import LogRow
from ..outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Status
from ..outbox.overview import count_waiting
from ..outbox.queue import SYSTEM, get_queue
from ..outbox.store.due import due_queues
from ..settings import login_probe
from ..settings.models import LoginProbe, SmtpSettings, VersionState
from ..state import current_config
from ..web.filters import format_time
from . import bounces, detection, failover, lifecycle, sign_ups, webhooks
from .lifecycle import Failure
from .models import EndReason, Incident, IncidentKind, MonitorRun

_INTERVAL = timedelta(seconds=10)
_WORKER_GAP = timedelta(minutes=2)  # between two runs: no worker was running
_PLATFORM_QUIET = timedelta(hours=24)  # without a failure of the platform's server: its incident is over
_BOUNCES_QUIET = timedelta(hours=24)  # without another bounce beyond a limit
_BATCH = 200  # incidents, versions or accounts in one run
_ROW_ID = 1  # of the only row of MonitorRun
_log = logging.getLogger(__name__)


def find_due_work(now: datetime) -> list[tuple[str, int]]:
    """Return the monitor job if the last run is an interval ago."""
    ran_at = db.session.scalar(select(MonitorRun.ran_at).where(MonitorRun.id == _ROW_ID))
    return [("monitor", _ROW_ID)] if ran_at is None or ran_at <= now - _interval() else []


def run(_id: int = _ROW_ID) -> None:
    """Run all checks once. Does nothing if another worker ran them within the interval. Commits each step."""
    now = utcnow()
    last = _claim_run(now)
    if last is None:
        return
    if now - last > _WORKER_GAP:
        _record_worker_gap(last, now)
    _schedule_first_probes(now)
    for condition, reason in (
        (_is_replaced(), EndReason.REPLACED),
        (_is_disproved(), EndReason.FLOWS),
        (_is_over(now), EndReason.OVER),
    ):
        for incident_id in _find_open(condition):
            _close(incident_id, reason, now)
    _record_peak_waiting()
    for account_id in failover.find_due_accounts(now):
        _start_failover(account_id, now)


def _interval() -> timedelta:
    return min(_INTERVAL, timedelta(seconds=current_config().sweep * 2))


def _claim_run(now: datetime) -> datetime | None:
    """Claim this run; return the time of the run before, or None if another worker claimed it. Commits."""
    row = db.session.get(MonitorRun, _ROW_ID, with_for_update=True, populate_existing=True)
    if row is None:
        db.session.add(MonitorRun(id=_ROW_ID, ran_at=now))
        try:
            db.session.commit()
        except IntegrityError:
            db.session.rollback()
            return None
        return now
    last = row.ran_at
    if last > now - _interval():
        db.session.rollback()
        return None
    row.ran_at = now
    db.session.commit()
    return last


def _record_worker_gap(last: datetime, now: datetime) -> None:
    """Record a time without a worker as a closed incident of each account with due emails. Commits."""
    diagnosis = {
        "code": "no-worker",
        "kind": "server_fault",
        "whose_move": "operator",
        "cause": f"No worker ran from {format_time(last)} to {format_time(now)}, so no email left in that time.",
        "fixes": [
            "The operator of this portal starts a worker with: flask worker. Emails that waited leave now."
        ],
    }
    for account_id in due_queues(now)[:_BATCH]:
        if account_id == SYSTEM:
            continue
        incident = lifecycle.record_failure(
            Failure(account_id, IncidentKind.WORKER, diagnosis, alert_delay=_WORKER_GAP), now=now
        )
        incident.opened_at, incident.episode_started_at = last, last
        lifecycle.close(incident, EndReason.OVER, now=now)
        db.session.commit()


def _schedule_first_probes(now: datetime) -> None:
    """Schedule the first login probe of every live version that has none. Commits."""
    query = (
        select(SmtpSettings)
        .outerjoin(LoginProbe, LoginProbe.version_id == SmtpSettings.id)
        .where(SmtpSettings.state == VersionState.LIVE, LoginProbe.version_id.is_(None))
        .limit(_BATCH)
    )
    for version in db.session.scalars(query).all():
        db.session.add(login_probe.first_schedule(version, now))
    db.session.commit()


def _is_replaced() -> Any:
    """Return the condition: its settings are no longer live, or the account uses its own server now."""
    live = aliased(SmtpSettings)
    is_live = and_(live.account_id == Incident.account_id, live.state == VersionState.LIVE)
    same_version = exists().where(is_live, live.number == Incident.version_number)
    any_version = exists().where(is_live)
    return and_(
        Incident.kind.in_((IncidentKind.SENDING, IncidentKind.DEADLINE)),
        or_(
            and_(Incident.version_number.is_not(None), ~same_version),
            and_(Incident.version_number.is_(None), any_version),
        ),
    )


def _is_disproved() -> Any:
    """Return the condition: its route accepted an email since the last failure.

    The query starts with the delivery log, whose index is sorted by account and time.
    """
    accepted = exists().where(
        LogRow.account_id == Incident.account_id,
        LogRow.settled_at > Incident.last_seen_at,
        LogRow.status == Status.SENT,
        DeliveryAttempt.message_id == LogRow.message_id,
        DeliveryAttempt.started_at > Incident.last_seen_at,
        DeliveryAttempt.outcome == Outcome.ACCEPTED,
        DeliveryAttempt.server == Incident.server,
        DeliveryAttempt.version_number.is_not_distinct_from(Incident.version_number),
        OutboxMessage.id == DeliveryAttempt.message_id,
        OutboxMessage.forced_version_id.is_(None),
    )
    return and_(Incident.kind == IncidentKind.SENDING, accepted)


def _is_over(now: datetime) -> Any:
    """Return the condition: its failure did not return within the time set for its kind."""
    return or_(
        and_(Incident.kind == IncidentKind.RECIPIENTS, Incident.last_seen_at < now - detection.BURST_WINDOW),
        and_(Incident.kind == IncidentKind.SIGN_UPS, Incident.last_seen_at < now - sign_ups.QUIET),
        and_(
            Incident.kind == IncidentKind.BOUNCES,
            Incident.cause != bounces.MASS_REFUSALS,  # that waits for the owner
            Incident.last_seen_at < now - _BOUNCES_QUIET,
        ),
        and_(
            Incident.kind == IncidentKind.SENDING,
            Incident.version_number.is_(None),
            Incident.last_seen_at < now - _PLATFORM_QUIET,
        ),
    )


def _find_open(condition: Any) -> list[int]:
    query = select(Incident.id).where(Incident.is_open, condition).limit(_BATCH)
    incident_ids = list(db.session.scalars(query))
    db.session.rollback()
    return incident_ids


def _close(incident_id: int, reason: EndReason, now: datetime) -> None:
    account_id = db.session.scalar(select(Incident.account_id).where(Incident.id == incident_id))
    if account_id is not None:
        get_queue(account_id, lock=True)
        incident = db.session.get_one(Incident, incident_id, populate_existing=True)
        if incident.is_open:
            lifecycle.close(incident, reason, now=now)
    db.session.commit()


def _record_peak_waiting() -> None:
    """Update the peak of waiting emails of each open incident, and prune its account's webhook deliveries. Commits."""
    query = select(Incident.id, Incident.account_id).where(
        Incident.is_open, Incident.kind == IncidentKind.SENDING
    )
    counts: dict[int, int] = {}
    for incident_id, account_id in db.session.execute(query.limit(_BATCH)).all():
        count = counts.setdefault(account_id, count_waiting(account_id))
        is_peak = and_(Incident.id == incident_id, Incident.peak_waiting < count)
        db.session.execute(update(Incident).where(is_peak).values(peak_waiting=count))
        webhooks.prune(account_id)
    db.session.commit()


def _start_failover(account_id: int, now: datetime) -> None:
    try:
        failover.start(account_id, now=now)
    except failover.FailoverUnavailable as refused:
        db.session.rollback()
        _log.info("no failover for account %s: %s", account_id, refused)
