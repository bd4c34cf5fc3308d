"""Challenges: what waits for a proof for some minutes, with five attempts, and counts once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, delete, select, update

from ...db import db
from ..tokens import hash_token, new_token
from .models import ChallengePurpose, LoginChallenge

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Delete, Update

LIFETIME = timedelta(minutes=5)
MAX_ATTEMPTS = 5


def add(purpose: ChallengePurpose, owner_id: int | None, *, challenge: str = "", now: datetime) -> str:
    """Insert a challenge and return its token. The caller commits."""
    _delete_old(now)
    token = new_token()
    row = LoginChallenge(token_hash=hash_token(token), purpose=purpose, owner_id=owner_id, created_at=now)
    row.challenge, row.attempts = challenge, 0
    db.session.add(row)
    return token


def find(token: str, purpose: ChallengePurpose, *, now: datetime) -> LoginChallenge | None:
    """Return a challenge that still waits."""
    return db.session.scalar(select(LoginChallenge).where(*_is_open(token, purpose, now)))


def count_attempt(token: str, purpose: ChallengePurpose, *, now: datetime) -> bool:
    """Count an attempt before it is checked, so that several at once are not more than allowed; False if there is none left."""
    statement = update(LoginChallenge).where(*_is_open(token, purpose, now))
    return _affects_one(statement.values(attempts=LoginChallenge.attempts + 1))


def use(token: str, purpose: ChallengePurpose) -> bool:
    """Delete a challenge that was met; of two requests only one succeeds. The caller commits."""
    return _affects_one(delete(LoginChallenge).where(*_is(token, purpose)))


def end_all(owner_id: int) -> None:
    """Delete what waits for a proof of this person. The caller commits."""
    db.session.execute(delete(LoginChallenge).where(LoginChallenge.owner_id == owner_id))


def delete_old(now: datetime) -> None:
    """Delete challenges that have ended. Commits."""
    _delete_old(now)
    db.session.commit()


def _delete_old(now: datetime) -> None:
    db.session.execute(delete(LoginChallenge).where(LoginChallenge.created_at <= now - LIFETIME))


def _is(token: str, purpose: ChallengePurpose) -> tuple[ColumnElement[bool], ...]:
    return LoginChallenge.token_hash == hash_token(token), LoginChallenge.purpose == purpose


def _is_open(token: str, purpose: ChallengePurpose, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        *_is(token, purpose),
        LoginChallenge.created_at > now - LIFETIME,
        LoginChallenge.attempts < MAX_ATTEMPTS,
    )


def _affects_one(statement: Update | Delete) -> bool:
    result = db.session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount) == 1  # type: ignore[attr-defined]
