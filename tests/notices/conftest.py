"""Fixtures and look-ups for the tests of the automated emails."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal import create_app
from portal.accounts.models import Account, Owner
from portal.clock import utcnow
from portal.db import db
from portal.notices import further_mailboxes
from tests.conftest import make_config


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """An app for tests that only render, created once for each module."""
    app = create_app(make_config(tmp_path_factory.mktemp("mail")))
    with app.app_context():
        db.create_all(bind_key=None)
        yield app
        db.session.remove()
        db.engine.dispose()


def add_confirmed(account: Account, mailbox: str) -> None:
    """Add a further mailbox whose reader has confirmed it."""
    further_mailboxes.add(account, mailbox, now=utcnow()).confirmed_at = utcnow()
    db.session.commit()


def account_of(slug: str = "brightleaf") -> Account:
    """Return the account with this slug, read in a new transaction."""
    db.session.rollback()
    return db.session.scalars(select(Account).where(Account.slug == slug)).one()


def owner_of(slug: str = "brightleaf") -> Owner:
    """Return the first owner of the account with this slug."""
    account = account_of(slug)
    return db.session.scalars(select(Owner).where(Owner.account_id == account.id)).first()
