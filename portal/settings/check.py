"""Settings check: send the real New Sign-up email to the owner through one version, and activate it on success.

The test email goes through the same outbox and sender as affiliates' email; only the version is fixed. Each stage
result is stored at once so that the page can show progress. A check has a lease: when its worker crashes, the lease
expires and another worker continues.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from ..accounts import standing
from ..accounts.models import Account
from ..arrival import proofs
from ..clock import utcnow
from ..db import db
from ..db.lease import Lease, take
from ..db.transaction import db_now
from ..jobs import notify
from ..notices import rendering
from ..notices.catalogue import NEW_SIGN_UP
from ..oauth import tokens
from ..outbox.diagnoses import ACCOUNT_STOPPED, INTERNAL_ERROR
from ..outbox.models import DeliveryAttempt, OutboxMessage, Status
from ..outbox.queue import enqueue_row
from ..outbox.sending import deliver
from ..outbox.store import claims
from ..outbox.store.sql import get_store
from ..security_log import SecurityEvent, record
from ..smtp.failure import Reason, Stage, SubmissionFailure
from ..state import current_config
from ..vault import DecryptionError
from . import autodetect, credentials, fixes, routing, versions
from .checking import check_requests, due_checks, refused_targets
from .models import DETECT, CheckState, SettingsCheck, SmtpSettings, VersionState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..outbox.store.types import Claim
    from ..smtp.protocol.stages import StageResult

_log = logging.getLogger(__name__)


def run(version_id: int) -> None:
    """Run the waiting check of a version, unless one of its account runs. Safe to repeat. Commits.

    A server that does not answer keeps a thread for a minute. One check of each account at a time leaves the other
    threads to the other accounts.
    """
    lease = _claim(version_id, utcnow())
    if lease is None:
        return
    try:
        _run_claimed(lease)
    except SQLAlchemyError:
        raise  # A database error is no result of the check: the lease expires and the check is repeated.
    except DecryptionError:
        db.session.rollback()
        _finish(lease, passed=False, diagnosis=routing.PASSWORD_UNREADABLE)
    except Exception:
        _log.exception("settings check of version %s failed with an internal error", version_id)
        db.session.rollback()
        _finish(lease, passed=False, diagnosis=INTERNAL_ERROR)
    for job in due_checks.find_of_account(version_id, utcnow()):
        notify.push(*job)
    db.session.rollback()


def _claim(version_id: int, now: datetime) -> Lease[SettingsCheck] | None:
    account_id = db.session.scalar(select(SmtpSettings.account_id).where(SmtpSettings.id == version_id))
    if account_id is None:
        db.session.rollback()
        return None
    versions.lock_account(account_id)
    if check_requests.is_being_checked(account_id, now):  # at its end it pushes the job of the next
        db.session.rollback()
        return None
    query = select(SettingsCheck).where(SettingsCheck.version_id == version_id, due_checks.is_due(now))
    row = db.session.scalar(
        query.order_by(SettingsCheck.id.desc()).limit(1).with_for_update(skip_locked=True)
    )
    if row is None:
        db.session.rollback()
        return None
    lease = take(row, _lease_duration(), now=now)
    row.state, row.started_at = CheckState.RUNNING, now
    db.session.commit()
    return lease


def _run_claimed(lease: Lease[SettingsCheck]) -> None:
    version = _version(lease)
    version_id = version.id
    if not standing.may_send(version.account_id):
        db.session.rollback()
        _finish(lease, passed=False, diagnosis=ACCOUNT_STOPPED)
        return
    if version.grant_id is not None:
        tokens.discard(version.grant_id)  # a version goes live with a fresh token only
    if version.security == DETECT and not _detect_port(lease, version_id):
        return
    message = _enqueue_test_email(lease)
    if message is None:
        return
    if message.status in (Status.SENT, Status.FAILED):  # by a worker that crashed before it stored the result
        _finish_from_message(lease, message)
        return
    claim = claims.claim_one(message.id)
    if claim is None:
        return  # another worker sends it; the check is repeated when the lease expires
    result = deliver.attempt(
        claim,
        version_id=claim.message.forced_version_id,
        observer=_stage_recorder(lease),
        keep_waiting=partial(_keep_waiting, lease, claim),
    )
    diagnosis = result.diagnosis
    if result.failure is not None and diagnosis is not None:
        diagnosis = _with_password_hint(version_id, result.failure, diagnosis)
        _find_fix(lease, version_id, result.failure, diagnosis)
    if result.settled:
        _finish(lease, passed=result.accepted, diagnosis=diagnosis, transcript=result.transcript)


def _with_password_hint(
    version_id: int, failure: SubmissionFailure, diagnosis: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Add what to try if the server refused a password beyond ASCII, which servers encode differently."""
    if failure.stage is not Stage.AUTH or failure.reason is not Reason.REPLIED:
        return diagnosis
    password = credentials.open_password(db.session.get_one(SmtpSettings, version_id))
    db.session.rollback()
    if password.isascii():
        return diagnosis
    hint = _(
        "The password contains characters that servers store in different ways, such as ä or é. If it "
        "is right, set a password of plain letters and digits at your provider."
    )
    return {**diagnosis, "fixes": [*diagnosis["fixes"], hint]}


