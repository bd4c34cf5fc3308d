"""Fixtures every room uses: a real database file, a real app, an owner who is logged in."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

from portal import create_app
from portal.accounts.registration import create_owner
from portal.clock import utcnow
from portal.config import Config
from portal.db import db
from tests.pages import LintingClient

PASSWORD = "correct horse battery staple"  # of every owner in the tests
KEYRING = "k1:" + base64.b64encode(bytes(range(32))).decode()


def make_config(instance: Path, **changes: Any) -> Config:
    """A configuration for tests: loopback, short waits, a database of its own."""
    env = {
        "SECRET_KEY": "a secret key for the tests, long enough",
        "SIGNET_KEYS": KEYRING,
        "SIGNET_BASE_URL": "http://127.0.0.1",
        "SIGNET_REHEARSAL": "1",
        "SIGNET_SWEEP_SECONDS": "0.3",
        "SIGNET_SMTP_DEADLINE": "8",
        "MAIL_SERVER": "localhost",
        "MAIL_PORT": "2587",
        "MAIL_USE_TLS": "1",
        "MAIL_USERNAME": "platform@signet.example",
        "MAIL_PASSWORD": "rehearsal",
        "MAIL_DEFAULT_SENDER": "affiliates@signet.example",
        **changes.pop("env", {}),
    }
    instance.mkdir(parents=True, exist_ok=True)
    return replace(Config.from_env(env, instance), testing=True, **changes)


class _Compiled(BytecodeCache):
    """Templates compiled once for all apps of a run: each test builds an app of its own."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.kept:
            bucket.bytecode_from_string(self.kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.kept[bucket.key] = bucket.bytecode_to_string()


COMPILED = _Compiled()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(tmp_path / "instance")


@pytest.fixture
def app(config: Config) -> Iterator[Flask]:
    app = create_app(config)
    app.test_client_class = LintingClient
    app.jinja_env.bytecode_cache = COMPILED
    with app.app_context():
        db.create_all()
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser nobody is logged in with."""
    return app.test_client()


def logged_in(app: Flask, programme: str, name: str, mailbox: str) -> LintingClient:
    """A browser in which the owner of a new account has logged in by the page, as everybody does."""
    create_owner(programme, name, mailbox, PASSWORD, now=utcnow())
    browser = app.test_client()
    response = browser.submit("/log-in", {"mailbox": mailbox, "password": PASSWORD})
    assert response.status_code == 303, response.get_data(as_text=True)
    return browser


@pytest.fixture
def owner(app: Flask) -> LintingClient:
    """The browser of Ada, who owns Brightleaf."""
    return logged_in(app, "Brightleaf", "Ada Fairweather", "ada@brightleaf.example")


@pytest.fixture
def stranger(app: Flask) -> LintingClient:
    """The browser of Bo, who owns another account and has no business with Brightleaf."""
    return logged_in(app, "Copperpot", "Bo Larsen", "bo@copperpot.example")
