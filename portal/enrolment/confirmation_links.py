"""Links in emails that do one thing for one affiliate: confirm a sign-up, or join after an invitation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

from sqlalchemy import bindparam, insert, select

from ..accounts.models import Account
from ..accounts.tokens import hash_token, new_token
from ..affiliates.models import ActionToken, Affiliate, TokenPurpose
from ..affiliates.suppressions import is_suppressed
from ..db import db
from ..db.prepared import PreparedStatement
from ..notices import branding, rendering
from ..notices.catalogue import CONFIRM_SIGN_UP
from ..notices.texts import default_text
from ..outbox.queue import enqueue
from ..state import current_config

VALID_FOR = {TokenPurpose.CONFIRM: timedelta(days=7), TokenPurpose.JOIN: timedelta(days=30)}
_PATHS = {TokenPurpose.CONFIRM: "confirm-sign-up", TokenPurpose.JOIN: "invitation"}
_PLACEHOLDER_TOKEN = new_token()  # where a token will be, in a text that is written before there is one
_LINK = PreparedStatement(
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
    """What a link belongs to. An old link opens nothing, but its holder is told so."""

    token: ActionToken
    affiliate: Affiliate
    account: Account
    expired: bool


def create_link(affiliate: Affiliate, purpose: TokenPurpose, *, now: datetime) -> tuple[ActionToken, str]:
    """Make a link, and return its row and its address; the token is nowhere but in the address."""
    token = new_token()
    row = ActionToken(
        token_hash=hash_token(token), affiliate_id=affiliate.id, purpose=purpose, created_at=now
    )
    db.session.add(row)
    return row, _token_url(purpose, token)


def find_token(token: str, purpose: TokenPurpose, *, now: datetime, lock: bool = False) -> TokenMatch | None:
    """Return what a link belongs to, also when it was used. ``lock`` lets nobody else change the affiliate."""
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
    """An email that asks to confirm: written, and owed to nobody yet. Of its token only the hash is kept."""

    token_hash: str
    mail: rendering.RenderedEmail

    @property
    def key(self) -> str:
        return f"{CONFIRM_SIGN_UP.kind}:{self.token_hash[:32]}"


def render_confirmation(account: Account) -> ConfirmationEmail:
    """Write the email that asks to confirm; it holds nothing that a visitor typed. Only reads."""
    token = new_token()
    mail = _render(
        account.name, branding.branding_of(account.id), _token_url(TokenPurpose.CONFIRM, _PLACEHOLDER_TOKEN)
    )
    text, html = (part.replace(_PLACEHOLDER_TOKEN, token) for part in (mail.text, mail.html))
    return ConfirmationEmail(hash_token(token), replace(mail, text=text, html=html))


def enqueue_confirmation(written: ConfirmationEmail, affiliate: Affiliate, *, now: datetime) -> None:
    """Owe a confirmation that was written to this affiliate. The caller commits."""
    ident = None
    if not is_suppressed(affiliate.account_id, affiliate.mailbox, CONFIRM_SIGN_UP.category):
        new = written.mail.to(affiliate.mailbox, kind=CONFIRM_SIGN_UP.kind, key=written.key)
        ident = enqueue(affiliate.account_id, new, now=now)
    told = {"hash": written.token_hash, "affiliate": affiliate.id, "message": ident, "now": now}
    _LINK.rowcount(**told)


@lru_cache(maxsize=256)
def _render(programme: str, look: branding.Branding, address: str) -> rendering.RenderedEmail:
    """Write it once for everybody who signs up: no owner edits this text, and only the token is another."""
    values, words = {"programme": programme, "confirm_link": address}, default_text(CONFIRM_SIGN_UP)
    return rendering.render_with(CONFIRM_SIGN_UP, programme, values, words, look)


def _token_url(purpose: TokenPurpose, token: str) -> str:
    return f"{current_config().base_url}/{_PATHS[purpose]}/{token}"