def _find_fix(
    lease: Lease[SettingsCheck],
    version_id: int,
    failure: SubmissionFailure,
    diagnosis: Mapping[str, Any] | None,
) -> None:
    """Search for a changed setting that works, so that the page can offer it as a verified fix.

    The diagnosis is committed before the search, which can take a while. The lease is renewed for it.
    """
    row = lease.still_mine()
    if row is None:
        db.session.rollback()
        return
    row.diagnosis, row.fix = dict(diagnosis) if diagnosis else None, None
    lease.renew(row, _lease_duration(), now=utcnow())
    row.started_at = utcnow()
    recipient = row.recipient
    db.session.commit()
    fix = fixes.find(version_id, failure, recipient)
    row = lease.still_mine()
    if row is not None:
        row.fix = fix
    db.session.commit()


def _detect_port(lease: Lease[SettingsCheck], version_id: int) -> bool:
    """Detect port and encryption of a version that leaves them open. Return whether any were found. Commits."""
    detection = autodetect.find_port(version_id)
    row = lease.still_mine()
    if row is None:
        db.session.rollback()
        return False
    version = db.session.get_one(SmtpSettings, version_id)
    row.stages = [autodetect.stage_result(detection)]
    if detection.found is None:
        refused_targets.record_detection(version.account_id, version.host, detection)
        _finish(lease, passed=False, diagnosis=autodetect.not_found_diagnosis(version.host))
        return False
    autodetect.store_port(version, detection.found)
    db.session.commit()
    return True


def _enqueue_test_email(lease: Lease[SettingsCheck]) -> OutboxMessage | None:
    """Enqueue the New Sign-up email with sample data, to the owner, through this version. Commits."""
    row = lease.still_mine()
    if row is None:
        db.session.rollback()
        return None
    version = db.session.get_one(SmtpSettings, row.version_id)
    account = db.session.get_one(Account, version.account_id)
    link, first_name = proofs.new_link(), (row.recipient_name.split() or [""])[0]
    mail = rendering.render_sample(NEW_SIGN_UP, account, first_name=first_name, arrival_url=link.url)
    key = f"check:{row.id}"
    new = mail.to(
        row.recipient, row.recipient_name, kind=NEW_SIGN_UP.kind, key=key, forced_version_id=version.id
    )
    message = enqueue_row(account.id, new, now=utcnow())
    if message is None:  # enqueued by an earlier worker
        message = db.session.scalars(select(OutboxMessage).where(OutboxMessage.key == key)).one()
    else:
        proofs.add(link, message, now=utcnow())
    row.message_id = message.id
    if message.status not in (Status.SENT, Status.FAILED):  # all stages after the detection are repeated
        row.stages = [stage for stage in row.stages if stage["stage"] == "detect"]
        lease.renew(row, _lease_duration(), now=utcnow())  # detection used up part of it
        row.started_at = utcnow()
    db.session.commit()
    return message


def _stage_recorder(lease: Lease[SettingsCheck]) -> Callable[[StageResult], None]:
    def record(result: StageResult) -> None:
        row = lease.still_mine()
        if row is not None:
            row.stages = [*row.stages, result.as_dict()]
        db.session.commit()

    return record


