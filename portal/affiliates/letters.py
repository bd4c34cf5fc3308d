"""Links in emails that do one thing for one affiliate: confirm a sign-up, or join after an invitation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from ..accounts.models import Account
from ..accounts.tokens import fingerprint, new_token
from ..config import current_config
from ..db import db
from ..notices import rendering
from ..notices.catalogue import CONFIRM_SIGN_UP
from ..outbox.queue import enqueue
from .models import Affiliate, AffiliateLink, Purpose
from .suppressions import is_suppressed

VALID_FOR = {Purpose.CONFIRM: timedelta(days=7), Purpose.JOIN: timedelta(days=30)}
_PATHS = {Purpose.CONFIRM: "confirm-sign-up", Purpose.JOIN: "invitation"}


@dataclass(frozen=True)
class Found:
    """What a link belongs to. An old link opens nothing, but its holder is told so."""

    link: AffiliateLink
    affiliate: Affiliate
    account: Account
    too_old: bool


def new_link(affiliate: Affiliate, purpose: Purpose, *, now: datetime) -> tuple[AffiliateLink, str]:
    """Make a link, and return its row and its address; the token is nowhere but in the address."""
    token = new_token()
    row = AffiliateLink(
        token_hash=fingerprint(token), affiliate_id=affiliate.id, purpose=purpose, created_at=now
    )
    db.session.add(row)
    return row, f"{current_config().base_url}/{_PATHS[purpose]}/{token}"


def find(token: str, purpose: Purpose, *, now: datetime, lock: bool = False) -> Found | None:
    """Return what a link belongs to, also when it was used. ``lock`` lets nobody else change the affiliate."""
    query = (
        select(AffiliateLink, Affiliate, Account)
        .join(Affiliate, Affiliate.id == AffiliateLink.affiliate_id)
        .join(Account, Account.id == Affiliate.account_id)
        .where(AffiliateLink.token_hash == fingerprint(token), AffiliateLink.purpose == purpose)
    )
    if lock:
        query = query.with_for_update(of=Affiliate).execution_options(populate_existing=True)
    row = db.session.execute(query).first()
    if row is None:
        return None
    return Found(row[0], row[1], row[2], row[0].created_at <= now - VALID_FOR[purpose])


def ask_to_confirm(affiliate: Affiliate, account: Account, *, now: datetime) -> None:
    """Owe the confirmation email; it holds nothing that the visitor typed. The caller commits."""
    row, address = new_link(affiliate, Purpose.CONFIRM, now=now)
    if is_suppressed(account.id, affiliate.mailbox, CONFIRM_SIGN_UP.category):
        return
    mail = rendering.render(CONFIRM_SIGN_UP, account, {"programme": account.name, "confirm_link": address})
    key = f"{CONFIRM_SIGN_UP.kind}:{row.token_hash[:32]}"
    message = enqueue(account.id, mail.to(affiliate.mailbox, kind=CONFIRM_SIGN_UP.kind, key=key), now=now)
    row.message_id = message.id if message else None
