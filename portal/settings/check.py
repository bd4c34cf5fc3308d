"""Prove a version: climb the ladder and send the real New Sign-up email to its owner.

The message takes exactly the path affiliates' mail takes; only the version is a chosen one. Each rung is
stored as it is climbed, so that the page shows it live, and a worker that dies leaves a check that the
next one takes up.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.exc import SQLAlchemyError

from ..accounts.models import Account
from ..clock import utcnow
from ..db import db
from ..db.lease import Lease, lapsed, take
from ..notices import rendering
from ..notices.catalogue import NEW_SIGN_UP
from ..outbox.diagnoses import INTERNAL_ERROR
from ..outbox.models import DeliveryAttempt, OutboxMessage, Status
from ..outbox.queue import enqueue_row
from ..outbox.sending import deliver
from ..outbox.store import claims
from ..state import current_config
from ..vault import SealBroken
from . import autodetect, fixes, routing, versions
from .models import DETECT, CheckState, SettingsCheck, SmtpSettings, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..smtp.failure import SubmissionFailure
    from ..smtp.protocol.stages import StageResult

_log = logging.getLogger(__name__)


def check(version_id: int) -> None:
    """Run the waiting check of a version. Safe to call at any time and by anybody."""
    run = _take(version_id, utcnow())
    if run is None:
        return
    try:
        _run(run)
    except SQLAlchemyError:
        raise  # the database is in trouble, not the settings; the lease lapses and the check is taken up
    except SealBroken:
        db.session.rollback()
        _finish(run, passed=False, diagnosis=routing.SEAL_BROKEN)
    except Exception:
        _log.exception("the check of version %s broke", version_id)
        db.session.rollback()
        _finish(run, passed=False, diagnosis=INTERNAL_ERROR)


def due(now: datetime) -> list[tuple[str, int]]:
    """Find checks nobody runs: announced in vain, or left by a worker that died."""
    query = select(SettingsCheck.version_id).where(_free(now)).distinct()
    return [("check", ident) for ident in db.session.scalars(query)]


def _free(now: datetime) -> ColumnElement[bool]:
    crashed = and_(SettingsCheck.state == CheckState.RUNNING, lapsed(SettingsCheck, now))
    return or_(SettingsCheck.state == CheckState.WAITING, crashed)


def _take(version_id: int, now: datetime) -> Lease[SettingsCheck] | None:
    query = select(SettingsCheck).where(SettingsCheck.version_id == version_id, _free(now))
    row = db.session.scalar(
        query.order_by(SettingsCheck.id.desc()).limit(1).with_for_update(skip_locked=True)
    )
    if row is None:
        db.session.rollback()
        return None
    row.state, run = CheckState.RUNNING, take(row, _lease(), now=now)
    db.session.commit()
    return run


def _run(run: Lease[SettingsCheck]) -> None:
    version = _version_of(run)
    version_id = version.id
    if version.security == DETECT and not _detect(run, version_id):
        return
    message = _owe_test_email(run)
    if message is None:
        return
    if message.status in (Status.SENT, Status.FAILED):  # an earlier worker got this far and died
        _finish_as(run, message)
        return
    claim = claims.claim_one(message.id)
    if claim is None:
        return  # somebody holds it; its lease decides
    result = deliver.attempt(claim, version_id=claim.message.forced_version_id, observer=_recorder(run))
    if result.failure is not None:
        _look_for_a_cure(run, version_id, result.failure, result.diagnosis)
    if result.settled:
        _finish(run, passed=result.accepted, diagnosis=result.diagnosis, transcript=result.transcript)


def _look_for_a_cure(
    run: Lease[SettingsCheck],
    version_id: int,
    failure: SubmissionFailure,
    diagnosis: Mapping[str, Any] | None,
) -> None:
    """Climb again with a change that may help, so that the page offers a fix that is already proved.

    What went wrong is told first; the search may take a while, so the lease begins anew.
    """
    row = run.still_mine()
    if row is None:
        db.session.rollback()
        return
    row.diagnosis, row.fix = dict(diagnosis) if diagnosis else None, None
    run.renew(row, _lease(), now=utcnow())
    recipient = row.recipient
    db.session.commit()
    found = fixes.look_for(version_id, failure, recipient)
    row = run.still_mine()
    if row is not None:
        row.fix = found
    db.session.commit()


def _detect(run: Lease[SettingsCheck], version_id: int) -> bool:
    """Find port and encryption of a version that left them open. Returns whether something was found."""
    found = autodetect.search(version_id)
    row = run.still_mine()
    if row is None:
        db.session.rollback()
        return False
    version = db.session.get_one(SmtpSettings, version_id)
    row.stages = [autodetect.rung(found)]
    if found.found is None:
        _finish(run, passed=False, diagnosis=autodetect.nothing_found(version.host))
        return False
    autodetect.keep(version, found.found)
    db.session.commit()
    return True


def _owe_test_email(run: Lease[SettingsCheck]) -> OutboxMessage | None:
    """Enqueue the real New Sign-up email with sample data, for this version and the owner alone. Commits."""
    row = run.still_mine()
    if row is None:
        db.session.rollback()
        return None
    version = db.session.get_one(SmtpSettings, row.version_id)
    account = db.session.get_one(Account, version.account_id)
    mail = rendering.sample(NEW_SIGN_UP, account, first_name=(row.recipient_name.split() or [""])[0])
    key = f"check:{row.id}"
    new = mail.to(
        row.recipient, row.recipient_name, kind=NEW_SIGN_UP.kind, key=key, forced_version_id=version.id
    )
    owed = enqueue_row(account.id, new, now=utcnow())
    message = owed or db.session.scalars(select(OutboxMessage).where(OutboxMessage.key == key)).one()
    row.message_id = message.id
    if message.status not in (Status.SENT, Status.FAILED):  # the ladder is climbed from its foot
        row.stages = [rung for rung in row.stages if rung["stage"] == "detect"]
        run.renew(row, _lease(), now=utcnow())  # finding the port took its time
    db.session.commit()
    return message


def _recorder(run: Lease[SettingsCheck]) -> Callable[[StageResult], None]:
    def record(result: StageResult) -> None:
        row = run.still_mine()
        if row is not None:
            row.stages = [*row.stages, result.as_dict()]
        db.session.commit()

    return record


def _finish_as(run: Lease[SettingsCheck], message: OutboxMessage) -> None:
    """Settle a check by what became of its message."""
    attempts = select(DeliveryAttempt).where(DeliveryAttempt.message_id == message.id)
    last = db.session.scalar(attempts.order_by(DeliveryAttempt.number.desc()).limit(1))
    diagnosis, transcript = (last.diagnosis, last.transcript) if last else (None, "")
    passed = message.status is Status.SENT
    _finish(run, passed=passed, diagnosis=None if passed else diagnosis, transcript=transcript)


def _finish(
    run: Lease[SettingsCheck],
    *,
    passed: bool,
    diagnosis: Mapping[str, Any] | None = None,
    transcript: str = "",
) -> None:
    """Settle a check; a version that passed goes live unless something newer is under way. Commits.

    Does nothing when another worker has taken the check up.
    """
    row, now = run.still_mine(), utcnow()
    if row is None:
        db.session.rollback()
        return
    row.state = CheckState.PASSED if passed else CheckState.FAILED
    row.diagnosis, row.ended_at, row.lease_until = dict(diagnosis) if diagnosis else None, now, None
    row.transcript = transcript
    version = db.session.get_one(SmtpSettings, row.version_id)
    if passed and version.state is State.LIVE:
        version.failover_since = None  # its server works, so nothing has to go another way
        versions.let_go(version.account_id, now)
    elif passed and not _superseded(row, version):
        versions.activate(version, now=now)
    db.session.commit()


def _superseded(row: SettingsCheck, version: SmtpSettings) -> bool:
    """Whether the owner has meanwhile started to check other settings."""
    query = (
        select(SettingsCheck.id)
        .join(SmtpSettings, SmtpSettings.id == SettingsCheck.version_id)
        .where(
            SmtpSettings.account_id == version.account_id,
            SmtpSettings.id != version.id,
            SettingsCheck.id > row.id,
        )
        .limit(1)
    )
    return db.session.scalar(query) is not None


def _version_of(run: Lease[SettingsCheck]) -> SmtpSettings:
    return db.session.get_one(SmtpSettings, db.session.get_one(SettingsCheck, run.id_).version_id)


def _lease() -> timedelta:
    return timedelta(seconds=current_config().lease)
