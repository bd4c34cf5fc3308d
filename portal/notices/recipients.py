"""Switching an account's automated emails on and off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import current_app
from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError

from ..accounts.models import Account, Owner
from ..db import db
from ..db.prepared import PreparedStatement
from . import mailboxes
from .models import NoticeSwitch

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from .catalogue import Notice

_SWITCH, _OWNER = NoticeSwitch.__table__.c, Owner.__table__.c
_ENABLED = PreparedStatement(
    select(_SWITCH.enabled).where(
        _SWITCH.account_id == bindparam("account_id"), _SWITCH.kind == bindparam("kind")
    )
)
_OWNERS = PreparedStatement(
    select(_OWNER.mailbox_key, _OWNER.mailbox, _OWNER.name)
    .where(_OWNER.account_id == bindparam("account_id"))
    .order_by(_OWNER.id)
)


class NoticeLocked(Exception):
    """The notice cannot be switched."""


def is_enabled(account_id: int, notice: Notice) -> bool:
    """Whether the account sends this notice; it does unless it was switched off."""
    if notice.locked:
        return True
    row = _ENABLED.first(account_id=account_id, kind=notice.kind)
    return row is None or bool(row[0])


def set_enabled(account_id: int, notice: Notice, *, on: bool) -> None:
    """Switch a notice. Commits. Raises Fixed."""
    store_enabled(account_id, notice, on=on)
    db.session.commit()


def store_enabled(account_id: int, notice: Notice, *, on: bool) -> None:
    """Switch a notice; as ``switch``, but the caller commits."""
    if notice.locked:
        raise NoticeLocked(notice.kind)
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
    known = {key: (mailbox, name) for key, mailbox, name in _OWNERS.all(account_id=account.id)}
    for key, mailbox in mailboxes.further_addresses(account.id):
        known.setdefault(key, (mailbox, ""))
    return list(known.values())


def register_restrictions(app: Flask, restrictions: Callable[[Account], dict[str, str]]) -> None:
    """Register the function that returns, by mailbox, why a mailbox does not get all notices to the owner."""
    app.extensions["signet.mailbox_restrictions"] = restrictions


def restrictions_of(account: Account) -> dict[str, str]:
    """Return which of the account's mailboxes do not get all notices to the owner, each with the reason."""
    restrictions: Callable[[Account], dict[str, str]] = current_app.extensions["signet.mailbox_restrictions"]
    return restrictions(account)
