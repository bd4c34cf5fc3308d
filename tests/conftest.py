"""Fixtures of all tests: a database, an app, and owners who are logged in."""

from __future__ import annotations

import base64
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
import time_machine
from flask import Flask, url_for
from flask.testing import FlaskClient
from jinja2 import Environment
from sqlalchemy import Dialect, update
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule
from werkzeug.routing.matcher import State, StateMachineMatcher

from portal import bootstrap, create_app, rate_limit
from portal.accounts.access import this_device
from portal.accounts.factors import entry
from portal.accounts.login import LOGINS_PER_NETWORK
from portal.accounts.models import OwnerSession
from portal.accounts.registration import create_owner
from portal.accounts.views import let_in
from portal.clock import utcnow
from portal.config import Config
from portal.db import close_connections, db, transaction
from portal.jobs.registry import job_registry
from portal.tuning import Tuning
from tests import cases, databases, passed_pages, slow_tests
from tests.pages import LintingClient

_TESTS = Path(__file__).parent
PASSWORD = "correct horse battery staple"  # of every owner in the tests
KEYRING = "k1:" + base64.b64encode(bytes(range(32))).decode()


def make_config(instance: Path, **changes: Any) -> Config:
    """Return a configuration for tests: loopback, short waits, and a database of its own."""
    env = {
        "SECRET_KEY": "a secret key for the tests, long enough",
        "SIGNET_KEYS": KEYRING,
        "SIGNET_BASE_URL": "http://127.0.0.1",
        "SIGNET_REHEARSAL": "1",
        "SIGNET_REGISTRATION": "open",
        "SIGNET_SWEEP_SECONDS": "0.3",
        "SIGNET_SMTP_DEADLINE": "8",
        "SIGNET_SIGN_UP_SECONDS": "0",
        "MAIL_SERVER": "localhost",
        "MAIL_PORT": "2587",
        "MAIL_USE_TLS": "1",
        "MAIL_USERNAME": "platform@signet.example",
        "MAIL_PASSWORD": "rehearsal",
        "MAIL_DEFAULT_SENDER": "affiliates@signet.example",
        "DATABASE_URL": os.environ.get(databases.URL, ""),
        **changes.pop("env", {}),
    }
    instance.mkdir(mode=0o700, parents=True, exist_ok=True)
    return replace(Config.from_env(env, instance), testing=True, **changes)


_statements: LRUCache[Any, Any] = LRUCache(3000)
_dialects: dict[str, Dialect] = {}
_templates: list[Environment] = []
_rules: dict[tuple[str, str], Rule] = {}
_compile = Rule.compile
_rules_of: WeakKeyDictionary[StateMachineMatcher, list[Rule]] = WeakKeyDictionary()
_roots: dict[tuple[Any, ...], State] = {}
_add_rule, _sort_rules = StateMachineMatcher.add, StateMachineMatcher.update


def _share_statements() -> None:
    """Let the engines of all apps of a run compile each statement once for each dialect."""
    for engine in db.engines.values():
        if engine.dialect.name not in _dialects:
            engine.connect().close()  # the first connection completes the dialect
            _dialects[engine.dialect.name] = engine.dialect
        engine.dialect, engine._compiled_cache = _dialects[engine.dialect.name], _statements


def _share_templates(app: Flask) -> None:
    """Let all apps of a run load and compile each template once. Their templates read the app from its context."""
    if not _templates:
        app.jinja_env.globals["url_for"] = url_for
        del app.jinja_env.globals["config"]  # of one app; no template reads it
        _templates.append(app.jinja_env)
    app.jinja_env = _templates[0]


def _compile_once(rule: Rule) -> None:
    """Compile a URL rule, or copy what another app of this run has compiled: all apps have the same rules."""
    first = _rules.setdefault((rule.rule, repr(rule.defaults)), rule)
    if first is rule:
        _compile(rule)
        return
    rule._parts, rule._trace, rule._converters = first._parts, first._trace, first._converters
    rule.arguments = first.arguments
    rule._build = first._build.__func__.__get__(rule)  # type: ignore[attr-defined]
    rule._build_unknown = first._build_unknown.__func__.__get__(rule)  # type: ignore[attr-defined]


Rule.compile = _compile_once  # type: ignore[method-assign]


def _add_later(matcher: StateMachineMatcher, rule: Rule) -> None:
    _rules_of.setdefault(matcher, []).append(rule)


