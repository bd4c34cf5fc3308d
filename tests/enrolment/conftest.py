"""A programme to join, and what signing up left behind."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sqlalchemy import select

from portal.accounts.models import Account
from portal.accounts.registration import create_owner
from portal.affiliates.models import Affiliate
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup_rules
from portal.outbox.models import OutboxMessage
from tests.conftest import PASSWORD

GRACE = {"name": "Grace Hopper", "mailbox": "grace@example.org", "consent": "y"}


@pytest.fixture
def programme(app):
    """Brightleaf, whose sign-up page is /join/brightleaf and asks for no confirmation; nobody is logged in."""
    create_owner("Brightleaf", "Ada Fairweather", "ada@brightleaf.example", PASSWORD, now=utcnow())
    account = db.session.scalars(select(Account).where(Account.slug == "brightleaf")).one()
    signup_rules.save_rules(account.id, signup_rules.Rules(confirm=False))
    return account


@pytest.fixture
def join(client, programme):
    """Fill in the sign-up form as a person would, with some fields changed."""

    def fill_in(slug="brightleaf", **changes):
        return client.submit(f"/join/{slug}", GRACE | changes)

    return fill_in


@pytest.fixture
def left(app):
    """What is in the tables now."""

    def look():
        db.session.rollback()
        return SimpleNamespace(
            affiliates=list(db.session.scalars(select(Affiliate).order_by(Affiliate.id))),
            messages=list(
                db.session.scalars(
                    select(OutboxMessage)
                    .where(~OutboxMessage.kind.startswith("owner-"))
                    .order_by(OutboxMessage.id)
                )
            ),
        )

    return look
