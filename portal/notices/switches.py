"""Switching an account's automated emails on and off."""

from __future__ import annotations

from ..db import db
from .catalogue import Notice
from .models import NoticeSwitch


def is_on(account_id: int, notice: Notice) -> bool:
    """Whether the account sends this notice; it does unless it was switched off."""
    row = db.session.get(NoticeSwitch, (account_id, notice.kind))
    return row is None or row.enabled


def switch(account_id: int, notice: Notice, *, on: bool) -> None:
    """Switch a notice. Commits."""
    row = db.session.get(NoticeSwitch, (account_id, notice.kind))
    row = row or NoticeSwitch(account_id=account_id, kind=notice.kind)
    row.enabled = on
    db.session.add(row)
    db.session.commit()