def _update_once(matcher: StateMachineMatcher) -> None:
    """Put the rules of an app into its tree, or share the tree of another app with the same rules."""
    rules = _rules_of.get(matcher, [])
    key = tuple((rule.rule, rule.endpoint, frozenset(rule.methods or ())) for rule in rules)
    if key not in _roots:
        matcher._root = State()
        for rule in rules:
            _add_rule(matcher, rule)
        _sort_rules(matcher)
        _roots[key] = matcher._root
    matcher._root = _roots[key]


StateMachineMatcher.add, StateMachineMatcher.update = _add_later, _update_once  # type: ignore[method-assign]


def pytest_configure(config: pytest.Config) -> None:
    """Put the files of the tests into memory, if there is room, and delete them after the run."""
    gc.disable()  # until all modules are imported
    cases.Amount.first_and_last_only = config.option.few_parameters
    if cache := getattr(config, "cache", None):
        passed_pages.use_file(cache.mkdir("pages"))
    if config.option.basetemp or hasattr(config, "workerinput"):
        return
    if databases.has_room(databases.MEMORY):
        config.option.basetemp = tempfile.mkdtemp(prefix="signet-tests-", dir=databases.MEMORY)
        config.add_cleanup(partial(shutil.rmtree, config.option.basetemp, ignore_errors=True))


def pytest_collection_finish() -> None:
    """Collect garbage again, but seldom, and not among modules and tests, which live as long as the process."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20, 20)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql", "both"),
        default="sqlite",
        help="sqlite or postgresql: every test on it; both: SQLite, and PostgreSQL where it matters most",
    )
    parser.addoption(
        "--few-parameters",
        action="store_true",
        help="of each parametrised test, run the first and the last set of parameters only",
    )


# The room whose tests all depend on the database.
_ROOM_ON_POSTGRESQL = "outbox"


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the slow tests, and what runs on PostgreSQL, so that a marked test is found wherever it stands."""
    if config.getoption("few_parameters"):
        items[:] = _first_and_last(items)
    slow = slow_tests.names()
    for item in items:
        if slow_tests.function_of(item.nodeid) in slow:
            item.add_marker("slow")
        is_marked = any(item.get_closest_marker(name) for name in ("both_databases", "only_postgresql"))
        is_in_room = item.path.relative_to(_TESTS).parts[0] == _ROOM_ON_POSTGRESQL
        is_in_room = is_in_room and item.path.stem not in _ONCE
        if is_marked or (is_in_room and not item.get_closest_marker("thorough")):
            item.add_marker("on_postgresql")


