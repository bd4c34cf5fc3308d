"""Fixtures of the operator's page: an owner who is an operator, and a live worker."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import Account
from portal.accounts.profile import set_operator
from portal.clock import utcnow
from portal.db import db
from portal.jobs import heartbeat
from tests.pages import LintingClient


@pytest.fixture
def operator(owner: LintingClient) -> LintingClient:
    """The browser of Ada, who is also the operator."""
    assert set_operator("ada@brightleaf.example", operator=True)
    return owner


@pytest.fixture
def a_worker(app: Flask) -> None:
    """A worker with a present heartbeat."""
    heartbeat.record_heartbeat(utcnow(), started_at=utcnow(), threads=3)


def id_of(slug: str) -> int:
    """Return the id of the account with this short name."""
    account_id = db.session.scalars(select(Account.id).where(Account.slug == slug)).one()
    db.session.rollback()
    return account_id
