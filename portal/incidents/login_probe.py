"""The canary: once a day, and soon after trouble, log in with the live version without sending anything.

So a password that ran out, or a certificate about to, is known before an affiliate's email meets it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update

from ..accounts.models import Owner
from ..clock import utcnow
from ..db import db
from ..outbox.queue import queue_of
from ..outbox.routing import NoRoute, Route
from ..settings.models import CheckState, SettingsCheck, SmtpSettings, State
from ..settings.routing import route_of
from ..settings.versions import let_go
from ..smtp.diagnosis.diagnose import RetryClass
from ..smtp.failure import Stage, SubmissionFailure
from ..smtp.probe.probe import Report, probe
from . import alerts, expiry, failover, lifecycle, policy
from .lifecycle import Trouble
from .models import Ended, Kind, OnFailure, Proof

_DAY = timedelta(hours=24)
_ANSWERS_WITHIN = timedelta(minutes=5)  # a worker that died climbing is not waited for any longer
_LATER = timedelta(hours=1)
# A refused log-in is not repeated often: providers lock users who try too much. A server is asked sooner.
_DELAYS = {
    RetryClass.SETTINGS: (120, 600, 1800, 3600, 3 * 3600, 6 * 3600),
    RetryClass.SERVER: (60, 120, 300, 600, 900),
}
_MAY_PROVE = {Stage.RCPT, Stage.DATA}  # a refusal this late comes after the log-in and the sender
_UNPROVABLE = {Stage.RCPT.value, Stage.DATA.value}  # trouble a log-in cannot disprove


@dataclass(frozen=True)
class _Ask:
    version_id: int
    account_id: int
    number: int
    route: Route
    recipient: str


def due(now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of versions whose turn it is, for the sweep."""
    query = (
        select(Proof.version_id)
        .join(SmtpSettings, SmtpSettings.id == Proof.version_id)
        .where(Proof.next_at <= now, SmtpSettings.state == State.LIVE)
        .order_by(Proof.next_at)
        .limit(50)
    )
    return [("canary", ident) for ident in db.session.scalars(query)]


def soon(
    account_id: int, number: int | None, *, now: datetime, within: timedelta = timedelta(minutes=1)
) -> None:
    """Bring a version's turn forward after trouble. The caller commits."""
    version = (
        select(SmtpSettings.id)
        .where(SmtpSettings.account_id == account_id, SmtpSettings.number == number)
        .scalar_subquery()
    )
    later = Proof.next_at > now + within
    statement = update(Proof).where(Proof.version_id == version, later).values(next_at=now + within)
    db.session.execute(statement.execution_options(synchronize_session=False))


def climb(version_id: int) -> None:
    """Log in with a version and take down what came of it. Safe to repeat: one worker at a time does it."""
    ask = _claim(version_id, utcnow())
    if ask is None:
        return
    report = probe(ask.route.server, ask.route.sender, ask.recipient)
    failure = report.failure
    if failure is None or failure.stage in _MAY_PROVE:
        _proved(ask, report, now=utcnow())
    else:
        _failed(ask, failure, now=utcnow())


def first_turn(version: SmtpSettings, now: datetime) -> Proof:
    """Return the proof of a version that has none yet: what its check proved holds for a day."""
    passed = select(func.max(SettingsCheck.ended_at)).where(
        SettingsCheck.version_id == version.id, SettingsCheck.state == CheckState.PASSED
    )
    proven_at = db.session.scalar(passed)
    soon = now + timedelta(seconds=random.uniform(0, 600))  # noqa: S311 - spread, not secrecy
    next_at = max(proven_at + _spread(_DAY), soon) if proven_at is not None else soon
    ident, account_id = version.id, version.account_id
    return Proof(version_id=ident, account_id=account_id, proven_at=proven_at, next_at=next_at, failures=0)


def of(version_id: int) -> Proof | None:
    """Return what is known of a version."""
    return db.session.get(Proof, version_id)


