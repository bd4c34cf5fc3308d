"""The watch: every few seconds one worker looks after what no single email tells.

Whether a trouble is over that nobody disproved, how many emails wait for it, whose turn the detour is, and
whether there was a time without any worker.
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
from . import detection, failover, lifecycle, webhooks
from .lifecycle import Failure
from .models import EndReason, Incident, IncidentKind, MonitorRun

_INTERVAL = timedelta(seconds=10)
_WORKER_GAP = timedelta(minutes=2)  # without a look: nobody was at work
_PLATFORM_QUIET = timedelta(hours=24)
_BATCH = 200
_ROW = 1
_log = logging.getLogger(__name__)


def find_due_work(now: datetime) -> list[tuple[str, int]]:
    """Return the watch's own job when its time has come, for the sweep."""
    ran_at = db.session.scalar(select(MonitorRun.ran_at).where(MonitorRun.id == _ROW))
    return [("monitor", _ROW)] if ran_at is None or ran_at <= now - _interval() else []


def run(_ident: int = _ROW) -> None:
    """Look after everything once; the one who comes second in the same seconds does nothing."""
    now = utcnow()
    last = _claim_run(now)
    if last is None:
        return
    if now - last > _WORKER_GAP:
        _record_worker_gap(last, now)
    _schedule_first_probes(now)
    for ident in _ids(_replaced()):
        _close(ident, EndReason.REPLACED, now)
    for ident in _ids(_disproved()):
        _close(ident, EndReason.FLOWS, now)
    for ident in _ids(_over(now)):
        _close(ident, EndReason.OVER, now)
    _record_peak_waiting(now)
    for account_id in failover.find_due_accounts(now):
        _start_failover(account_id, now)


def _interval() -> timedelta:
    return min(_INTERVAL, timedelta(seconds=current_config().sweep * 2))


def _claim_run(now: datetime) -> datetime | None:
    """Return when somebody last looked, having taken the turn; None when it is somebody else's. Commits."""
    row = db.session.get(MonitorRun, _ROW, with_for_update=True, populate_existing=True)
    if row is None:
        db.session.add(MonitorRun(id=_ROW, ran_at=now))
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
    """Write a time without worker into the history of everybody whose emails waited for one. Commits."""
    diagnosis = {
        "code": "no-worker",
        "kind": "server_fault",
        "whose_move": "operator",
        "cause": f"No worker ran from {format_time(last)} to {format_time(now)}, so no email left in that time.",
        "fixes": [
            "Whoever runs this portal starts a worker with: flask worker. Emails that waited leave now."
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


def _replaced() -> Any:
    """Trouble of settings that are live no more, or of the platform where an account has its own."""
    live = aliased(SmtpSettings)
    now_live = and_(live.account_id == Incident.account_id, live.state == VersionState.LIVE)
    same = exists().where(now_live, live.number == Incident.version_number)
    own = exists().where(now_live)
    return and_(
        Incident.kind.in_((IncidentKind.SENDING, IncidentKind.DEADLINE)),
        or_(
            and_(Incident.version_number.is_not(None), ~same),
            and_(Incident.version_number.is_(None), own),
        ),
    )


def _disproved() -> Any:
    """Trouble on a way by which an email was accepted since. The log's lines lead: they are sorted by account and time."""
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


def _over(now: datetime) -> Any:
    """What nobody met again for long enough, by the measure of its kind."""
    return or_(
        and_(Incident.kind == IncidentKind.RECIPIENTS, Incident.last_seen_at < now - detection.BURST_WINDOW),
        and_(
            Incident.kind == IncidentKind.SENDING,
            Incident.version_number.is_(None),
            Incident.last_seen_at < now - _PLATFORM_QUIET,
        ),
    )


def _ids(rule: Any) -> list[int]:
    found = list(db.session.scalars(select(Incident.id).where(Incident.is_open, rule).limit(_BATCH)))
    db.session.rollback()
    return found


def _close(ident: int, how: EndReason, now: datetime) -> None:
    account_id = db.session.scalar(select(Incident.account_id).where(Incident.id == ident))
    if account_id is not None:
        get_queue(account_id, lock=True)
        incident = db.session.get_one(Incident, ident, populate_existing=True)
        if incident.is_open:
            lifecycle.close(incident, how, now=now)
    db.session.commit()


def _record_peak_waiting(now: datetime) -> None:
    """Remember the most that waited for each open trouble. Commits."""
    query = select(Incident.id, Incident.account_id).where(
        Incident.is_open, Incident.kind == IncidentKind.SENDING
    )
    counts: dict[int, int] = {}
    for ident, account_id in db.session.execute(query.limit(_BATCH)).all():
        count = counts.setdefault(account_id, count_waiting(account_id))
        more = and_(Incident.id == ident, Incident.peak_waiting < count)
        db.session.execute(update(Incident).where(more).values(peak_waiting=count))
        webhooks.prune(account_id)
    db.session.commit()


def _start_failover(account_id: int, now: datetime) -> None:
    try:
        failover.start(account_id, now=now)
    except failover.FailoverUnavailable as none:
        db.session.rollback()
        _log.info("account %s waits for its own server: %s", account_id, none)
