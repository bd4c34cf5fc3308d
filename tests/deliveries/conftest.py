"""Fixtures of the delivery log: messages and attempts in every state, written as the outbox writes them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.accounts.models import Account
from portal.clock import utcnow
from portal.db import db
from portal.jobs.models import WorkerHeartbeat
from portal.notices import rendering
from portal.notices.catalogue import NEW_SIGN_UP
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Status
from portal.outbox.queue import NewMessage, enqueue_row

WRONG_PASSWORD = {
    "code": "auth-refused",
    "kind": "credentials",
    "cause": "smtp.example.com refused the SMTP Username or SMTP Password.",
    "whose_move": "owner",
    "field": "password",
    "fixes": ["Copy the SMTP password again from your provider."],
    "retry_class": "settings",
    "evidence": {"reply": "535 5.7.8 Authentication failed"},
}
GREYLISTED = {
    "cause": "The server asks to try again later.",
    "whose_move": "provider",
    "fixes": ["You do not need to do anything. Signet tries again automatically."],
    "retry_class": "later",
    "evidence": {},
}
NO_SUCH_MAILBOX = {
    "cause": "There is no such mailbox.",
    "whose_move": "owner",
    "fixes": ["Ask the affiliate for another address."],
    "retry_class": "recipient",
    "evidence": {"reply": "550 5.1.1 User unknown"},
}


def status_of(message: OutboxMessage) -> Status:
    """Return the stored status of a message."""
    message_id = message.id
    db.session.expire_all()
    return db.session.get(OutboxMessage, message_id).status


def listed_ids(page: str) -> list[int]:
    """Return the ids of the messages that a page of the log lists."""
    return [int(found) for found in re.findall(r'href="/deliveries/(\d+)"', page)]


def submit(browser, message, operation, **fields):
    """Submit the form of an operation on the page of a message."""
    return browser.submit(f"/deliveries/{message.id}/{operation}", fields, page=f"/deliveries/{message.id}")


def account_of(slug: str = "brightleaf") -> Account:
    return db.session.scalars(select(Account).where(Account.slug == slug)).one()


@pytest.fixture(autouse=True)
def running_worker(app):
    """A worker with a recent heartbeat, so that pages show no banner about a missing one."""
    db.session.add(WorkerHeartbeat(name="test:1", started_at=utcnow(), seen_at=utcnow() + timedelta(hours=1)))
    db.session.commit()


@pytest.fixture
def enqueue(app):
    """Return a function that enqueues a message to a new recipient; keywords change its row."""
    count = iter(range(1, 10_000))

    def enqueue(
        slug="brightleaf",
        *,
        is_test=False,
        forced_version_id=None,
        recipient=None,
        kind="new-sign-up",
        subject=None,
        **changes,
    ):
        account, number = account_of(slug), next(count)
        email = rendering.render_sample(NEW_SIGN_UP, account)
        new = NewMessage(
            kind=kind,
            key=f"{slug}:{number}",
            recipient=recipient or f"person{number}@example.org",
            recipient_name="Grace Hopper",
            subject=subject or email.subject,
            text=email.text,
            html=email.html,
            is_test=is_test,
            forced_version_id=forced_version_id,
        )
        row = enqueue_row(account.id, new, now=utcnow())
        for name, value in changes.items():
            setattr(row, name, value)
        if row.status in (Status.SENT, Status.FAILED):
            row.settled_at = row.settled_at or utcnow()
        db.session.commit()
        return row

    return enqueue


@pytest.fixture
def add_attempt(app):
    """Return a function that adds a delivery attempt of a message; keywords change its row."""

    def add_attempt(message, outcome=Outcome.ACCEPTED, number=1, **changes):
        values = {
            "started_at": utcnow(),
            "ended_at": utcnow(),
            "server": "smtp.example.com:587",
            "sender": "Brightleaf <info@brightleaf.example>",
            "version_number": 3,
        }
        row = DeliveryAttempt(message_id=message.id, number=number, outcome=outcome, **(values | changes))
        db.session.add(row)
        db.session.commit()
        return row

    return add_attempt
