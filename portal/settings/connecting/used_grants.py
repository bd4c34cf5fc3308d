"""Which grants the versions of the settings log in with, and the end of those that no version needs any more."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Select, select

from ...db import db
from ...oauth import grants
from ..models import SmtpSettings, VersionState

_IS_IN_USE = SmtpSettings.state.in_((VersionState.LIVE, VersionState.DRAFT))
_UNUSED_KEPT = timedelta(days=90)


def is_disconnected(version: SmtpSettings) -> bool:
    """Return whether the connection that a version logs in with has ended, so that it has no secret any more."""
    return version.grant_id is not None and grants.has_ended(version.grant_id)


def grants_in_use(account_id: int) -> Select[int | None]:
    """Return the query for the ids of the grants that the live version or a draft logs in with."""
    return select(SmtpSettings.grant_id).where(
        SmtpSettings.account_id == account_id,
        SmtpSettings.grant_id.is_not(None),
        _IS_IN_USE,
    )


def end_unused_grants(now: datetime) -> None:
    """Delete the secrets of grants that only retired versions refer to, 90 days after their last token. Commits."""
    in_use = select(SmtpSettings.grant_id).where(SmtpSettings.grant_id.is_not(None), _IS_IN_USE)
    grants.end_unused(in_use, before=now - _UNUSED_KEPT, now=now)
    db.session.commit()
