"""Switching an account's automated emails on and off."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ..accounts.models import Account, Owner
from ..db import db
from . import mailboxes
from .catalogue import Notice
from .models import NoticeSwitch


class Fixed(Exception):
    """The notice cannot be switched."""


def is_on(account_id: int, notice: Notice) -> bool:
    """Whether the account sends this notice; it does unless it was switched off."""
    if notice.fixed:
        return True
    row = db.session.get(NoticeSwitch, (account_id, notice.kind))
    return row is None or row.enabled


def switch(account_id: int, notice: Notice, *, on: bool) -> None:
    """Switch a notice. Commits. Raises Fixed."""
    turn(account_id, notice, on=on)
    db.session.commit()


def turn(account_id: int, notice: Notice, *, on: bool) -> None:
    """Switch a notice; as ``switch``, but the caller commits."""
    if notice.fixed:
        raise Fixed(notice.kind)
    key = (account_id, notice.kind)
    row = db.session.get(NoticeSwitch, key) or _made(*key)
    row.enabled = on


def _made(account_id: int, kind: str) -> NoticeSwitch:
    """Make the row on first use; of two clicks at once, the second finds the first one's."""
    try:
        with db.session.begin_nested():
            db.session.add(NoticeSwitch(account_id=account_id, kind=kind, enabled=True))
    except IntegrityError:
        pass  # only the row matters, whoever made it
    return db.session.get_one(NoticeSwitch, (account_id, kind))


def recipients_of(account: Account) -> list[tuple[str, str]]:
    """Return mailbox and display name of everybody who gets the account's notices to the owner, each once."""
    owners = db.session.scalars(select(Owner).where(Owner.account_id == account.id).order_by(Owner.id))
    known = {owner.mailbox_key: (owner.mailbox, owner.name) for owner in owners}
    for one in mailboxes.of(account.id):
        known.setdefault(one.mailbox_key, (one.mailbox, ""))
    return list(known.values())
