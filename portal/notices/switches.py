"""Switching an account's automated emails on and off."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError

from ..db import db
from .catalogue import Notice
from .models import NoticeSwitch


def is_on(account_id: int, notice: Notice) -> bool:
    """Whether the account sends this notice; it does unless it was switched off."""
    row = db.session.get(NoticeSwitch, (account_id, notice.kind))
    return row is None or row.enabled


def switch(account_id: int, notice: Notice, *, on: bool) -> None:
    """Switch a notice. Commits."""
    key = (account_id, notice.kind)
    row = db.session.get(NoticeSwitch, key) or _made(*key)
    row.enabled = on
    db.session.commit()


def _made(account_id: int, kind: str) -> NoticeSwitch:
    """Make the row on first use; of two clicks at once, the second finds the first one's."""
    try:
        with db.session.begin_nested():
            db.session.add(NoticeSwitch(account_id=account_id, kind=kind, enabled=True))
    except IntegrityError:
        pass  # only the row matters, whoever made it
    return db.session.get_one(NoticeSwitch, (account_id, kind))
