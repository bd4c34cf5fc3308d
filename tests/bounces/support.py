"""Messages that were accepted, affiliates, hooks, and calls to them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select

from portal.accounts.models import Account
from portal.affiliates import page_keys
from portal.affiliates.models import Affiliate, Suppression, SuppressionReason
from portal.bounces import hooks, processing
from portal.bounces.models import BounceEvent, BounceHook, MessageOutcome
from portal.clock import utcnow
from portal.db import db
from portal.deliveries.models import LogRow
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Status
from portal.outbox.queue import NewMessage, enqueue_row
from portal.outbox.reference import reference_of

GRACE = "grace@receiver.example"


def account_id_of(slug: str = "brightleaf") -> int:
    return db.session.scalars(select(Account.id).where(Account.slug == slug)).one()


def add_affiliate(account_id: int, mailbox: str) -> Affiliate:
    """Add an active affiliate with this mailbox."""
    row = Affiliate(
        account_id=account_id, name="Grace Winter", mailbox=mailbox, mailbox_key=mailbox.casefold()
    )
    row.code = hashlib.sha256(f"{account_id} {mailbox}".encode()).hexdigest()[:12]
    row.created_at = row.confirmed_at = row.consented_at = utcnow()
    page_keys.assign(row)
    db.session.add(row)
    db.session.commit()
    return row


@dataclass
class Sent:
    """An accepted message, by what its events may name."""

    id: int
    reference: str
    header_id: str
    queue_id: str
    recipient: str


def send(account_id: int, recipient: str = GRACE, *, queue_id: str = "", affiliate: bool = True) -> Sent:
    """Add a message that a server has accepted, and, once, the affiliate to whom it went."""
    known = select(Affiliate.id).where(Affiliate.account_id == account_id, Affiliate.mailbox_key == recipient)
    if affiliate and db.session.scalar(known) is None:
        add_affiliate(account_id, recipient)
    count = len(db.session.scalars(select(OutboxMessage.id)).all())
    new = NewMessage("new-purchase", f"{account_id}:{count}", recipient, "A subject", "A text")
    row = enqueue_row(account_id, new, now=utcnow())
    row.message_id = f"<{count:08x}0123456789abcdef@brightleaf.example>"
    accept(row, queue_id or f"Q{row.id:05d}")
    return Sent(row.id, reference_of(row.id), row.message_id, queue_id or f"Q{row.id:05d}", recipient)


def accept(row: OutboxMessage, queue_id: str) -> None:
    """Record that the server accepted a message."""
    row.status, row.settled_at = Status.SENT, utcnow()
    attempt = DeliveryAttempt(message_id=row.id, number=1, started_at=utcnow(), ended_at=utcnow())
    attempt.outcome, attempt.queue_id, attempt.server = (
        Outcome.ACCEPTED,
        queue_id,
        "smtp.provider.example:587",
    )
    db.session.add(attempt)
    db.session.commit()


def make_hook(account_id: int, provider: str, key: str = "") -> str:
    """Make a hook; return the path of its address."""
    hooks.create(account_id, provider, now=utcnow())
    if key:
        hooks.save_key(account_id, provider, key)
    return path_of(account_id, provider)


def path_of(account_id: int, provider: str) -> str:
    hook = hooks.find(account_id, provider)
    return hooks.address(hook).removeprefix("http://127.0.0.1")


def post(app: Flask, path: str, body: Any, headers: dict[str, str] | None = None) -> int:
    """Post a body to a hook as a provider does, without cookies; return the status of the answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    db.session.commit()
    with app.app_context():
        answer = app.test_client(use_cookies=False).post(
            path, data=data, headers={"Content-Type": "application/json", **(headers or {})}
        )
        assert "Set-Cookie" not in answer.headers
        return answer.status_code


def run_worker() -> None:
    """Process what is due, as a worker does."""
    db.session.rollback()
    for _, account_id in processing.find_due_work(utcnow() + timedelta(seconds=1)):
        processing.process(account_id)
    db.session.rollback()


def events(account_id: int | None = None) -> list[BounceEvent]:
    db.session.rollback()
    query = select(BounceEvent).order_by(BounceEvent.id)
    if account_id is not None:
        query = query.where(BounceEvent.account_id == account_id)
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def outcome(message_id: int) -> MessageOutcome | None:
    db.session.rollback()
    return db.session.get(MessageOutcome, message_id, populate_existing=True)


def state_of(message_id: int) -> tuple[Any, ...] | None:
    """Return what is stored of a message's outcome, without times of arrival."""
    row = outcome(message_id)
    if row is None:
        return None
    logged = db.session.get_one(LogRow, message_id, populate_existing=True).outcome
    assert logged == row.meaning.value
    return (
        row.meaning,
        row.status,
        row.reply_code,
        row.reason,
        row.occurred_at,
        row.is_listed,
        row.event_key,
    )


def suppressed(account_id: int) -> dict[str, SuppressionReason]:
    db.session.rollback()
    query = select(Suppression).where(Suppression.account_id == account_id)
    rows = db.session.scalars(query.execution_options(populate_existing=True))
    return {row.mailbox_key: row.reason for row in rows}


def hook_row(account_id: int, provider: str) -> BounceHook:
    db.session.rollback()
    query = select(BounceHook).where(BounceHook.account_id == account_id, BounceHook.provider == provider)
    return db.session.scalars(query.execution_options(populate_existing=True)).one()
