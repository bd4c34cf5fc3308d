"""Fixtures of the API: affiliates, tokens, and a shop that sends requests with a token."""

from __future__ import annotations

import json
from itertools import count

import pytest
from sqlalchemy import select

from portal.accounts.models import Account
from portal.affiliates import page_keys
from portal.affiliates.models import Affiliate, AffiliateState
from portal.api import tokens
from portal.api.models import TokenScope
from portal.clock import utcnow
from portal.db import db
from portal.events.models import Event
from portal.outbox.models import OutboxMessage

EVENTS = "/api/v1/events"
PURCHASE = {"order": "A-1042", "amount": "49.00", "currency": "EUR", "commission": "12.25"}


def account_of(slug="brightleaf"):
    return db.session.scalars(select(Account).where(Account.slug == slug)).one()


def purchase(**changes):
    """Return a purchase event with members replaced or, with None, removed."""
    body = {"event": "purchase", "affiliate": {"code": "GRACE42K"}, "data": dict(PURCHASE)} | changes
    return {name: value for name, value in body.items() if value is not None}


def rejected(response, status):
    """Check that a response is a problem as in RFC 9457, and return its members."""
    problem = response.get_json()
    assert response.status_code == status, problem
    assert response.content_type == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= set(problem)
    assert problem["status"] == status
    return problem


def field_errors(response):
    """Return the message of each invalid field of a rejected event, by JSON pointer."""
    return {one["pointer"]: one["message"] for one in rejected(response, 422)["errors"]}


@pytest.fixture
def affiliate(app):
    """Return a function that adds an affiliate to a programme."""

    def affiliate(
        slug="brightleaf", name="Grace Hopper", code="GRACE42K", state=AffiliateState.ACTIVE, mailbox=None
    ):
        mailbox = mailbox or f"{code.lower()}@hopper.example"
        now = utcnow()
        row = Affiliate(
            account_id=account_of(slug).id,
            name=name,
            mailbox=mailbox,
            mailbox_key=mailbox,
            code=code,
            state=state,
        )
        row.consented_at = row.created_at = now
        page_keys.assign(row)
        db.session.add(row)
        db.session.commit()
        return row

    return affiliate


@pytest.fixture
def token_of(app):
    """Return a function that creates a token of a programme."""
    numbers = count()

    def token_of(slug="brightleaf", scope=TokenScope.EVENTS, **more):
        new = {"name": "Shop", "by": "Ada", "form_key": f"{next(numbers):043}", "scope": scope} | more
        return tokens.create(account_of(slug).id, now=utcnow(), **new)

    return token_of


@pytest.fixture
def token(owner, token_of):
    return token_of()


@pytest.fixture
def shop(client, token, affiliate):
    """The shop of Brightleaf, a programme with one affiliate."""
    affiliate()
    return Shop(client, token)


class Shop:
    """Sends requests as a shop would."""

    def __init__(self, client, token):
        self.client, self.token = client, token
        self.keys = (f"key-{number}" for number in count())

    @property
    def headers(self):
        return {"Authorization": f"Bearer {self.token}"}

    def send(self, body, *, key=None, raw=None, **more):
        headers = self.headers | {"Idempotency-Key": key or next(self.keys)} | more.pop("headers", {})
        headers = {name: value for name, value in headers.items() if value is not None}
        data = raw if raw is not None else json.dumps(body)
        content_type = more.pop("content_type", "application/json")
        return self.client.post(EVENTS, data=data, headers=headers, content_type=content_type, **more)

    def get(self, path):
        return self.client.get(path, headers=self.headers)


@pytest.fixture
def stored(app):
    """Return a function that reads the stored events and messages."""

    def read():
        db.session.rollback()
        events = list(db.session.scalars(select(Event).order_by(Event.id)))
        own = select(OutboxMessage).where(OutboxMessage.account_id.is_not(None))  # not those of the portal
        return events, list(db.session.scalars(own.order_by(OutboxMessage.id)))

    return read
