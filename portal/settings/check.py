"""Prove a version: climb the ladder and send the real New Sign-up email to its owner.

The message takes exactly the path affiliates' mail takes; only the version is a chosen one. Each rung is
stored as it is climbed, so that the page shows it live, and a worker that dies leaves a check that the
next one takes up.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, or_, select

from ..accounts.models import Account
from ..clock import utcnow
from ..db import db
from ..notices import rendering
from ..notices.catalogue import NEW_SIGN_UP
from ..outbox import claims, delivery
from ..outbox.models import OutboxMessage, Status
from ..outbox.queue import NewMessage, enqueue
from ..smtp.detect import Detection, detect
from ..smtp.probe import Rung, Verdict
from ..smtp.server import Security, Server
from . import routes, versions
from .models import DETECT, CheckState, SettingsCheck, SmtpSettings, State

_log = logging.getLogger(__name__)

NOTHING_FOUND: dict[str, Any] = {
    "code": "detect-nothing",
    "kind": "network",
    "whose_move": "owner",
    "field": "host",
    "cause": "No usual mail port of {host} answered in a way we can use.",
    "fixes": [
        "Compare the SMTP Server with your provider's page, or choose the port and encryption it names."
    ],
}


def check(version_id: int) -> None:
    """Run the waiting check of a version. Safe to call at any time and by anybody."""
    run = _take(version_id, utcnow())
    if run is None:
        return
    try:
        _run(run)
    except Exception:
        _log.exception("the check of version %s broke", version_id)
        db.session.rollback()
        _finish(db.session.get_one(SettingsCheck, run), passed=False, diagnosis=delivery.OUR_FAULT)


def due(now: datetime) -> list[tuple[str, int]]:
    """Find checks nobody runs: announced in vain, or left by a worker that died."""
    query = select(SettingsCheck.version_id).where(_free(now)).distinct()
    return [("check", ident) for ident in db.session.scalars(query)]


def _free(now: datetime) -> Any:
    lapsed = and_(SettingsCheck.state == CheckState.RUNNING, SettingsCheck.lease_until <= now)
    return or_(SettingsCheck.state == CheckState.WAITING, lapsed)


def _take(version_id: int, now: datetime) -> int | None:
    query = select(SettingsCheck).where(SettingsCheck.version_id == version_id, _free(now))
    row = db.session.scalar(query.order_by(SettingsCheck.id.desc()).limit(1))
    if row is None:
        db.session.rollback()
        return None
    row.state, row.rungs = CheckState.RUNNING, []
    row.lease_until = now + timedelta(seconds=routes.config().lease)
    ident = row.id
    db.session.commit()
    return ident


def _run(check_id: int) -> None:
    row = db.session.get_one(SettingsCheck, check_id)
    version = db.session.get_one(SmtpSettings, row.version_id)
    if version.security == DETECT and not _detect(row, version):
        return
    message = _owe_test_email(row, version)
    if message.status is Status.SENT:  # an earlier worker got this far and died
        _finish(row, passed=True)
        return
    claim = claims.claim_one(message.id, now=utcnow(), lease=timedelta(seconds=routes.config().lease))
    if claim is None:
        return  # somebody holds it; its lease decides
    result = delivery.attempt(claim, version_id=version.id, observer=_recorder(check_id))
    row = db.session.get_one(SettingsCheck, check_id)
    row.transcript = result.transcript
    _finish(row, passed=result.accepted, diagnosis=dict(result.diagnosis) if result.diagnosis else None)


def _owe_test_email(row: SettingsCheck, version: SmtpSettings) -> OutboxMessage:
    """Enqueue the real New Sign-up email with sample data, for this version and the owner alone. Commits."""
    account = db.session.get_one(Account, version.account_id)
    mail = rendering.sample(NEW_SIGN_UP, account, first_name=(row.recipient_name.split() or [""])[0])
    key = f"check:{row.id}"
    new = NewMessage(
        kind=NEW_SIGN_UP.kind,
        key=key,
        recipient=row.recipient,
        recipient_name=row.recipient_name,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        pinned_version=version.id,
    )
    owed = enqueue(account.id, new, now=utcnow())
    message = owed or db.session.scalars(select(OutboxMessage).where(OutboxMessage.key == key)).one()
    row.message_id = message.id
    db.session.commit()
    return message


def _recorder(check_id: int) -> Any:
    def record(rung: Rung) -> None:
        row = db.session.get_one(SettingsCheck, check_id)
        row.rungs = [*row.rungs, rung.as_dict()]
        db.session.commit()

    return record


def _detect(row: SettingsCheck, version: SmtpSettings) -> bool:
    """Find port and encryption of a version that left them open. Commits. Returns whether something was found."""
    password, typed_port = routes.open_password(version), version.port
    server = Server(
        host=version.host,
        port=typed_port or 587,
        security=Security.STARTTLS,
        ehlo_name=routes.config().host_name,
        policy=routes.config().policy,
        limits=replace(routes.config().limits, deadline=min(15.0, routes.config().limits.deadline)),
    )
    row_id, version_id = row.id, version.id
    pairs = _candidates(version)
    db.session.commit()  # the search takes its time, and no transaction waits for it
    found = detect(server, candidates=pairs)
    row, version = db.session.get_one(SettingsCheck, row_id), db.session.get_one(SmtpSettings, version_id)
    row.rungs = [*row.rungs, _detection_rung(found)]
    if found.found is None:
        cause = str(NOTHING_FOUND["cause"]).format(host=version.host)
        _finish(row, passed=False, diagnosis=NOTHING_FOUND | {"cause": cause})
        return False
    version.port, version.security = found.found[0], found.found[1].value
    version.sealed_password = routes.vault().seal(password, routes.binding(version))
    db.session.commit()
    return True


def _candidates(version: SmtpSettings) -> list[tuple[int, Security]]:
    """Return the pairs to try: the typed port both ways, or what the provider uses and the two usual ones."""
    from .providers import provider_of

    both = (Security.STARTTLS, Security.IMPLICIT_TLS)
    if version.port:
        return [(version.port, security) for security in both]
    usual = [(587, Security.STARTTLS), (465, Security.IMPLICIT_TLS)]
    ports = [(port.number, port.security) for port in provider_of(version.host).ports]
    return list(dict.fromkeys([*(ports[:2] or []), *usual]))


def _detection_rung(found: Detection) -> dict[str, Any]:
    tried = {f"{one.port} {one.security.value}": one.sentence for one in found.tried}
    if found.found:
        sentence = f"Detected port {found.found[0]} with {found.found[1].value}."
    else:
        sentence = "No port answered in a usable way."
    verdict = Verdict.PASSED if found.found else Verdict.FAILED
    return {
        "stage": "detect",
        "verdict": verdict.value,
        "milliseconds": None,
        "sentence": sentence,
        "evidence": tried,
    }


def _finish(row: SettingsCheck, *, passed: bool, diagnosis: dict[str, Any] | None = None) -> None:
    """Settle a check; a version that passed goes live unless something newer is under way. Commits."""
    now = utcnow()
    row.state = CheckState.PASSED if passed else CheckState.FAILED
    row.diagnosis, row.ended_at, row.lease_until = diagnosis, now, None
    version = db.session.get_one(SmtpSettings, row.version_id)
    if passed and version.state is not State.LIVE and not _superseded(row, version):
        versions.activate(version, now=now)
    elif passed and version.state is State.LIVE:
        versions.let_go(version.account_id, now)
    db.session.commit()


def _superseded(row: SettingsCheck, version: SmtpSettings) -> bool:
    """Whether the owner has meanwhile started to check other settings."""
    query = (
        select(SettingsCheck.id)
        .join(SmtpSettings, SmtpSettings.id == SettingsCheck.version_id)
        .where(SmtpSettings.account_id == version.account_id, SettingsCheck.id > row.id)
        .limit(1)
    )
    return db.session.scalar(query) is not None
