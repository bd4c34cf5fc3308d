"""Fixtures of the post room: an account, a recording server, and the way between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from flask import Flask

from portal.config import Config
from portal.outbox.routing import Routing
from portal.state import get_state
from tests.conftest import make_config
from tests.outbox.support import LIMITS, StubRoutes, honest, new_account
from tests.smtp.badserver import BadServer, Script


@pytest.fixture
def config(tmp_path) -> Config:
    return make_config(tmp_path / "instance", lease=20.0, limits=LIMITS, database_wait=2.0)


@pytest.fixture
def routes(app: Flask) -> StubRoutes:
    get_state(app).part(Routing).find = found = StubRoutes()
    return found


@pytest.fixture
def account(app: Flask) -> int:
    return new_account()


@pytest.fixture
def serve() -> Iterator:
    """Start a scripted server, honest unless told otherwise."""
    with ExitStack() as stack:

        def start(script: Script | None = None) -> BadServer:
            return stack.enter_context(BadServer(script or honest()))

        yield start


@pytest.fixture
def server(serve, routes: StubRoutes, account: int) -> BadServer:
    """An honest server, to which the account's mail goes."""
    found = serve()
    routes.send_to(account, found)
    return found