def _first_and_last(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the items without the middle ones of each parametrised test."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(item.nodeid.partition("[")[0], []).append(item)
    return [one for group in groups.values() for one in (group if len(group) < 3 else (group[0], group[-1]))]


# Modules of outbox and settings whose tests do not depend on the database.
_ONCE = {"test_views_explain", "test_deprecations", "test_mime", "test_provider_values"}


def _runs_on_both(metafunc: pytest.Metafunc) -> bool:
    """Return whether a test runs on both databases: those of the outbox and the settings, and marked ones."""
    if metafunc.definition.get_closest_marker("both_databases"):
        return True
    path = metafunc.definition.path
    rooms = {"outbox", "settings"} & set(path.parts)
    return bool(rooms) and path.stem not in _ONCE and bool({"app", "config"} & set(metafunc.fixturenames))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" not in metafunc.fixturenames:
        return
    chosen = metafunc.config.getoption("database")
    if metafunc.definition.get_closest_marker("only_postgresql"):
        skipped = pytest.param("sqlite", marks=pytest.mark.skip(reason="run with --database=postgresql"))
        metafunc.parametrize("database", ["postgresql" if chosen != "sqlite" else skipped], indirect=True)
    elif chosen == "both" and _runs_on_both(metafunc):
        metafunc.parametrize("database", ["sqlite", "postgresql"], indirect=True)
    elif chosen == "postgresql":
        metafunc.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[databases.Cluster]:
    """A PostgreSQL server of this test process. Its tests are skipped if PostgreSQL is not installed."""
    found = databases.binaries()
    if found is None:
        databases.missing()
    with databases.cluster(found) as running:
        yield running


@pytest.fixture(scope="session")
def prepared(cluster: databases.Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with migrated tables, emptied and reused for each test."""
    with closing(cluster.connect()) as connection:
        connection.execute("CREATE DATABASE prepared")
    env = {"DATABASE_URL": cluster.url("prepared")}
    bootstrap.migrate(create_app(make_config(tmp_path_factory.mktemp("prepared"), env=env)))
    return "prepared"


@pytest.fixture(autouse=True)
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The database of this test: SQLite, or PostgreSQL, whose URL every configuration of the test then has."""
    kind = getattr(request, "param", "sqlite")
    monkeypatch.delenv(databases.URL, raising=False)
    if kind == "sqlite":
        yield kind
        return
    cluster: databases.Cluster = request.getfixturevalue("cluster")
    empty = request.node.get_closest_marker("empty_database") is not None
    name = "empty" if empty else request.getfixturevalue("prepared")
    if empty:
        with closing(cluster.connect()) as connection:
            databases.create(connection, "empty")
    else:
        databases.empty(cluster, name)
    monkeypatch.setenv(databases.URL, cluster.url(name))
    yield kind


@pytest.fixture(autouse=True)
def database_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a frozen clock apply to the database, too, unless the test is about clocks that disagree."""
    if request.node.get_closest_marker("clocks_disagree"):
        return
    read = transaction._read_clock

    def read_clock(current: transaction.CurrentTransaction) -> datetime:
        return utcnow() if time_machine.escape_hatch.is_travelling() else read(current)

    monkeypatch.setattr(transaction, "_read_clock", read_clock)


@pytest.fixture
def tuning(request: pytest.FixtureRequest) -> Tuning:
    """The tuning constants, with the values of the test's ``tuning`` marks."""
    changes: dict[str, Any] = {}
    for mark in request.node.iter_markers("tuning"):
        changes |= mark.kwargs
    return replace(Tuning(), **changes)


@pytest.fixture
def config(tmp_path: Path, tuning: Tuning) -> Config:
    return make_config(tmp_path / "instance", tuning=tuning)


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite file with all tables, beside one with those of the job queues; each test gets copies."""
    config = make_config(tmp_path_factory.mktemp("tables"), env={"DATABASE_URL": ""})
    app = create_app(config)
    with app.app_context():
        db.create_all(bind_key=None)  # an app on PostgreSQL may have added binds, which have no tables
        close_connections()  # closing the last connection writes the write-ahead log into the file
        for queue in job_registry(app).queues.values():
            queue.storage.close()
    return _file_of(config)


_JOBS = "jobs.sqlite"


def _file_of(config: Config) -> Path:
    return Path(config.database_url.removeprefix("sqlite:///"))


@pytest.fixture
def app(config: Config, tables: Path) -> Iterator[Flask]:
    if config.database_url.startswith("sqlite"):
        shutil.copy(tables, _file_of(config))  # PostgreSQL has the tables from the migrations
        shutil.copy(tables.with_name(_JOBS), config.instance / _JOBS)
    app = create_app(config)
    app.test_client_class = LintingClient
    _share_templates(app)
    with app.app_context():
        _share_statements()
        yield app
        db.session.remove()
        close_connections()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser without a log-in."""
    return app.test_client()


def logged_in(app: Flask, programme: str, name: str, mailbox: str) -> LintingClient:
    """Create an account and return a browser in which its owner is logged in, as by the form of the log-in.

    Submitting the form takes twice as long; the tests of the log-in do it.
    """
    owner = create_owner(programme, name, mailbox, PASSWORD, now=utcnow())
    owner_id, account_id = owner.id, owner.account_id
    db.session.commit()
    browser = app.test_client()
    with app.app_context(), app.test_request_context("/log-in", environ_base=browser.environ_base):
        device, now = this_device(), utcnow()
        # The one counter that a log-in leaves.
        rate_limit.consume(LOGINS_PER_NETWORK, device.network, now=now)
        entered = entry.enter(owner_id, account_id, device=device, now=now)
        db.session.commit()
        response = app.process_response(app.make_response(let_in(entered)))
    browser._update_cookies_from_response("localhost", "/log-in", response.headers.getlist("Set-Cookie"))
    return browser


def prove_again() -> None:
    """Let the people of all sessions have proved just now who they are, after a move of the clock."""
    db.session.execute(update(OwnerSession).values(proved_at=utcnow()))
    db.session.commit()


@pytest.fixture
def owner(app: Flask) -> LintingClient:
    """The browser of Ada, who owns Brightleaf."""
    return logged_in(app, "Brightleaf", "Ada Fairweather", "ada@brightleaf.example")


@pytest.fixture
def stranger(app: Flask) -> LintingClient:
    """The browser of Bo, who owns another account, Copperpot."""
    return logged_in(app, "Copperpot", "Bo Larsen", "bo@copperpot.example")
