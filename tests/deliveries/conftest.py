"""Messages in every state, written as the outbox writes them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.accounts.models import Account
from portal.clock import utcnow
from portal.db import db
from portal.jobs.models import WorkerHeartbeat
from portal.notices import rendering
from portal.notices.catalogue import NEW_SIGN_UP
from portal.outbox.models import DeliveryAttempt, Outcome, Status
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
    "fixes": ["Nothing to do: it is tried again by itself."],
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


def account_of(slug: str = "brightleaf") -> Account:
    return db.session.scalars(select(Account).where(Account.slug == slug)).one()


@pytest.fixture(autouse=True)
def a_worker(app):
    """A worker that is seen, so that pages speak of the messages alone."""
    db.session.add(WorkerHeartbeat(name="test:1", started_at=utcnow(), seen_at=utcnow() + timedelta(hours=1)))
    db.session.commit()


@pytest.fixture
def owe(app):
    """Owe a message to somebody, with changes to its row."""
    count = iter(range(1, 10_000))

    def owe(
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
        mail = rendering.render_sample(NEW_SIGN_UP, account)
        new = NewMessage(
            kind=kind,
            key=f"{slug}:{number}",
            recipient=recipient or f"person{number}@example.org",
            recipient_name="Grace Hopper",
            subject=subject or mail.subject,
            text=mail.text,
            html=mail.html,
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

    return owe


@pytest.fixture
def tried(app):
    """Record an attempt at a message."""

    def tried(message, outcome=Outcome.ACCEPTED, number=1, **changes):
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

    return tried
