"""Tokens: made once, kept as a hash, revoked at once, and asked for with every request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select, update

from .. import rate_limit
from ..accounts.models import Account
from ..accounts.tokens import hash_token, new_token
from ..db import db, read_write
from .models import ApiToken

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 20  # living tokens of one account
PREFIX = "sig_"  # so that scanners for lost secrets, and people, know one when they see it
PER_TOKEN = rate_limit.RateLimit("api requests by token", 600, timedelta(minutes=1))
_TOUCH_AFTER = timedelta(minutes=1)
_SHAPE = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII)


class TooManyTokens(Exception):
    """The account has as many tokens as it may have."""


class MadeAlready(Exception):
    """This form has made its token; it was shown then and cannot be shown again."""


class SlowDown(Exception):
    """The token's budget is spent; it is whole again after ``seconds``."""

    def __init__(self, now: datetime) -> None:
        window = int(PER_TOKEN.window.total_seconds())  # windows begin at round moments
        self.seconds = window - int(now.timestamp()) % window
        super().__init__("the budget of a token is spent")


@dataclass(frozen=True)
class Bearer:
    """Who is asking: a living token and its account."""

    token_id: int
    account_id: int


def create(account_id: int, *, name: str, by: str, form_key: str, now: datetime) -> str:
    """Make a token and return it, the only time it is in the clear. Raises MadeAlready or TooManyTokens."""
    # Whoever makes tokens of one account stands in line, or two at once would exceed the bound.
    db.session.execute(select(Account.id).where(Account.id == account_id).with_for_update())
    made = select(ApiToken.id).where(ApiToken.account_id == account_id, ApiToken.form_key == form_key)
    if db.session.scalar(made) is not None:
        db.session.rollback()
        raise MadeAlready
    if living(account_id) >= MOST:
        db.session.rollback()
        raise TooManyTokens
    token = PREFIX + new_token()
    row = ApiToken(account_id=account_id, name=name, token_hash=hash_token(token), form_key=form_key)
    row.created_at, row.created_by = now, by
    db.session.add(row)
    db.session.commit()
    return token


def revoke(account_id: int, token_id: int, *, by: str, now: datetime) -> str | None:
    """End a token at once; return its name, or None where the account has no such living token."""
    row = db.session.scalar(
        select(ApiToken).where(
            ApiToken.id == token_id, ApiToken.account_id == account_id, ApiToken.revoked_at.is_(None)
        )
    )
    if row is None:
        return None
    row.revoked_at, row.revoked_by = now, by
    name = row.name
    db.session.commit()
    return name


def all_of(account_id: int, *, revoked: int = 20) -> Sequence[ApiToken]:
    """Return the living tokens, the newest first, and after them the last few that were revoked."""
    query = select(ApiToken).where(ApiToken.account_id == account_id)
    alive = query.where(ApiToken.revoked_at.is_(None)).order_by(ApiToken.id.desc())
    dead = query.where(ApiToken.revoked_at.is_not(None)).order_by(
        ApiToken.revoked_at.desc(), ApiToken.id.desc()
    )
    return [*db.session.scalars(alive), *db.session.scalars(dead.limit(revoked))]


def living(account_id: int) -> int:
    """Return how many tokens of the account are valid."""
    query = select(func.count()).where(ApiToken.account_id == account_id, ApiToken.revoked_at.is_(None))
    return db.session.scalar(query) or 0


def admit(header: str, *, now: datetime) -> Bearer | None:
    """Return who sent this Authorization header, or None. Counts the request and notes that the token is used.

    The token is looked up by its hash, so comparing takes as long whatever was guessed. Raises SlowDown.
    """
    scheme, _, secret = header.strip().partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not _SHAPE.fullmatch(secret):
        return None
    row = db.session.execute(
        select(ApiToken.id, ApiToken.account_id).where(
            ApiToken.token_hash == hash_token(secret), ApiToken.revoked_at.is_(None)
        )
    ).one_or_none()
    db.session.commit()
    if row is None:
        return None
    if not _count(row.id, now):
        raise SlowDown(now)
    return Bearer(row.id, row.account_id)


def _count(token_id: int, now: datetime) -> bool:
    """Count a request, even one that only reads; when a token was used is written once a minute at most."""
    with read_write():
        allowed = rate_limit.consume(PER_TOKEN, token_id, now=now)
        stale = or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at <= now - _TOUCH_AFTER)
        db.session.execute(update(ApiToken).where(ApiToken.id == token_id, stale).values(last_used_at=now))
        db.session.commit()
    return allowed
