"""Emails about the few actions that people should know at once. They leave by the portal's own sender.

A person gets ten of them a day; without a mail server of the portal there are none. The page *Activity* has all in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ... import recipient_limits
from ...clock import utcnow
from ...db import db
from ...outbox.queue import enqueue_row
from ...state import current_config
from ...web.translations import speaking_to
from ..models import Account, Membership, Owner
from ..team.rights import Role
from ..tokens import hash_token, new_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...outbox.queue import NewMessage


def warn_owners(account_id: int, make: Callable[[str, str, str, str], NewMessage]) -> None:
    """Email each owner of an account. The caller commits.

    ``make`` takes a mailbox, a key, the programme as emails may name it, and the address of the page *Activity*.
    """
    query = select(Owner).join(Membership, Membership.owner_id == Owner.id)
    owners = query.where(Membership.account_id == account_id, Membership.role == Role.OWNER)
    programme, page = _named(account_id), f"{current_config().base_url}/activity"
    for owner in db.session.scalars(owners.order_by(Owner.id)).all():
        _enqueue(owner, lambda mailbox, key: make(mailbox, key, programme, page))


def warn_member(owner_id: int, account_id: int, make: Callable[[str, str, str], NewMessage]) -> None:
    """Email a person about their place in a team. The caller commits. ``make`` takes a mailbox, a key and the programme."""
    programme = _named(account_id)
    owner = db.session.get_one(Owner, owner_id)
    _enqueue(owner, lambda mailbox, key: make(mailbox, key, programme))


def warn_person(owner: Owner, make: Callable[[str, str, str], NewMessage]) -> None:
    """Email a person about their log-in. The caller commits. ``make`` takes a mailbox, a key and the page for a new password."""
    page = f"{current_config().base_url}/forgot-password"
    _enqueue(owner, lambda mailbox, key: make(mailbox, key, page))


def _named(account_id: int) -> str:
    """Return the name of a programme; empty where no operator has approved it, because it is a visitor's text then."""
    account = db.session.get_one(Account, account_id)
    return account.name if account.approved_at is not None else ""


def _enqueue(owner: Owner, make: Callable[[str, str], NewMessage]) -> None:
    now = utcnow()
    if not current_config().platform.server:
        return
    if recipient_limits.consume(recipient_limits.SECURITY_NOTICES, owner.mailbox_key, now=now):
        with speaking_to(owner.language):
            mail = make(owner.mailbox, hash_token(new_token()))
        enqueue_row(None, mail, now=now)
