"""Fixtures of the commands: a runner, and a portal with queued messages and a live worker."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import Result
from flask import Flask

from portal.db import db
from tests.operations.conftest import a_worker as a_worker
from tests.outbox.conftest import account as account
from tests.outbox.conftest import routes as routes
from tests.outbox.conftest import serve as serve


@pytest.fixture
def flask(app: Flask) -> Callable[..., Result]:
    """Run a command as on the command line."""

    def run(*arguments: str, typed: str = "") -> Result:
        db.session.rollback()
        return app.test_cli_runner().invoke(args=list(arguments), input=typed)

    return run
