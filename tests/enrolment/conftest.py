"""Fixtures: a programme, the sign-up form, and the rows that a sign-up has stored."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sqlalchemy import select

from portal.accounts.registration import create_owner
from portal.affiliates.models import Affiliate
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup_rules
from portal.outbox.models import OutboxMessage
from tests.conftest import PASSWORD
from tests.enrolment.support import GRACE, account_of


@pytest.fixture
def programme(app):
    """The programme of Brightleaf at /join/brightleaf, which asks for no confirmation. No user is logged in."""
    create_owner("Brightleaf", "Ada Fairweather", "ada@brightleaf.example", PASSWORD, now=utcnow())
    account = account_of()
    signup_rules.save_rules(account.id, signup_rules.Rules(confirm=False))
    return account


@pytest.fixture
def join(client, programme):
    """Return a function that sends the sign-up form as a browser would, with some fields changed."""

    def join(slug="brightleaf", **changes):
        return client.submit(f"/join/{slug}", GRACE | changes)

    return join


@pytest.fixture
def stored(app):
    """Return a function that loads the affiliates and the emails to them."""

    def stored():
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

    return stored
