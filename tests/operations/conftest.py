"""A portal with two programmes, one of whose owners runs it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import Account
from portal.accounts.profile import set_operator
from portal.clock import utcnow
from portal.db import db
from portal.jobs import heartbeat
from tests.outbox.conftest import account as account  # the post room's: an account and servers to send to
from tests.outbox.conftest import routes as routes
from tests.outbox.conftest import serve as serve
from tests.pages import LintingClient


@pytest.fixture
def flask(app: Flask) -> Callable[..., Result]:
    """Run a command of the portal as the operator types it."""

    def run(*words: str) -> Result:
        db.session.rollback()
        return app.test_cli_runner().invoke(args=list(words))

    return run


@pytest.fixture
def operator(owner: LintingClient) -> LintingClient:
    """The browser of Ada, who runs the portal, too."""
    assert set_operator("ada@brightleaf.example", operator=True)
    return owner


@pytest.fixture
def a_worker(app: Flask) -> None:
    """A worker that is at work."""
    heartbeat.record_heartbeat(utcnow(), started_at=utcnow(), threads=3)


def id_of(slug: str) -> int:
    ident = db.session.scalars(select(Account.id).where(Account.slug == slug)).one()
    db.session.rollback()
    return ident
