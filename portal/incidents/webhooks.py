"""Webhooks: events posted to the owner's address, signed by the Standard Webhooks scheme and retried for a day.

A delivery is enqueued in the transaction of its event. Its webhook-id and body stay the same in every attempt; the
timestamp, and with it the signature, is that of the attempt. https://www.standardwebhooks.com has the specification
and verifiers for receivers in many languages.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from sqlalchemy import select, update

from .. import rate_limit
from ..about import VERSION
from ..clock import utcnow
from ..db import db, insert
from ..db.lease import is_free
from ..http_client import PostFailed, post
from ..jobs import backoff, notify
from ..security_log import SecurityEvent, record
from ..state import current_config
from ..vault import DecryptionError
from . import policy
from .models import IncidentPolicy, WebhookDelivery, WebhookState

if TYPE_CHECKING:
    from collections.abc import Mapping

GIVE_UP_AFTER = timedelta(hours=24)
TEST_LIMIT = rate_limit.RateLimit("webhook-test", 10, timedelta(hours=1))
_LEASE = timedelta(minutes=1)
_KEPT_DELIVERIES = 100  # of an account; the page shows the last twenty
_JOBS_PER_SWEEP = 50
_PROBLEM_CHARS = 200


class CannotSendTest(Exception):
    """No test is sent; the message is a sentence for the page."""


def enqueue(account_id: int, key: str, event: str, payload: Mapping[str, Any], *, now: datetime) -> None:
    """Enqueue a delivery if the owner has a webhook; the same ``key`` is enqueued once. The caller commits."""
    if not policy.get(account_id).webhook_enabled:
        return
    body = {"event": event, "id": key, "at": now.isoformat(), **payload}
    values = {
        "account_id": account_id,
        "key": key,
        "event": event,
        "body": json.dumps(body, separators=(",", ":")),
        "state": WebhookState.WAITING,
        "attempts": 0,
        "problem": "",
        "created_at": now,
        "next_at": now,
    }
    statement = insert(WebhookDelivery).values(values).on_conflict_do_nothing().returning(WebhookDelivery.id)
    delivery_id = db.session.execute(statement).scalar_one_or_none()
    if delivery_id is not None:
        notify.push_after_commit("webhook", delivery_id)


def send_test(account_id: int, *, now: datetime) -> None:
    """Enqueue a test delivery. Commits. Raises CannotSendTest."""
    if not policy.get(account_id).webhook_enabled:
        raise CannotSendTest(_("Save an address first."))
    if not rate_limit.consume(TEST_LIMIT, account_id, now=now):
        db.session.rollback()
        raise CannotSendTest(_("You sent ten tests within an hour. Wait a while."))
    payload = {"sentence": "This is a test of your webhook. Nothing is wrong."}
    enqueue(account_id, f"test:{secrets.token_hex(8)}", "test", payload, now=now)
    db.session.commit()


def latest(account_id: int, limit: int = 20) -> list[WebhookDelivery]:
    """Return the last deliveries, newest first."""
    query = select(WebhookDelivery).where(WebhookDelivery.account_id == account_id)
    return list(db.session.scalars(query.order_by(WebhookDelivery.id.desc()).limit(limit)))


def find_due_work(now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of the deliveries that are due."""
    query = select(WebhookDelivery.id).where(*_is_due(now))
    query = query.order_by(WebhookDelivery.next_at).limit(_JOBS_PER_SWEEP)
    return [("webhook", delivery_id) for delivery_id in db.session.scalars(query)]


def account_of(delivery_id: int) -> int | None:
    """Return the account of a delivery, or None if there is no such delivery."""
    return db.session.scalar(select(WebhookDelivery.account_id).where(WebhookDelivery.id == delivery_id))


def deliver(delivery_id: int) -> None:
    """Post one due delivery and record the result. Commits. Safe to repeat: one worker at a time has its lease."""
    now = utcnow()
    row, url, secret = _claim(delivery_id, now)
    if row is None:
        return
    body = row.body.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"Signet/{VERSION}",
        **signed_headers(secret, row.key, body, now),
    }
    try:
        status = post(url, body, headers, current_config().webhook_policy)
    except PostFailed as failure:
        if failure.refused_target:
            record(
                SecurityEvent.TARGET_REFUSED,
                account=row.account_id,
                target=failure.refused_target,
                purpose="webhook",
            )
        _record_result(delivery_id, status=failure.status, problem=str(failure))
    else:
        _record_result(delivery_id, status=status)


