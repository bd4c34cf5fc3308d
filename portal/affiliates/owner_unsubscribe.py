"""Unsubscribe links in the owner's summaries. A link needs no log-in: it is signed and works for one mailbox.

For a further mailbox of the owner the link suppresses summaries only. For the owner's own mailbox it switches the notice
off for the whole account, where the switch shows it and can turn it on again. The link contains no mailbox, only a digest
that identifies one of the account's mailboxes.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app
from flask_babel import gettext
from itsdangerous import Signer

from ..accounts.models import Account
from ..accounts.team.contact import contact_mailbox
from ..db import db
from ..notices import recipients
from ..notices.catalogue import CATALOGUE, Notice
from . import cancel_pending, suppressions
from .models import SuppressionReason, mailbox_digest

if TYPE_CHECKING:
    from datetime import datetime

    from ..config import Config

_SALT = "notices.unsubscribing"  # stays: links in delivered emails are signed with it


@dataclass(frozen=True)
class Subscription:
    """A mailbox's subscription to one notice. ``mailbox`` is empty if the account has removed it."""

    account: Account
    notice: Notice
    mailbox: str
    is_owner: bool
    is_only_recipient: bool  # no other mailbox gets the account's notices to the owner
    ended: bool


def unsubscribe_url(account: Account, notice: Notice, mailbox: str, config: Config) -> str:
    """Return the one-click unsubscribe address for emails of this kind to a mailbox of the owner (RFC 8058)."""
    token = _sign(f"{notice.kind}.{account.id}.{mailbox_digest(mailbox)}")
    return f"{config.base_url}/automated-emails/unsubscribe/{token}"


def find_subscription(token: str) -> Subscription | None:
    """Return the subscription that a link ends, or None if the signature is not valid."""
    signed = token.rpartition(".")[0]
    # Compare the text of the signatures: base64 has several spellings of the same octets.
    if not hmac.compare_digest(_sign(signed).encode(), token.encode("utf-8", "replace")):
        return None
    kind, account_id, digest = signed.split(".")
    notice, account = CATALOGUE.get(kind), db.session.get(Account, int(account_id))
    return _load_subscription(account, notice, digest) if notice and account else None


def unsubscribe(token: str, *, now: datetime) -> Subscription | None:
    """End the subscription of a link; return it. A second time changes nothing. Commits."""
    found = find_subscription(token)
    if found is None or found.ended:
        return found
    account_id = found.account.id
    if found.is_owner:
        recipients.store_enabled(account_id, found.notice, enabled=False)
        cancel_pending.for_opted_out(account_id, found.mailbox, [found.notice.kind], now=now)
    else:
        suppressions.suppress(account_id, found.mailbox, SuppressionReason.UNSUBSCRIBED, now=now)
    db.session.commit()
    return find_subscription(token)


def restrictions(account: Account) -> dict[str, str]:
    """Return the reason why some notices to the owner are not sent, by mailbox, for suppressed mailboxes only."""
    found = {
        mailbox: suppressions.find_suppression(account.id, mailbox)
        for mailbox, *_ in recipients.recipients_of(account)
    }
    return {
        mailbox: gettext("Unsubscribed from the weekly summary")
        if row.reason is SuppressionReason.UNSUBSCRIBED
        else gettext("Gets no emails: it is on your list of blocked addresses")
        for mailbox, row in found.items()
        if row is not None
    }


def _load_subscription(account: Account, notice: Notice, digest: str) -> Subscription:
    contact = contact_mailbox(account.id)
    mailboxes = {mailbox_digest(mailbox): mailbox for mailbox, *_ in recipients.recipients_of(account)}
    mailbox = mailboxes.get(digest, "")
    is_off = not recipients.is_enabled(account.id, notice)
    return Subscription(
        account=account,
        notice=notice,
        mailbox=mailbox,
        is_owner=mailbox == contact,
        is_only_recipient=len(mailboxes) < 2,
        ended=is_off or not mailbox or suppressions.is_suppressed(account.id, mailbox, notice.category),
    )


def _sign(text: str) -> str:
    signer = Signer(str(current_app.config["SECRET_KEY"]), salt=_SALT, digest_method=hashlib.sha256)
    return signer.sign(text.encode("utf-8", "replace")).decode("utf-8")
