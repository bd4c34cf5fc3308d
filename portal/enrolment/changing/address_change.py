"""A new email address of an affiliate: asked for by the owner or the shop, in force once its reader confirms it.

Until then every email goes to the present address, which gets a notice. The new address gets one email with a link, so
the limits of invitations apply.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from ... import audit, rate_limit, recipient_limits
from ...accounts.standing import is_limited
from ...accounts.tokens import hash_token, new_token
from ...affiliates import cancel_pending, directory, suppressions
from ...affiliates.models import ActionToken, Affiliate, AffiliateState, SuppressionReason, TokenPurpose
from ...affiliates.search_text import search_text
from ...db import db
from ...events import pace
from ...events.models import EventMail
from ...notices import branding, rendering
from ...notices.catalogue import CATALOGUE, Audience, Notice
from ...notices.texts import default_text
from ...outbox.queue import enqueue, redirect_pending
from ...smtp.mailbox import parse_mailbox
from .. import confirmation_links, signup
from ..signup_rules import get_rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...accounts.models import Account

PER_ACCOUNT = rate_limit.RateLimit("address changes", 200, timedelta(days=1))
_CONFIRM = CATALOGUE["confirm-new-address"]
_NOTICE = CATALOGUE["address-changing"]
_PLACEHOLDER_TOKEN = new_token()  # replaces the token in a rendered text that is cached
# A person who asked for no email, or called one spam, is the same person at the new address.
_FOLLOWS = (SuppressionReason.UNSUBSCRIBED, SuppressionReason.COMPLAINED, SuppressionReason.BY_OWNER)


class InvalidChange(Exception):
    """A change that is refused. ``by_field`` holds a sentence for each field at fault."""

    def __init__(self, by_field: dict[str, str]) -> None:
        super().__init__("; ".join(by_field.values()))
        self.by_field = by_field


class AddressChangeLimit(Exception):
    """The account has asked too many addresses today, or one of both addresses got too many emails."""


class AddressTaken(Exception):
    """Another affiliate has taken the new address since it was requested."""


def ask(account: Account, affiliate: Affiliate, mailbox: str, *, now: datetime) -> bool:
    """Ask the reader of a new address to confirm it; return False if it is the present one. The caller commits.

    Raises:
        InvalidChange: The address cannot be asked.
        AddressChangeLimit: A limit is exceeded; the attempt is counted, so this commits and drops the other changes.
    """
    new = str(parse_mailbox(mailbox))
    if new.casefold() == affiliate.mailbox_key:
        return False
    why = _why_refused(account, affiliate, new)
    if why:
        raise InvalidChange({"mailbox": why})
    if not _consume_limits(account, affiliate, new.casefold(), now):
        db.session.rollback()  # drops the other changes
        _consume_limits(account, affiliate, new.casefold(), now)
        db.session.commit()
        raise AddressChangeLimit
    withdraw(affiliate, now=now)
    token = new_token()
    row = ActionToken(affiliate_id=affiliate.id, purpose=TokenPurpose.MAILBOX, mailbox=new, created_at=now)
    row.token_hash = hash_token(token)
    style = branding.branding_of(account.id)
    mail = _render(
        _CONFIRM,
        (account.name, affiliate.language or account.language),
        style,
        confirmation_links.token_url(TokenPurpose.MAILBOX, _PLACEHOLDER_TOKEN),
    )
    text, html = (part.replace(_PLACEHOLDER_TOKEN, token) for part in (mail.text, mail.html))
    mail = replace(mail, text=text, html=html)
    key = row.token_hash[:32]
    row.message_id = enqueue(
        account.id, mail.to(new, kind=_CONFIRM.kind, key=f"{_CONFIRM.kind}:{key}"), now=now
    )
    db.session.add(row)
    _notify_present_address(account, affiliate, key, now)
    return True


def pending(affiliate_id: int, *, now: datetime) -> ActionToken | None:
    """Return the token of a new address that waits for its confirmation."""
    query = select(ActionToken).where(
        ActionToken.affiliate_id == affiliate_id,
        ActionToken.purpose == TokenPurpose.MAILBOX,
        ActionToken.used_at.is_(None),
        ActionToken.created_at > now - confirmation_links.VALID_FOR[TokenPurpose.MAILBOX],
    )
    return db.session.scalars(query.order_by(ActionToken.id.desc()).limit(1)).first()


def pending_addresses(affiliate_ids: Sequence[int], *, now: datetime) -> Mapping[int, str]:
    """Return the new addresses that wait for their confirmation, by affiliate id."""
    query = select(ActionToken.affiliate_id, ActionToken.mailbox).where(
        ActionToken.affiliate_id.in_(affiliate_ids),
        ActionToken.purpose == TokenPurpose.MAILBOX,
        ActionToken.used_at.is_(None),
        ActionToken.created_at > now - confirmation_links.VALID_FOR[TokenPurpose.MAILBOX],
    )
    return {id_: mailbox for id_, mailbox in db.session.execute(query.order_by(ActionToken.id)) if mailbox}


def withdraw(affiliate: Affiliate, *, now: datetime) -> None:
    """Make the links that ask to confirm a new address of this affiliate invalid. The caller commits.

    An email with such a link that still waits is cancelled. The row stays, so that an erasure finds the address.
    """
    query = select(ActionToken).where(
        ActionToken.affiliate_id == affiliate.id,
        ActionToken.purpose == TokenPurpose.MAILBOX,
        ActionToken.used_at.is_(None),
    )
    for row in db.session.scalars(query).all():
        row.purpose = TokenPurpose.WITHDRAWN
        if row.mailbox is not None:
            cancel_pending.for_withdrawn(affiliate.account_id, row.mailbox, _CONFIRM.kind, now=now)


def keep_present(affiliate: Affiliate, *, now: datetime) -> None:
    """Withdraw a new address that waits for its confirmation. Commits."""
    withdraw(affiliate, now=now)
    target = audit.AuditTarget("affiliate", affiliate.id)
    audit.record(audit.Activity.AFFILIATE_ADDRESS_KEPT, affiliate.account_id, target=target)
    db.session.commit()


def confirm(token: str, network: str, *, now: datetime) -> confirmation_links.TokenMatch | None:
    """Put a new address in force; a second time changes nothing. None for an unknown token. Commits.

    An affiliate who had not confirmed the sign-up confirms it with the new address.

    Raises:
        signup.LinkExpired: The link is too old and was not used.
        AddressTaken: Another affiliate has the address now.
    """
    found = confirmation_links.find_token(token, TokenPurpose.MAILBOX, now=now, lock=True)
    if found is None or found.token.used_at is not None or found.token.mailbox is None:
        db.session.rollback()
        return found
    if found.expired:
        db.session.rollback()
        raise signup.LinkExpired
    affiliate, new, former = found.affiliate, found.token.mailbox, found.affiliate.mailbox
    if directory.find_by_mailbox(affiliate.account_id, new.casefold()) is not None:
        db.session.rollback()
        raise AddressTaken
    _follow_suppression(affiliate, new, now)
    affiliate.mailbox, affiliate.mailbox_key = new, new.casefold()
    affiliate.search_text = search_text(affiliate.name, new, affiliate.code, affiliate.external_id)
    affiliate.confirmed_at = found.token.used_at = now
    affiliate.confirmed_network = network
    try:
        db.session.flush()
    except IntegrityError:  # given to another affiliate at this moment
        db.session.rollback()
        raise AddressTaken from None
    pace.follow_address(affiliate, former)
    _redirect_waiting(affiliate, former, now)
    db.session.add(_former_address(affiliate, former, now))
    if affiliate.state is AffiliateState.UNCONFIRMED:
        signup.start(affiliate, approved=get_rules(affiliate.account_id).auto_approve, now=now)
        db.session.flush()
        signup.record_start(found.account, affiliate, now)
    withdraw(affiliate, now=now)
    db.session.commit()
    return found


def _former_address(affiliate: Affiliate, former: str, now: datetime) -> ActionToken:
    """Return the row by which an erasure finds the former address, whose emails may name the present one by now."""
    row = ActionToken(affiliate_id=affiliate.id, purpose=TokenPurpose.FORMER, mailbox=former, created_at=now)
    row.token_hash, row.used_at = hash_token(new_token()), now
    return row


def _redirect_waiting(affiliate: Affiliate, former: str, now: datetime) -> None:
    """Send the emails that wait for the former address to the present one, except the notice about the change.

    The present address may have been suppressed since it was asked.
    """
    kinds = [
        notice.kind
        for notice in CATALOGUE.values()
        if notice.audience is Audience.AFFILIATE and notice.kind != _NOTICE.kind
    ]
    message_ids = redirect_pending(affiliate.account_id, former, affiliate.mailbox, kinds)
    mails = update(EventMail).where(EventMail.message_id.in_(message_ids), EventMail.recipient == former)
    moved = mails.values(recipient=affiliate.mailbox)
    db.session.execute(moved.execution_options(synchronize_session=False))
    suppression = suppressions.find_suppression(affiliate.account_id, affiliate.mailbox)
    if suppression is not None:
        cancel_pending.for_suppressed(affiliate.account_id, affiliate.mailbox, suppression.reason, now=now)


def _why_refused(account: Account, affiliate: Affiliate, new: str) -> str:
    if is_limited(account):
        return str(
            _("Your account is not approved yet, so no email asks for a confirmation of this address.")
        )
    if affiliate.state is AffiliateState.INVITED:
        return str(_("This person has not joined yet. Invite the new address instead."))
    if directory.find_by_mailbox(account.id, new.casefold()) is not None:
        return str(_("Another affiliate has this address."))
    if suppressions.find_suppression(account.id, new) is not None:
        return str(_("This address is on your list of blocked addresses."))
    return ""


def _consume_limits(account: Account, affiliate: Affiliate, key: str, now: datetime) -> bool:
    allowed = rate_limit.consume(PER_ACCOUNT, account.id, now=now)
    allowed = allowed and recipient_limits.consume(recipient_limits.INVITATIONS, key, now=now)
    return allowed and recipient_limits.consume(
        recipient_limits.ADDRESS_NOTICES, affiliate.mailbox_key, now=now
    )


def _notify_present_address(account: Account, affiliate: Affiliate, key: str, now: datetime) -> None:
    """Send a notice to the present address if it is confirmed and not suppressed."""
    is_confirmed = affiliate.state is not AffiliateState.UNCONFIRMED
    if is_confirmed and not suppressions.is_suppressed(account.id, affiliate.mailbox, _NOTICE.category):
        words = (account.name, affiliate.language or account.language)
        mail = _render(_NOTICE, words, branding.branding_of(account.id), "")
        new = mail.to(affiliate.mailbox, affiliate.name, kind=_NOTICE.kind, key=f"{_NOTICE.kind}:{key}")
        enqueue(account.id, new, now=now)


def _follow_suppression(affiliate: Affiliate, new: str, now: datetime) -> None:
    row = suppressions.find_suppression(affiliate.account_id, affiliate.mailbox)
    if row is not None and row.reason in _FOLLOWS:
        suppressions.suppress(affiliate.account_id, new, row.reason, note=row.note, now=now)
    elif row is not None and row.was_unsubscribed:  # before the former address bounced
        suppressions.suppress(affiliate.account_id, new, SuppressionReason.UNSUBSCRIBED, now=now)


@lru_cache(maxsize=256)
def _render(
    notice: Notice, account_words: tuple[str, str], style: branding.Branding, link: str
) -> rendering.RenderedEmail:
    """Render an email once per name and language of a programme: owners cannot edit its text, and only the token differs."""
    programme, language = account_words
    values = {"programme": programme, **({"confirm_link": link} if link else {})}
    return rendering.render_with(notice, programme, values, default_text(notice, language), style)
