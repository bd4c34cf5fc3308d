"""What is posted to an owner's address: owed with what caused it, posted by the worker, tried for a day."""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from .. import rate_limit
from ..about import VERSION
from ..clock import utcnow
from ..db import db, insert
from ..db.lease import is_free
from ..jobs import backoff, notify
from ..state import current_config
from ..vault import SealBroken
from . import policy
from .http_post import NotDelivered, post
from .models import Care, HookDelivery, HookState
from .webhook_signature import HEADER, signature

if TYPE_CHECKING:
    from collections.abc import Mapping

GIVE_UP_AFTER = timedelta(hours=24)
_DELAYS_S = (30, 120, 600, 1800, 3600, 7200, 14400)  # before the 2nd, 3rd ... attempt; then the last
_LEASE = timedelta(minutes=1)
_KEPT = 100  # of an account; the page shows the last twenty
_AT_ONCE = 50  # jobs of one sweep
TESTS = rate_limit.Budget("webhook-test", 10, timedelta(hours=1))


class CannotTest(Exception):
    """No test is sent; the message is a sentence for the page."""


def owe(account_id: int, key: str, event: str, payload: Mapping[str, Any], *, now: datetime) -> None:
    """Owe a POST as part of the present transaction, if the owner wants any. The same key is owed once."""
    if not policy.of(account_id).webhook_enabled:
        return
    body = {"event": event, "id": key, "at": now.isoformat(), **payload}
    values = {
        "account_id": account_id,
        "key": key,
        "event": event,
        "body": json.dumps(body, separators=(",", ":")),
        "state": HookState.WAITING,
        "attempts": 0,
        "problem": "",
        "created_at": now,
        "next_at": now,
    }
    statement = insert(HookDelivery).values(values).on_conflict_do_nothing().returning(HookDelivery.id)
    ident = db.session.execute(statement).scalar_one_or_none()
    if ident is not None:
        notify.push_after_commit("hook", ident)


def send_test(account_id: int, *, now: datetime) -> None:
    """Owe a test. Commits. Raises CannotTest."""
    if not policy.of(account_id).webhook_enabled:
        raise CannotTest("Save an address first.")
    if not rate_limit.spend(TESTS, account_id, now=now):
        db.session.rollback()
        raise CannotTest("Ten tests were sent within an hour. Wait a while.")
    payload = {"sentence": "This is a test of your webhook. Nothing is wrong."}
    owe(account_id, f"test:{secrets.token_hex(8)}", "test", payload, now=now)
    db.session.commit()


def latest(account_id: int, limit: int = 20) -> list[HookDelivery]:
    """Return the last deliveries, the newest first."""
    query = select(HookDelivery).where(HookDelivery.account_id == account_id)
    return list(db.session.scalars(query.order_by(HookDelivery.id.desc()).limit(limit)))


def due(now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of deliveries whose time has come, for the sweep."""
    query = select(HookDelivery.id).where(*_is_due(now)).order_by(HookDelivery.next_at).limit(_AT_ONCE)
    return [("hook", ident) for ident in db.session.scalars(query)]


def deliver(ident: int) -> None:
    """Post one delivery and take down what came of it. Safe to repeat: one worker at a time has it."""
    now = utcnow()
    row, url, secret = _claim(ident, now)
    if row is None:
        return
    body = row.body.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"Signet/{VERSION}",
        "Signet-Event": row.event,
        "Signet-Delivery": row.key,
        HEADER: signature(secret, body, int(now.timestamp())),
    }
    try:
        status = post(url, body, headers, current_config().hooks)
    except NotDelivered as trouble:
        _settle(ident, status=trouble.status, problem=str(trouble))
    else:
        _settle(ident, status=status)


def _is_due(now: datetime) -> tuple[Any, ...]:
    return HookDelivery.state == HookState.WAITING, HookDelivery.next_at <= now, is_free(HookDelivery, now)


def _claim(ident: int, now: datetime) -> tuple[HookDelivery | None, str, str]:
    """Lease a due delivery and open the secret. Commits, so that no transaction waits for a web server."""
    statement = update(HookDelivery).where(HookDelivery.id == ident, *_is_due(now))
    taken = db.session.execute(statement.values(lease_until=now + _LEASE))
    row = db.session.get(HookDelivery, ident, populate_existing=True)
    if taken.rowcount != 1 or row is None:  # type: ignore[attr-defined]
        db.session.rollback()
        return None, "", ""
    chosen = policy.of(row.account_id)
    secret, problem = _secret(chosen)
    url = chosen.webhook_url
    row.attempts += 1
    if problem:
        row.state, row.problem, row.ended_at, row.lease_until = HookState.FAILED, problem, now, None
    db.session.commit()
    db.session.refresh(row)
    db.session.expunge(row)
    db.session.rollback()
    return (None if problem else row), url, secret


def _secret(chosen: Care) -> tuple[str, str]:
    if not chosen.webhook_enabled:
        return "", "The webhook was switched off before this was delivered."
    try:
        return policy.secret_of(chosen), ""
    except SealBroken:
        return "", "The secret cannot be opened with the portal's present key. Make a new one."


def _settle(ident: int, *, status: int | None, problem: str = "") -> None:
    """Take the result down: delivered, again later, or given up after a day. Commits."""
    now, row = utcnow(), db.session.get(HookDelivery, ident, with_for_update=True, populate_existing=True)
    if row is None:
        db.session.rollback()
        return
    row.status_code, row.problem, row.lease_until = status, problem[:200], None
    if not problem:
        row.state, row.ended_at = HookState.DELIVERED, now
    else:
        row.next_at = now + backoff.delay_after(row.attempts, _DELAYS_S)
        if row.event == "test" or row.next_at > row.created_at + GIVE_UP_AFTER:
            row.state, row.ended_at = HookState.FAILED, now
    db.session.commit()


def prune(account_id: int) -> None:
    """Forget all but the newest deliveries that are over. The caller commits."""
    oldest = (
        select(HookDelivery.id)
        .where(HookDelivery.account_id == account_id)
        .order_by(HookDelivery.id.desc())
        .offset(_KEPT)
        .limit(1)
        .scalar_subquery()
    )
    db.session.execute(
        HookDelivery.__table__.delete().where(  # type: ignore[attr-defined]
            HookDelivery.account_id == account_id,
            HookDelivery.id <= oldest,
            HookDelivery.state != HookState.WAITING,
        )
    )