def signed_headers(secret: str, webhook_id: str, body: bytes, at: datetime) -> dict[str, str]:
    """Return the three headers of Standard Webhooks for a body posted ``at`` this time. Raises ValueError."""
    timestamp = str(int(at.timestamp()))
    signed = b".".join([webhook_id.encode(), timestamp.encode(), body])
    mac = hmac.new(decode_secret(secret), signed, hashlib.sha256).digest()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def decode_secret(secret: str) -> bytes:
    """Return the key of a secret: the decoded base64 after the prefix. Raises ValueError.

    Secrets made before the portal followed Standard Webhooks are in the URL-safe alphabet and without padding.
    """
    encoded = secret.removeprefix(policy.SECRET_PREFIX).translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise ValueError("the secret of a webhook is not base64") from None


def _is_due(now: datetime) -> tuple[Any, ...]:
    free = is_free(WebhookDelivery, now)
    return WebhookDelivery.state == WebhookState.WAITING, WebhookDelivery.next_at <= now, free


def _claim(delivery_id: int, now: datetime) -> tuple[WebhookDelivery | None, str, str]:
    """Lease a due delivery; return it, detached, with address and secret.

    Commits, so that no transaction waits for a web server.
    """
    statement = update(WebhookDelivery).where(WebhookDelivery.id == delivery_id, *_is_due(now))
    claimed = db.session.execute(statement.values(lease_until=now + _LEASE))
    row = db.session.get(WebhookDelivery, delivery_id, populate_existing=True)
    if claimed.rowcount != 1 or row is None:  # type: ignore[attr-defined]
        db.session.rollback()
        return None, "", ""
    chosen = policy.get(row.account_id)
    secret, problem = _open_secret(chosen)
    url = chosen.webhook_url
    row.attempts += 1
    if problem:
        row.state, row.problem, row.ended_at, row.lease_until = WebhookState.FAILED, problem, now, None
    db.session.commit()
    db.session.refresh(row)
    db.session.expunge(row)
    db.session.rollback()
    return (None if problem else row), url, secret


def _open_secret(chosen: IncidentPolicy) -> tuple[str, str]:
    """Return the secret, or why it cannot sign."""
    if not chosen.webhook_enabled:
        return "", "The webhook was switched off before this was delivered."
    try:
        secret = policy.open_secret(chosen)
        decode_secret(secret)
    except DecryptionError:
        return "", "The secret cannot be opened with the portal's present key. Make a new one."
    except ValueError:
        return "", "The secret cannot sign. Make a new one."
    return secret, ""


def _record_result(delivery_id: int, *, status: int | None, problem: str = "") -> None:
    """Record an attempt: delivered, to be retried, or given up after a day. Commits."""
    now = utcnow()
    row = db.session.get(WebhookDelivery, delivery_id, with_for_update=True, populate_existing=True)
    if row is None:
        db.session.rollback()
        return
    row.status_code, row.problem, row.lease_until = status, problem[:_PROBLEM_CHARS], None
    if not problem:
        row.state, row.ended_at = WebhookState.DELIVERED, now
    else:
        row.next_at = now + backoff.delay_after(row.attempts, current_config().tuning.webhook_retry_delays_s)
        if row.event == "test" or row.next_at > row.created_at + GIVE_UP_AFTER:
            row.state, row.ended_at = WebhookState.FAILED, now
    db.session.commit()


def prune(account_id: int) -> None:
    """Delete all but the newest deliveries that have ended. The caller commits."""
    oldest = (
        select(WebhookDelivery.id)
        .where(WebhookDelivery.account_id == account_id)
        .order_by(WebhookDelivery.id.desc())
        .offset(_KEPT_DELIVERIES)
        .limit(1)
        .scalar_subquery()
    )
    db.session.execute(
        WebhookDelivery.__table__.delete().where(  # type: ignore[attr-defined]
            WebhookDelivery.account_id == account_id,
            WebhookDelivery.id <= oldest,
            WebhookDelivery.state != WebhookState.WAITING,
        )
    )


def delete_ended(_now: datetime) -> None:
    """Delete all but the newest deliveries of every account that have ended. Commits each account."""
    for account_id in db.session.scalars(select(WebhookDelivery.account_id).distinct()).all():
        prune(account_id)
        db.session.commit()
