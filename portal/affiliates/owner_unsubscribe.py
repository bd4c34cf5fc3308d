"""Ending the owner's summaries from within one: without log-in, by a signed address that is for one mailbox.

A further mailbox is spared the summaries and hears the rest. The owner's own ends them for the account: its switch
shows it, and turns them on again. The address holds no mailbox, only what tells those of the account apart.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app
from itsdangerous import Signer
from sqlalchemy import select

from ..accounts.models import Account, Owner
from ..db import db
from ..notices import recipients
from ..notices.catalogue import CATALOGUE, Notice
from . import cancel_pending, suppressions
from .models import SuppressionReason

if TYPE_CHECKING:
    from datetime import datetime

    from ..config import Config

_SALT = "notices.unsubscribing"


@dataclass(frozen=True)
class Subscription:
    """What an address ends, and for whom. Nobody is written to any more where ``mailbox`` is empty."""

    account: Account
    notice: Notice
    mailbox: str
    of_owner: bool
    alone: bool  # whether nobody else gets the account's notices to the owner
    ended: bool


def address_of(account: Account, notice: Notice, mailbox: str, config: Config) -> str:
    """Return the address where one POST ends emails of this kind to a mailbox of the owner (RFC 8058)."""
    token = _signed(f"{notice.kind}.{account.id}.{_mark(mailbox)}")
    return f"{config.base_url}/automated-emails/unsubscribe/{token}"


def find(token: str) -> Subscription | None:
    """Return what an address ends, or None if we never gave it out."""
    said = token.rpartition(".")[0]
    # Letter by letter: a signature has spellings that mean the same.
    if not hmac.compare_digest(_signed(said).encode(), token.encode("utf-8", "replace")):
        return None
    kind, account_id, mark = said.split(".")
    notice, account = CATALOGUE.get(kind), db.session.get(Account, int(account_id))
    return _as_it_stands(account, notice, mark) if notice and account else None


def end(token: str, *, now: datetime) -> Subscription | None:
    """End what an address is for; a second time changes nothing. Commits."""
    found = find(token)
    if found is None or found.ended:
        return found
    account_id = found.account.id
    if found.of_owner:
        recipients.store_enabled(account_id, found.notice, enabled=False)
        cancel_pending.for_opted_out(account_id, found.mailbox, [found.notice.kind], now=now)
    else:
        suppressions.suppress(account_id, found.mailbox, SuppressionReason.UNSUBSCRIBED, now=now)
    db.session.commit()
    return find(token)


def restrictions(account: Account) -> dict[str, str]:
    """Return which mailboxes of the notices to the owner do not get all of them, each with the reason."""
    found = {
        mailbox: suppressions.find_suppression(account.id, mailbox)
        for mailbox, _ in recipients.recipients_of(account)
    }
    return {
        mailbox: "Unsubscribed from the weekly summary"
        if row.reason is SuppressionReason.UNSUBSCRIBED
        else "Gets none of them: it is on your list of those not written to"
        for mailbox, row in found.items()
        if row is not None
    }


def _as_it_stands(account: Account, notice: Notice, mark: str) -> Subscription:
    owners = list(db.session.scalars(select(Owner.mailbox).where(Owner.account_id == account.id)))
    everybody = {_mark(one): one for one, _ in recipients.recipients_of(account)}
    mailbox = everybody.get(mark, "")
    off = not recipients.is_enabled(account.id, notice)
    return Subscription(
        account=account,
        notice=notice,
        mailbox=mailbox,
        of_owner=mailbox in owners,
        alone=len(everybody) < 2,
        ended=off or not mailbox or suppressions.is_suppressed(account.id, mailbox, notice.category),
    )


def _mark(mailbox: str) -> str:
    return hashlib.sha256(mailbox.casefold().encode("utf-8", "replace")).hexdigest()[:16]


def _signed(said: str) -> str:
    signer = Signer(str(current_app.config["SECRET_KEY"]), salt=_SALT, digest_method=hashlib.sha256)
    return signer.sign(said.encode("utf-8", "replace")).decode("utf-8")
