"""Fixtures for the accounts: an owner without a session, a counting hasher, and the portal's own emails."""

from __future__ import annotations

import re

import pytest
import time_machine
from sqlalchemy import select

from portal.accounts.passwords import Hasher
from portal.accounts.registration import create_owner
from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import OutboxMessage
from portal.outbox.queue import open_body
from portal.state import get_state
from tests.conftest import PASSWORD

ADA = "ada@brightleaf.example"


@pytest.fixture(autouse=True)
def _early_in_a_window():
    """Set the clock to the beginning of a rate-limit window, so that no test runs across the end of one."""
    with time_machine.travel("2026-03-02 09:01:00+00:00"):
        yield


class CountingHasher(Hasher):
    """The real hasher, which counts its calls."""

    def __init__(self, real: Hasher) -> None:
        super().__init__(real._hasher)
        self.verified = self.hashed = 0

    def verify(self, stored, password):
        self.verified += 1
        return super().verify(stored, password)

    def hash(self, password):
        self.hashed += 1
        return super().hash(password)


@pytest.fixture
def counting(app):
    counter = CountingHasher(get_state(app).part(Hasher))
    get_state(app).put(Hasher, counter)
    return counter


@pytest.fixture
def ada(app):
    """An owner who is not logged in anywhere; returns the id."""
    owner_id = create_owner("Brightleaf", "Ada Fairweather", ADA, PASSWORD, now=utcnow()).id
    db.session.commit()
    return owner_id


def portal_emails(kind: str | None = None) -> list[tuple[str, str]]:
    """Return recipient and text of the portal's own emails that are enqueued, the oldest first."""
    query = select(OutboxMessage).where(OutboxMessage.account_id.is_(None)).order_by(OutboxMessage.id)
    rows = [row for row in db.session.scalars(query) if kind in {None, row.kind}]
    found = [(row.recipient, open_body(row.text, row.key)) for row in rows]
    db.session.commit()
    return found


def link_in(text: str) -> str:
    """Return the only link in the text of an email."""
    (link,) = re.findall(r"https?://\S+", text)
    return link


def path_in(text: str) -> str:
    """Return the path of the only link in the text of an email."""
    return re.sub(r"^https?://[^/]+", "", link_in(text))


def mask_page(html: str) -> str:
    """Return a page without what differs by design: the CSRF token and the mailbox entered."""
    html = re.sub(r'name="csrf_token" value="[^"]*"', "", html)
    return re.sub(r"[\w.]+@[\w.]+\.example", "MAILBOX", html)
