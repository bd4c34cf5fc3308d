"""API tokens: shown once, stored as a hash, revocable at once, with an optional end, required by every request."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, NotRequired, TypedDict

from sqlalchemy import BindParameter, ColumnElement, and_, bindparam, func, or_, select, update

from .. import audit, rate_limit
from ..accounts import emails
from ..accounts.activity.warnings import warn_owners
from ..accounts.models import Account, Membership
from ..accounts.tokens import hash_token, new_token
from ..db import db, group_commit, read_write
from ..db.prepared import PreparedStatement
from ..db.transaction import separate_reads
from ..security_log import SecurityEvent, record
from .models import ApiToken, TokenScope

if TYPE_CHECKING:
    from typing import Unpack

MAX_TOKENS = 20  # active tokens of one account
PREFIX = "sig_"  # makes tokens recognisable to people and to scanners for leaked secrets
UNUSED_AFTER = timedelta(days=90)  # without a request, a token is shown as unused
_ENDED_SHOWN = 20
REQUEST_LIMIT = rate_limit.RateLimit("api requests by token", 600, timedelta(minutes=1))
_LAST_USED_INTERVAL = timedelta(minutes=1)
_TOKEN_PATTERN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII)


class TooManyTokens(Exception):
    """The account has MAX_TOKENS active tokens."""


class AlreadyCreated(Exception):
    """This form has created its token already; it was shown then and cannot be shown again."""


class RateLimited(Exception):
    """The token's rate limit is exceeded; the next request is allowed after ``wait``."""

    def __init__(self, wait: timedelta) -> None:
        self.seconds = max(1, math.ceil(wait.total_seconds()))
        super().__init__("rate limit of the token exceeded")


@dataclass(frozen=True)
class Bearer:
    """The authenticated sender of a request: an active token and its account."""

    token_id: int
    account_id: int
    scope: TokenScope
    name: str


class NewToken(TypedDict):
    """What a token is created with: its name, who creates it, the key of the form, its scope (EVENTS) and its end (none)."""

    name: str
    by: str
    by_id: NotRequired[int]
    form_key: str
    scope: NotRequired[TokenScope]
    expires_at: NotRequired[datetime | None]