def _claim(version_id: int, now: datetime) -> _Ask | None:
    """Take the turn and open the password. Commits, so that no transaction waits for a server."""
    mine = (Proof.version_id == version_id, Proof.next_at <= now)
    taken = db.session.execute(update(Proof).where(*mine).values(next_at=now + _ANSWERS_WITHIN))
    version = db.session.get(SmtpSettings, version_id)
    if taken.rowcount != 1 or version is None or version.state is not State.LIVE:  # type: ignore[attr-defined]
        db.session.rollback()
        return None
    proof = db.session.get_one(Proof, version_id, populate_existing=True)
    if _emails_find_out(version):
        proof.next_at = now + _LATER
        db.session.commit()
        return None
    try:
        route = route_of(version)
    except NoRoute as none:
        _note(version.account_id, version.number, "", none.because, now=now)
        proof.tried_at, proof.next_at, proof.diagnosis = now, now + _LATER, none.because
        db.session.commit()
        return None
    recipient = db.session.scalars(
        select(Owner.mailbox).where(Owner.account_id == version.account_id)
    ).first()
    ask = _Ask(version.id, version.account_id, version.number, route, recipient or route.sender)
    db.session.commit()
    return ask


def _emails_find_out(version: SmtpSettings) -> bool:
    """Whether emails that wait try the server by themselves: two log-ins would only annoy it twice."""
    if version.bypassed_since is not None:
        return False
    queue = queue_of(version.account_id)
    return queue.held_at is not None and queue.probe_at is not None and alerts.waiting(version.account_id) > 0


def _proved(ask: _Ask, report: Report, *, now: datetime) -> None:
    queue_of(ask.account_id, lock=True)
    proof = db.session.get_one(Proof, ask.version_id, populate_existing=True)
    proof.proven_at = proof.tried_at = now
    proof.failures, proof.diagnosis, proof.next_at = 0, None, now + _spread(_DAY)
    proof.certificate_until = _certificate_until(report, now)
    version = db.session.get_one(SmtpSettings, ask.version_id)
    if version.state is State.LIVE:
        _let_mail_go(version, now)
        expiry.judge(version, proof, now=now)
    db.session.commit()


def _let_mail_go(version: SmtpSettings, now: datetime) -> None:
    """End the trouble a log-in disproves, and what was done about it."""
    mine = [
        one
        for one in lifecycle.open_ones(version.account_id)
        if one.kind is Kind.SENDING and one.version_number == version.number
    ]
    over = [one for one in mine if one.stage not in _UNPROVABLE]
    if len(over) < len(mine):
        return
    failover.end(version, now=now)
    for incident in over:
        lifecycle.close(incident, Ended.PROVED, now=now)
    queue = queue_of(version.account_id)
    if over and queue.held_at is not None and policy.of(version.account_id).on_failure is not OnFailure.STOP:
        let_go(version.account_id, now)


def _failed(ask: _Ask, failure: SubmissionFailure, *, now: datetime) -> None:
    queue_of(ask.account_id, lock=True)
    proof = db.session.get_one(Proof, ask.version_id, populate_existing=True)
    diagnosis = ask.route.explain(failure)
    delays = _DELAYS.get(diagnosis.retry_class)
    proof.tried_at = now
    version = db.session.get_one(SmtpSettings, ask.version_id)
    if (
        version.state is not State.LIVE or delays is None
    ):  # "later" and "too fast" say nothing of the settings
        proof.next_at = now + _LATER
        db.session.commit()
        return
    proof.failures += 1
    delay = timedelta(seconds=delays[min(proof.failures, len(delays)) - 1])
    proof.next_at, proof.diagnosis = now + _spread(delay), diagnosis.as_dict()
    reply = failure.reply
    said = {"reply_code": reply.code, "words": reply.text} if reply else {}
    server = ask.route.server.address
    _note(ask.account_id, ask.number, server, diagnosis.as_dict(), now=now, stage=failure.stage, **said)
    db.session.commit()


def _note(
    account_id: int, number: int, server: str, diagnosis: dict[str, Any], *, now: datetime, **more: Any
) -> None:
    lifecycle.note(
        Trouble(account_id, Kind.SENDING, diagnosis, server=server, version_number=number, **more), now=now
    )


def _certificate_until(report: Report, now: datetime) -> datetime | None:
    days = [rung.evidence["days_left"] for rung in report.rungs if rung.evidence.get("days_left")]
    return now + timedelta(days=int(days[-1])) if days else None


def _spread(delay: timedelta) -> timedelta:
    """Spread by a tenth either way, so that a crowd does not come at once."""
    return delay * random.uniform(0.9, 1.1)  # noqa: S311 - spread, not secrecy
