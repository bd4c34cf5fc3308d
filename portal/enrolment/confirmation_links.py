"""Links in emails that act for one affiliate: confirm a sign-up or a new address, or join after an invitation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

from sqlalchemy import bindparam, insert, select

from ..accounts.models import Account
from ..accounts.standing import is_limited
from ..accounts.tokens import hash_token, new_token
from ..affiliates.models import ActionToken, Affiliate, TokenPurpose
from ..affiliates.suppressions import is_suppressed
from ..db import db
from ..db.prepared import PreparedStatement
from ..notices import branding, rendering, texts
from ..notices.catalogue import CONFIRM_SIGN_UP
from ..outbox.queue import enqueue, own_server_key
from ..state import current_config

VALID_FOR = {
    TokenPurpose.CONFIRM: timedelta(days=7),
    TokenPurpose.JOIN: timedelta(days=30),
    TokenPurpose.MAILBOX: timedelta(days=7),
}
_PATHS = {
    TokenPurpose.CONFIRM: "confirm-sign-up",
    TokenPurpose.JOIN: "invitation",
    TokenPurpose.MAILBOX: "confirm-address",
}
_PLACEHOLDER_TOKEN = new_token()  # replaces the token in a rendered text that is cached
# Prepared, because a sign-up runs it in a raw transaction (see signup.py).
_INSERT_TOKEN = PreparedStatement(
    insert(ActionToken).values(
        token_hash=bindparam("hash"),
        affiliate_id=bindparam("affiliate"),
        purpose=TokenPurpose.CONFIRM,
        message_id=bindparam("message"),
        created_at=bindparam("now"),
    )
)


@dataclass(frozen=True)
class TokenMatch:
    """The row of a token with its affiliate and account. An expired token does nothing but is recognized."""

    token: ActionToken
    affiliate: Affiliate
    account: Account
    expired: bool


def create_link(affiliate: Affiliate, purpose: TokenPurpose, *, now: datetime) -> tuple[ActionToken, str]:
    """Return the row of a new token and its address. Only the address contains the token. The caller commits."""
    token = new_token()
    row = ActionToken(
        token_hash=hash_token(token), affiliate_id=affiliate.id, purpose=purpose, created_at=now
    )
    db.session.add(row)
    return row, token_url(purpose, token)


def find_token(token: str, purpose: TokenPurpose, *, now: datetime, lock: bool = False) -> TokenMatch | None:
    """Return what a token belongs to, used or not. ``lock`` locks the row of the affiliate."""
    query = (
        select(ActionToken, Affiliate, Account)
        .join(Affiliate, Affiliate.id == ActionToken.affiliate_id)
        .join(Account, Account.id == Affiliate.account_id)
        .where(ActionToken.token_hash == hash_token(token), ActionToken.purpose == purpose)
    )
    if lock:
        query = query.with_for_update(of=Affiliate).execution_options(populate_existing=True)
    row = db.session.execute(query).first()
    if row is None:
        return None
    return TokenMatch(row[0], row[1], row[2], row[0].created_at <= now - VALID_FOR[purpose])


@dataclass(frozen=True)
class ConfirmationEmail:
    """A rendered confirmation that is not queued yet. Only the hash of its token is stored."""

    token_hash: str
    mail: rendering.RenderedEmail
    own_server_only: bool = False

    @property
    def key(self) -> str:
        key = f"{CONFIRM_SIGN_UP.kind}:{self.token_hash[:32]}"
        return own_server_key(key) if self.own_server_only else key


def render_confirmation(account: Account, language: str = "") -> ConfirmationEmail:
    """Render the email that asks to confirm. It contains nothing that a visitor entered. Only reads.

    ``language`` is what the affiliate chose, empty for the programme's.

    It goes to strangers, so for a limited account it does not name the programme, which a visitor has named. For an
    unapproved account with a server of its own, it counts as a text of its own, which the platform's sender refuses.
    """
    limited = is_limited(account)
    style = branding.Branding() if limited else branding.branding_of(account.id)
    return render_confirmation_with(account, style, limited=limited, language=language)


def render_confirmation_with(
    account: Account, style: branding.Branding, *, limited: bool, language: str = ""
) -> ConfirmationEmail:
    """Render as ``render_confirmation``, for a caller that has read the branding, and whether the account is limited."""
    token, approved = new_token(), account.approved_at is not None
    style = branding.Branding() if limited else style
    programme = "" if limited else account.name
    default = texts.default_text(CONFIRM_SIGN_UP, language or account.language)
    text = default if limited else texts.confirmation_text(account, language)
    link = token_url(TokenPurpose.CONFIRM, _PLACEHOLDER_TOKEN)
    try:
        mail = _render(programme, style, link, text, text.language)
    except (
        rendering.UnrenderableText
    ):  # such as after a change of the programme's name; the visitor waits for the email
        mail = _render(programme, style, link, default, default.language)
    plain, html = (part.replace(_PLACEHOLDER_TOKEN, token) for part in (mail.text, mail.html))
    is_custom = mail.is_custom or not (limited or approved)
    return ConfirmationEmail(hash_token(token), replace(mail, text=plain, html=html, is_custom=is_custom))


def enqueue_confirmation(confirmation: ConfirmationEmail, affiliate: Affiliate, *, now: datetime) -> None:
    """Store the token and queue the email, unless the mailbox is suppressed. The caller commits."""
    message_id = None
    if not is_suppressed(affiliate.account_id, affiliate.mailbox, CONFIRM_SIGN_UP.category):
        new = confirmation.mail.to(affiliate.mailbox, kind=CONFIRM_SIGN_UP.kind, key=confirmation.key)
        message_id = enqueue(affiliate.account_id, new, now=now)
    _INSERT_TOKEN.rowcount(hash=confirmation.token_hash, affiliate=affiliate.id, message=message_id, now=now)


@lru_cache(maxsize=256)
def _render(
    programme: str, style: branding.Branding, confirm_link: str, text: texts.Text, _language: str
) -> rendering.RenderedEmail:
    """Render the email once per programme and text, since only the token differs. Texts of two languages can be equal."""
    values = {"programme": programme, "confirm_link": confirm_link}
    return rendering.render_with(CONFIRM_SIGN_UP, programme, values, text, style)


def token_url(purpose: TokenPurpose, token: str) -> str:
    """Return the address of the page that asks before a token does anything."""
    return f"{current_config().base_url}/{_PATHS[purpose]}/{token}"
