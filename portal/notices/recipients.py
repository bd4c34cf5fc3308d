"""Which notices an account sends, and the recipients of the notices to its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, bindparam, select
from sqlalchemy.exc import IntegrityError

from .. import audit
from ..accounts.models import Account, Owner
from ..db import db
from ..db.prepared import PreparedStatement
from ..languages import ENGLISH
from ..state import get_state
from .models import NoticeMailbox, NoticeSwitch

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from .catalogue import Notice

_SWITCH, _MAILBOX = NoticeSwitch.__table__.c, NoticeMailbox.__table__.c
_OWNER, _ACCOUNT = Owner.__table__.c, Account.__table__.c
_ENABLED = PreparedStatement(
    select(_SWITCH.enabled).where(
        _SWITCH.account_id == bindparam("account_id"), _SWITCH.kind == bindparam("kind")
    )
)
# A row for each further mailbox, at least one; each begins with the contact, or with None.
_CONTACT_AND_FURTHER = PreparedStatement(
    select(
        _OWNER.mailbox_key,
        _OWNER.mailbox,
        _OWNER.name,
        _OWNER.language,
        _OWNER.confirmed_at,
        _MAILBOX.mailbox_key.label("further_key"),
        _MAILBOX.mailbox.label("further"),
    )
    .select_from(Account.__table__)
    .outerjoin(Owner.__table__, _OWNER.id == _ACCOUNT.contact_id)
    .outerjoin(
        NoticeMailbox.__table__,
        and_(_MAILBOX.account_id == _ACCOUNT.id, _MAILBOX.confirmed_at.is_not(None)),
    )
    .where(_ACCOUNT.id == bindparam("account_id"))
    .order_by(_MAILBOX.id)
)


class Recipient(NamedTuple):
    """A recipient of the notices to the owner. ``language``: the code of a language of the portal."""

    mailbox: str
    name: str
    language: str


class NoticeLocked(Exception):
    """The notice cannot be switched off."""


# -- enabled notices


def is_enabled(account_id: int, notice: Notice) -> bool:
    """Return whether the account sends this notice: yes, unless it was switched off."""
    if notice.always_on:
        return True
    row = _ENABLED.first(account_id=account_id, kind=notice.kind)
    return row is None or bool(row[0])


def set_enabled(account_id: int, notice: Notice, *, enabled: bool) -> None:
    """Switch a notice on or off. Commits. Raises NoticeLocked."""
    before = {"on": is_enabled(account_id, notice)}
    store_enabled(account_id, notice, enabled=enabled)
    target = audit.AuditTarget("notice", name=notice.name)
    audit.record(
        audit.Activity.NOTICE_SWITCHED, account_id, target=target, before=before, after={"on": enabled}
    )
    db.session.commit()


def store_enabled(account_id: int, notice: Notice, *, enabled: bool) -> None:
    """Switch a notice on or off within the caller's transaction. Raises NoticeLocked."""
    if notice.always_on:
        raise NoticeLocked(notice.kind)
    key = (account_id, notice.kind)
    row = db.session.get(NoticeSwitch, key) or _insert_switch(*key)
    row.enabled = enabled


def _insert_switch(account_id: int, kind: str) -> NoticeSwitch:
    """Insert the row on first use, or return the one that a simultaneous request inserted."""
    try:
        with db.session.begin_nested():
            db.session.add(NoticeSwitch(account_id=account_id, kind=kind, enabled=True))
    except IntegrityError:
        pass
    return db.session.get_one(NoticeSwitch, (account_id, kind))


# -- the recipients of notices to the owner


def recipients_of(account: Account, *, confirmed: bool = False) -> list[Recipient]:
    """Return the recipients of the account's notices to the owner, each once.

    These are the account's contact and its further mailboxes, once confirmed, which have the contact's language. ``confirmed``
    leaves out a contact who never proved to read theirs.
    """
    recipients: dict[str, Recipient] = {}
    for key, mailbox, name, language, confirmed_at, *further in _CONTACT_AND_FURTHER.all(
        account_id=account.id
    ):
        if key is not None and (confirmed_at is not None or not confirmed):
            recipients.setdefault(key, Recipient(mailbox, name, language))
        if further[0] is not None:
            recipients.setdefault(further[0], Recipient(further[1], "", language or ENGLISH.code))
    return list(recipients.values())


def owner_language(account: Account) -> str:
    """Return the code of the language of the account's notices to the owner: that of its contact."""
    return next((one.language for one in recipients_of(account)), ENGLISH.code)


# -- mailboxes that do not get all notices; a higher layer stores which


class _RestrictionsRegistry:
    """Holds the registered function, which maps mailboxes to reasons."""

    def __init__(self) -> None:
        self.restrictions: Callable[[Account], dict[str, str]] = lambda _account: {}


def register_restrictions(app: Flask, restrictions: Callable[[Account], dict[str, str]]) -> None:
    """Register the function that returns the restricted mailboxes of an account, each with the reason."""
    get_state(app).part(_RestrictionsRegistry).restrictions = restrictions


def restrictions_of(account: Account) -> dict[str, str]:
    """Return the mailboxes that do not get all notices to the owner, each with the reason."""
    return get_state().part(_RestrictionsRegistry).restrictions(account)