def _keep_waiting(lease: Lease[SettingsCheck], claim: Claim) -> bool:
    """Renew the leases of the check and its message while the server is silent; False if its owner stopped the check."""
    row = lease.still_mine()
    if row is not None and lease.until - utcnow() < _lease_duration() / 2:
        lease.renew(row, _lease_duration(), now=utcnow())
        get_store().renew_lease(claim.message.account_id, claim.token, now=db_now())
    db.session.commit()
    return row is not None


def _finish_from_message(lease: Lease[SettingsCheck], message: OutboxMessage) -> None:
    """Finish a check with the outcome of its message. Commits."""
    attempts = select(DeliveryAttempt).where(DeliveryAttempt.message_id == message.id)
    last = db.session.scalar(attempts.order_by(DeliveryAttempt.number.desc()).limit(1))
    diagnosis, transcript = (last.diagnosis, last.transcript) if last else (None, "")
    passed = message.status is Status.SENT
    _finish(lease, passed=passed, diagnosis=None if passed else diagnosis, transcript=transcript)


def _finish(
    lease: Lease[SettingsCheck],
    *,
    passed: bool,
    diagnosis: Mapping[str, Any] | None = None,
    transcript: str = "",
) -> None:
    """Store the result of a check; activate the version if it passed, its domain is proved and no newer check exists. Commits.

    Does nothing when another worker has claimed the check.
    """
    row, now = lease.still_mine(), utcnow()
    if row is None:
        db.session.rollback()
        return
    row.state = CheckState.PASSED if passed else CheckState.FAILED
    row.diagnosis, row.ended_at, row.lease_until = dict(diagnosis) if diagnosis else None, now, None
    row.transcript = transcript
    is_activated = False
    version = db.session.get_one(SmtpSettings, row.version_id)
    if passed and version.state is VersionState.LIVE:
        version.failover_since = None  # The server works again: end the failover.
        versions.release_queue(version.account_id)
    elif passed and not _is_superseded(row, version):
        is_activated = versions.activate_if_proved(version, now=now)
    account_id, number = version.account_id, version.number
    db.session.commit()
    if is_activated:
        record(SecurityEvent.SETTINGS_LIVE, account=account_id, version=number)


def activate_after_proof(version: SmtpSettings, *, now: datetime) -> bool:
    """Make a draft live whose check had passed before its domain was proved. Returns whether it is live. Commits.

    A version that was live before needs another check: its owner has stopped using it, or replaced it.
    """
    row = check_requests.latest_check(version)
    passed = row is not None and row.state is CheckState.PASSED and not _is_superseded(row, version)
    is_waiting = version.state is VersionState.DRAFT and passed
    if not is_waiting or not versions.activate_if_proved(version, now=now):
        db.session.rollback()
        return version.state is VersionState.LIVE
    account_id, number = version.account_id, version.number
    db.session.commit()
    record(SecurityEvent.SETTINGS_LIVE, account=account_id, version=number)
    return True


def is_unfinished(version: SmtpSettings) -> bool:
    """Return whether the newest check of a version waits or runs."""
    row = check_requests.latest_check(version)
    return row is not None and row.state in (CheckState.WAITING, CheckState.RUNNING)


def _is_superseded(row: SettingsCheck, version: SmtpSettings) -> bool:
    """Whether the owner has started a check of another version since this one. Those that cannot go live do not count."""
    query = (
        select(SettingsCheck.id)
        .join(SmtpSettings, SmtpSettings.id == SettingsCheck.version_id)
        .where(
            SmtpSettings.account_id == version.account_id,
            SmtpSettings.id != version.id,
            SmtpSettings.waits_for_person.is_(False),
            SettingsCheck.id > row.id,
        )
        .limit(1)
    )
    return db.session.scalar(query) is not None


def _version(lease: Lease[SettingsCheck]) -> SmtpSettings:
    return db.session.get_one(SmtpSettings, db.session.get_one(SettingsCheck, lease.id_).version_id)


def _lease_duration() -> timedelta:
    return timedelta(seconds=current_config().lease)
