"""Fixtures of the outbox: an account, a recording mail server, and the route between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask

from portal.config import Config
from portal.outbox.routing import Routing
from portal.state import get_state
from portal.tuning import Tuning
from tests.conftest import make_config
from tests.outbox.support import LEASE_S, LIMITS, StubRoutes, honest, new_account
from tests.smtp.badserver import BadServer, Script


@pytest.fixture
def database_wait() -> float:
    """The seconds for which a writer waits for another one; tests that lock the database override it."""
    return 30.0


@pytest.fixture
def config(tmp_path: Path, tuning: Tuning, database_wait: float) -> Config:
    """A configuration whose limits are so long that a loaded machine does not reach them."""
    return make_config(
        tmp_path / "instance", lease=LEASE_S, limits=LIMITS, database_wait=database_wait, tuning=tuning
    )


@pytest.fixture
def routes(app: Flask) -> StubRoutes:
    get_state(app).part(Routing).find = found = StubRoutes()
    return found


@pytest.fixture
def account(app: Flask) -> int:
    return new_account()


@pytest.fixture
def serve() -> Iterator:
    """Return a function that starts a scripted server; by default the server accepts everything."""
    with ExitStack() as stack:

        def start(script: Script | None = None) -> BadServer:
            return stack.enter_context(BadServer(script or honest()))

        yield start


@pytest.fixture
def server(serve, routes: StubRoutes, account: int) -> BadServer:
    """A server that accepts everything; the account's route leads to it."""
    found = serve()
    routes.send_to(account, found)
    return found
