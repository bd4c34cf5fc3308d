"""Requests for checks: one that waits and one that runs for each account, and their end at the owner's request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import ColumnElement, Select, delete, select, update

from ... import audit, rate_limit
from ...db import db
from ...jobs import notify
from ...web import owner_limits
from ..models import CheckState, SettingsCheck, SmtpSettings, VersionState
from ..validation import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

CHECK_STOPPED: dict[str, Any] = {
    "code": "check-stopped",
    "kind": "network",
    "whose_move": "owner",
    "cause": "You stopped this check.",
    "fixes": ["To repeat it, choose Check again."],
}


class SettingsSaver(Protocol):
    """Who saves or checks settings. A test email goes to the mailbox."""

    @property
    def account_id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def mailbox(self) -> str: ...


class CheckLimitReached(InvalidSettings):
    """The account has reached its limit of checks per hour; nothing is saved."""


def count_check(account_id: int, *, now: datetime) -> None:
    """Count one check of an account. The caller commits. Raises CheckLimitReached, after a rollback."""
    if not rate_limit.consume(owner_limits.CHECKS, account_id, now=now):
        db.session.rollback()
        sentence = (
            "You have checked these settings very often in the last hour. Wait a while: providers lock "
            "users who try too often."
        )
        raise CheckLimitReached({"": sentence})


def request_check(version: SmtpSettings, owner: SettingsSaver, now: datetime) -> None:
    """Request a check, unless one of this version already waits: a second would only log in twice.

    It replaces the check of another version that has not started. An account thus has at most one check that runs
    and one that waits for its end. The check of a version that waits for a person replaces none.
    """
    others = select(SmtpSettings.id).where(
        SmtpSettings.account_id == version.account_id, SmtpSettings.id != version.id
    )
    if not version.waits_for_person:
        db.session.execute(
            delete(SettingsCheck).where(
                SettingsCheck.state == CheckState.WAITING, SettingsCheck.version_id.in_(others)
            )
        )
    if not _is_check_waiting(version):
        check = SettingsCheck(version_id=version.id, recipient=owner.mailbox, recipient_name=owner.name)
        check.state, check.stages, check.created_at = CheckState.WAITING, [], now
        db.session.add(check)
    notify.push_after_commit("check", version.id)


def stop_checks(account_id: int, *, now: datetime) -> bool:
    """End the checks that wait or run; a worker that runs one leaves it within seconds. Commits.

    Returns whether there was one. Ending a check locks no version, so that it never waits for the server.
    """
    ended = end_checks(account_id, now)
    if ended:
        audit.record(audit.Activity.CHECK_STOPPED, account_id)
    db.session.commit()
    return ended > 0


def stop_checks_by_grants(account_id: int, ended: Collection[int], *, now: datetime) -> None:
    """End the checks of the versions that log in with some grants. The caller commits.

    Call it before the account is locked, in the order of a worker that stores the result of a check.
    """
    users = select(SmtpSettings.id).where(SmtpSettings.grant_id.in_(ended))
    end_checks(account_id, now, SettingsCheck.version_id.in_(users))


def end_checks(account_id: int, now: datetime, *conditions: ColumnElement[bool]) -> int:
    """Mark checks that wait or run as stopped by the owner. Return how many. The caller commits."""
    version_ids = select(SmtpSettings.id).where(SmtpSettings.account_id == account_id)
    unfinished = SettingsCheck.state.in_((CheckState.WAITING, CheckState.RUNNING))
    values = {"state": CheckState.FAILED, "diagnosis": CHECK_STOPPED, "ended_at": now, "lease_until": None}
    ended = db.session.execute(
        update(SettingsCheck)
        .where(SettingsCheck.version_id.in_(version_ids), unfinished, *conditions)
        .values(**values)
    )
    return int(ended.rowcount)  # type: ignore[attr-defined]


def latest_check(version: SmtpSettings) -> SettingsCheck | None:
    query = select(SettingsCheck).where(SettingsCheck.version_id == version.id)
    return db.session.scalar(query.order_by(SettingsCheck.id.desc()).limit(1))


def last_checked(account_id: int) -> SmtpSettings | None:
    """Return the version of the account's newest check, which can be an older version checked again."""
    query = (
        select(SmtpSettings)
        .join(SettingsCheck, SettingsCheck.version_id == SmtpSettings.id)
        .where(SmtpSettings.account_id == account_id, SmtpSettings.state != VersionState.DISCARDED)
        .order_by(SettingsCheck.id.desc())
        .limit(1)
    )
    return db.session.scalar(query)


def accounts_being_checked(now: datetime) -> Select[int]:
    """Return the query for the ids of the accounts of which a worker runs a check."""
    return (
        select(SmtpSettings.account_id)
        .join(SettingsCheck, SettingsCheck.version_id == SmtpSettings.id)
        .where(SettingsCheck.state == CheckState.RUNNING, SettingsCheck.lease_until > now)
    )


def is_being_checked(account_id: int, now: datetime) -> bool:
    """Return whether a worker runs a check of an account. Another one waits until it ends."""
    query = accounts_being_checked(now).where(SmtpSettings.account_id == account_id)
    return db.session.scalar(query.limit(1)) is not None


def is_any_unfinished(account_id: int) -> bool:
    """Return whether a check of an account waits or runs."""
    query = (
        select(SettingsCheck.id)
        .join(SmtpSettings, SmtpSettings.id == SettingsCheck.version_id)
        .where(
            SmtpSettings.account_id == account_id,
            SettingsCheck.state.in_((CheckState.WAITING, CheckState.RUNNING)),
        )
    )
    return db.session.scalar(query.limit(1)) is not None


def _is_check_waiting(version: SmtpSettings) -> bool:
    query = select(SettingsCheck.id).where(
        SettingsCheck.version_id == version.id, SettingsCheck.state == CheckState.WAITING
    )
    return db.session.scalar(query.limit(1)) is not None