class TokenState(StrEnum):
    """Whether a token works."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True)
class ListedToken:
    """A token for the page *API*. ``is_unused``: it works, and no request used it for UNUSED_AFTER."""

    row: ApiToken
    state: TokenState
    is_unused: bool
    maker_left: bool  # its maker does not belong to the account any more


def create(account_id: int, *, now: datetime, **new: Unpack[NewToken]) -> str:
    """Create a token and return it; only its hash is stored. Commits. Raises AlreadyCreated or TooManyTokens."""
    # The row lock serialises the creation of tokens of one account, so that two at once cannot exceed MAX_TOKENS. It lets
    # rows that refer to the account be added: a log-in adds its session after it has counted its email, as this does.
    locked = select(Account.id).where(Account.id == account_id).with_for_update(key_share=True)
    db.session.execute(locked)
    same_form = select(ApiToken.id).where(
        ApiToken.account_id == account_id, ApiToken.form_key == new["form_key"]
    )
    if db.session.scalar(same_form) is not None:
        db.session.rollback()
        raise AlreadyCreated
    if count_active(account_id, now) >= MAX_TOKENS:
        db.session.rollback()
        raise TooManyTokens
    token = PREFIX + new_token()
    row = ApiToken(account_id=account_id, token_hash=hash_token(token), created_at=now)
    row.name, row.created_by, row.form_key = new["name"], new["by"], new["form_key"]
    row.created_by_id, row.expires_at = new.get("by_id"), new.get("expires_at")
    row.scope = new.get("scope", TokenScope.EVENTS)
    db.session.add(row)
    db.session.flush()
    token_id = row.id
    target = audit.AuditTarget("token", token_id, row.name)
    audit.record(
        audit.Activity.TOKEN_CREATED,
        account_id,
        target=target,
        after={"scope": row.scope.value, "ends": row.expires_at},
    )
    warn_owners(account_id, partial(emails.token_created, scope=row.scope.value))
    db.session.commit()
    record(SecurityEvent.TOKEN_CREATED, account=account_id, token=token_id)
    return token


def revoke(account_id: int, token_id: int, *, by: str, now: datetime) -> str | None:
    """Revoke a token at once; return its name, or None if the account has no such active token. Commits."""
    row = db.session.scalar(
        select(ApiToken).where(
            ApiToken.id == token_id, ApiToken.account_id == account_id, ApiToken.revoked_at.is_(None)
        )
    )
    if row is None:
        return None
    name = row.name
    _revoke(row, by, now)
    db.session.commit()
    record(SecurityEvent.TOKEN_REVOKED, account=account_id, token=token_id)
    return name


def revoke_made_by(owner_id: int, since: datetime, now: datetime) -> int:
    """Revoke the tokens that a person made since a moment, in all accounts; return their number. The caller commits."""
    made = (ApiToken.created_by_id == owner_id, ApiToken.created_at >= since, ApiToken.revoked_at.is_(None))
    rows = db.session.scalars(select(ApiToken).where(*made)).all()
    for row in rows:
        _revoke(row, row.created_by, now)
        record(SecurityEvent.TOKEN_REVOKED, account=row.account_id, token=row.id)
    return len(rows)


def _revoke(row: ApiToken, by: str, now: datetime) -> None:
    row.revoked_at, row.revoked_by = now, by
    target = audit.AuditTarget("token", row.id, row.name)
    audit.record(audit.Activity.TOKEN_REVOKED, row.account_id, target=target)


def list_tokens(account_id: int, now: datetime) -> list[ListedToken]:
    """Return the active tokens, newest first, then the newest of those that were revoked or have ended."""
    is_member = and_(
        Membership.owner_id == ApiToken.created_by_id, Membership.account_id == ApiToken.account_id
    )
    query = (
        select(ApiToken, ApiToken.created_by_id.is_not(None) & Membership.owner_id.is_(None))
        .outerjoin(Membership, is_member)
        .where(ApiToken.account_id == account_id)
        .order_by(ApiToken.id.desc())
    )
    active = db.session.execute(query.where(_is_active(now)))
    ended = db.session.execute(query.where(~_is_active(now)).limit(_ENDED_SHOWN))
    return [_listed(row, bool(maker_left), now) for row, maker_left in [*active, *ended]]


def _listed(row: ApiToken, maker_left: bool, now: datetime) -> ListedToken:  # noqa: FBT001 - a column
    state = TokenState.ACTIVE
    if row.revoked_at is not None:
        state = TokenState.REVOKED
    elif row.expires_at is not None and row.expires_at <= now:
        state = TokenState.EXPIRED
    is_unused = state is TokenState.ACTIVE and (row.last_used_at or row.created_at) < now - UNUSED_AFTER
    return ListedToken(row, state, is_unused, maker_left)


def count_active(account_id: int, now: datetime) -> int:
    """Return the number of active tokens of the account."""
    query = select(func.count()).where(ApiToken.account_id == account_id, _is_active(now))
    return db.session.scalar(query) or 0


def _is_active(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    not_over = or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > now)
    return and_(ApiToken.revoked_at.is_(None), not_over)


_TABLE = ApiToken.__table__.c
_FIND = PreparedStatement(
    select(_TABLE.id, _TABLE.account_id, _TABLE.scope, _TABLE.name, _TABLE.last_used_at).where(
        _TABLE.token_hash == bindparam("token_hash"),
        _is_active(bindparam("now", type_=_TABLE.expires_at.type)),
    )
)
_NOTE_USE = PreparedStatement(
    update(ApiToken)
    .where(
        _TABLE.id == bindparam("token_id"),
        or_(_TABLE.last_used_at.is_(None), _TABLE.last_used_at <= bindparam("before")),
    )
    .values(last_used_at=bindparam("at"))
)


def authenticate(header: str, *, now: datetime) -> Bearer | None:
    """Return the bearer of this Authorization header, or None. Counts the request and records the use. Commits.

    The token is looked up by its hash, so the response time reveals nothing about a guess. Raises RateLimited.
    """
    scheme, _, secret = header.strip().partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not _TOKEN_PATTERN.fullmatch(secret):
        return None
    with separate_reads():
        row = _FIND.first(token_hash=hash_token(secret), now=now)
    if row is None:
        return None
    *found, last_used_at = row
    bearer = Bearer(*found)
    is_noted = last_used_at is not None and last_used_at > now - _LAST_USED_INTERVAL
    wait = _count_request(bearer.token_id, now, is_noted=is_noted)
    if wait:
        raise RateLimited(wait)
    return bearer


def count_batch(bearer: Bearer, limit: rate_limit.RateLimit, *, now: datetime) -> None:
    """Count a request with many events under a limit of its own. Commits. Raises RateLimited."""
    with read_write():
        wait = rate_limit.consume_or_wait(limit, bearer.token_id, now=now)
        db.session.commit()
    if wait:
        raise RateLimited(wait)


def _count_request(token_id: int, now: datetime, *, is_noted: bool) -> timedelta:
    """Count a request, even a GET; return zero, or the time to wait. Updates ``last_used_at`` at most once a minute."""

    def count() -> timedelta:
        wait = rate_limit.consume_or_wait(REQUEST_LIMIT, token_id, now=now)
        if not is_noted:
            _NOTE_USE.rowcount(token_id=token_id, before=now - _LAST_USED_INTERVAL, at=now)
        return wait

    with read_write():
        return group_commit.run(count, raw=True)
