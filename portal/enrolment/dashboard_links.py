"""Sends affiliates the address of their private page, or the confirmation, again. No answer discloses which mailboxes are known.

Known and unknown mailboxes take the same way: the same limits are consumed, and an email is rendered for both. It is
queued for a known one only.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import select

from .. import rate_limit, recipient_limits
from ..accounts.models import Account
from ..accounts.standing import AccountState, state_of
from ..affiliates import links, suppressions
from ..affiliates.models import Affiliate, AffiliateState
from ..affiliates.template_values import affiliate_values
from ..db import db
from ..db.transaction import read_snapshot
from ..notices import rendering
from ..notices.catalogue import CATALOGUE
from ..outbox.queue import NewMessage, enqueue
from ..smtp.mailbox import parse_mailbox
from ..state import current_config
from . import confirmation_links, sign_up_brake, signup

if TYPE_CHECKING:
    from ..notices.rendering import RenderedEmail

PER_NETWORK = rate_limit.RateLimit("dashboard-link-network", 20, timedelta(hours=1))
_NOTICE = CATALOGUE["dashboard-link"]
PORTAL_KIND = "dashboard-links"  # the portal's own email about all programmes
_MAX_PROGRAMMES = 20  # in one email
# Those who are invited have no dashboard yet, and a suspended affiliate gets no email.
_WITH_DASHBOARD = (AffiliateState.ACTIVE, AffiliateState.PENDING, AffiliateState.DECLINED)


def send_link(slug: str, mailbox: str, network: str, *, now: datetime, language: str = "") -> Account | None:
    """Send an affiliate of one programme the address of the dashboard, or the confirmation again. Commits.

    The email is in the language that the affiliate chose, else in ``language`` if it is not empty, else in the programme's.

    Returns the programme, or None if no programme has this slug.

    Raises:
        ProgrammeClosed: The account is waiting or suspended.
        TooManySignUps: A rate limit is exceeded; the attempt is counted.
    """
    account = signup.find_open_programme(slug)
    if account is None:
        return None
    unknown = signup.new_affiliate(account, "Ada", mailbox, now)
    known = _find_known(account.id, unknown.mailbox_key)
    is_waiting = known is not None and known.state is AffiliateState.UNCONFIRMED
    language = (known.language if known is not None else "") or language
    confirmation = confirmation_links.render_confirmation(account, language)
    mail = _render(account, known or unknown, language)
    db.session.rollback()  # ends the transaction that reads; a writing one begins

    def write() -> bool:
        allowed = _consume(unknown.mailbox_key, network, now)
        if allowed and known is not None and is_waiting:
            confirmation_links.enqueue_confirmation(confirmation, known, now=now)
        elif allowed and known is not None and _may_be_sent(known):
            key = f"{_NOTICE.kind}:{secrets.token_hex(16)}"
            new = mail.to(known.mailbox, known.name, kind=_NOTICE.kind, key=key)
            enqueue(known.account_id, new, now=now)
        return allowed

    signup.commit_counted(write)
    return account


def resend_confirmation(
    slug: str, mailbox: str, network: str, *, now: datetime, language: str = ""
) -> Account | None:
    """Send the confirmation again if this mailbox is unconfirmed, and nothing otherwise. Commits.

    Returns and raises as ``send_link``.
    """
    with read_snapshot():
        if (account := signup.find_open_programme(slug)) is None:
            return None
        mailbox_key = str(parse_mailbox(mailbox)).casefold()
        confirmation = confirmation_links.render_confirmation(account, language)

    def write() -> bool:
        allowed = signup.consume_rate_limits(account, mailbox_key, network, now)
        return allowed and _confirm_again(account, mailbox_key, confirmation, now)

    try:
        signup.commit_counted(write)
    except signup.TooManySignUps:
        sign_up_brake.note_refusal(account, network, now=now)
        raise
    return account


def send_links(mailbox: str, network: str, *, now: datetime) -> None:
    """Send a person, in one email of the portal's own, the dashboards of all programmes of this portal. Commits.

    Raises:
        TooManySignUps: A rate limit is exceeded; the attempt is counted.
    """
    parsed = str(parse_mailbox(mailbox))
    key = parsed.casefold()
    found = _find_everywhere(key)
    new = NewMessage(
        kind=PORTAL_KIND,
        key=f"{PORTAL_KIND}:{secrets.token_hex(16)}",
        recipient=found[0][0].mailbox if found else parsed,
        subject=_("Your private pages as an affiliate"),
        text=_text_of(found),
    )
    db.session.rollback()  # ends the transaction that reads; a writing one begins

    def write() -> bool:
        allowed = _consume(key, network, now)
        if allowed and found:
            enqueue(None, new, now=now)
        return allowed

    signup.commit_counted(write)


def _consume(mailbox_key: str, network: str, now: datetime) -> bool:
    allowed = rate_limit.consume(PER_NETWORK, network, now=now)
    return allowed and recipient_limits.consume(recipient_limits.BY_STRANGERS, mailbox_key, now=now)


def _confirm_again(
    account: Account, mailbox_key: str, confirmation: confirmation_links.ConfirmationEmail, now: datetime
) -> bool:
    affiliate = signup.lock_known(account.id, mailbox_key)
    if affiliate is not None and affiliate.state is AffiliateState.UNCONFIRMED:
        confirmation_links.enqueue_confirmation(confirmation, affiliate, now=now)
    return True


def _find_known(account_id: int, mailbox_key: str) -> Affiliate | None:
    query = select(Affiliate).where(Affiliate.account_id == account_id, Affiliate.mailbox_key == mailbox_key)
    known = db.session.scalar(query)
    if known is not None:
        db.session.expunge(known)
    return known


def _may_be_sent(affiliate: Affiliate) -> bool:
    return affiliate.state in _WITH_DASHBOARD and not suppressions.is_suppressed(
        affiliate.account_id, affiliate.mailbox, _NOTICE.category
    )


def _render(account: Account, affiliate: Affiliate, language: str) -> RenderedEmail:
    values = {**affiliate_values(affiliate, account, current_config()), "programme": account.name}
    return rendering.render(_NOTICE, account, values, language=language)


def _find_everywhere(mailbox_key: str) -> list[tuple[Affiliate, Account]]:
    """Return the person's affiliates, newest first. The index of an account's mailboxes is read once for each account."""
    query = (
        select(Affiliate, Account)
        .select_from(Account)
        .join(Affiliate, (Affiliate.account_id == Account.id) & (Affiliate.mailbox_key == mailbox_key))
        .where(Affiliate.state.in_(_WITH_DASHBOARD))
        .order_by(Affiliate.id.desc())
        .limit(_MAX_PROGRAMMES)
    )
    rows = [(row[0], row[1]) for row in db.session.execute(query)]
    return [
        (affiliate, account)
        for affiliate, account in rows
        if state_of(account) is AccountState.ACTIVE and _may_be_sent(affiliate)
    ]


def _text_of(found: list[tuple[Affiliate, Account]]) -> str:
    """Return the text of the email in the language of the page. The name of an unapproved account is left out."""
    config, unnamed = current_config(), _("A programme")
    pages = "\n\n".join(
        f"{rendering.clean_line(account.name) if account.approved_at is not None else unnamed}:\n"
        f"{links.dashboard_url(affiliate, config)}"
        for affiliate, account in found
    )
    parts = (
        _("Hello,"),
        _(
            "someone, perhaps you, asked for the private pages of the affiliate with this email address. Here they are:"
        ),
        pages,
        _(
            "Each address opens the page for anyone who has it, so do not pass this email on.\n"
            "If you did not ask for this, you need not do anything."
        ),
        "Signet\n",
    )
    return "\n\n".join(str(part) for part in parts)
