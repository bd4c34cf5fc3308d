"""Which checks of settings are due: one of each account at a time, the oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, and_, or_, select

from ...db import db
from ...db.lease import lapsed
from ..models import CheckState, SettingsCheck, SmtpSettings
from . import check_requests

if TYPE_CHECKING:
    from datetime import datetime


def find_due_work(now: datetime) -> list[tuple[str, int]]:
    """Return one job for each account that has a check to run and none that runs."""
    return _due_jobs(now)


def find_of_account(version_id: int, now: datetime) -> list[tuple[str, int]]:
    """Return the job of the next check of a version's account, if it has one to run and none that runs."""
    return _due_jobs(now, SettingsCheck.version_id.in_(_same_account(version_id)))


def _due_jobs(now: datetime, *conditions: ColumnElement[bool]) -> list[tuple[str, int]]:
    query = (
        select(SmtpSettings.account_id, SettingsCheck.version_id)
        .join(SmtpSettings, SmtpSettings.id == SettingsCheck.version_id)
        .where(
            is_due(now),
            SmtpSettings.account_id.not_in(check_requests.accounts_being_checked(now)),
            *conditions,
        )
    )
    rows = db.session.execute(query.order_by(SettingsCheck.id.desc()))
    by_account = {row.account_id: row.version_id for row in rows}  # the oldest check of each
    return [("check", version_id) for version_id in by_account.values()]


def _same_account(version_id: int) -> Select[int]:
    """Return the query for the ids of the versions of a version's account."""
    account = select(SmtpSettings.account_id).where(SmtpSettings.id == version_id).scalar_subquery()
    return select(SmtpSettings.id).where(SmtpSettings.account_id == account)


def is_due(now: datetime) -> ColumnElement[bool]:
    """Return the condition of a check that waits, or whose worker crashed."""
    expired = and_(SettingsCheck.state == CheckState.RUNNING, lapsed(SettingsCheck, now))
    return or_(SettingsCheck.state == CheckState.WAITING, expired)
