"""Signet: automated affiliate emails that leave from the programme's own domain."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from .config import Config


def create_app(config: Config | None = None) -> Flask:
    """Build the portal: extensions, jobs, shared web code, rooms, commands, in that order.

    Raises ConfigError or KeyringError, whose messages name the variable or file at fault.
    """
    # Imported here, so that portal.smtp can be imported without Flask and the rooms.
    from . import (
        accounts,
        affiliates,
        api,
        arrival,
        bounces,
        cli,
        deliveries,
        domains,
        enrolment,
        events,
        home,
        imports,
        incidents,
        money,
        monitoring,
        notices,
        operations,
        outbox,
        privacy,
        programme,
        rate_limit,
        rehearsal,
        settings,
        status,
        tasks,
        web,
    )
    from .about import ROOT
    from .accounts import access
    from .config import Config
    from .jobs import notify, refusals
    from .jobs.registry import add_cleanup
    from .settings.routing import route_for

    config = config or Config.from_env(os.environ, ROOT / "instance")
    app = _new_app(config)
    tasks.install(app, config)
    notify.install(app)
    add_cleanup(app, rate_limit.remove_old_counters)
    add_cleanup(app, refusals.delete_old)
    outbox.install(app, route_for=route_for)

    web.install(app, secure=config.secure)
    rooms = (
        accounts,
        arrival,
        settings,
        domains,
        notices,
        affiliates,
        bounces,
        events,
        money,
        programme,
        enrolment,
        imports,
        deliveries,
        incidents,
        status,
        api,
        privacy,
        operations,
        rehearsal,
        monitoring,
        home,
    )
    for room in rooms:
        room.install(app)
    if config.testing:
        access.require_rows(app)  # a live portal answers 404 at an endpoint without a right
    cli.install(app, create_app)
    _trust_proxies(app, config)
    return app


def _new_app(config: Config) -> Flask:
    """Return an app with its configuration, its database and the extensions of Flask."""
    from flask import Flask
    from flask_wtf import CSRFProtect

    from . import db
    from .about import ROOT
    from .db import postgresql, sqlite
    from .db.urls import AUTOCOMMIT_BIND

    app = Flask(
        "portal",
        instance_path=str(config.instance),
        template_folder=str(ROOT / "templates"),
        static_folder=str(ROOT / "static"),
    )
    app.ensure_sync = _as_is  # type: ignore[method-assign, assignment]  # no view is a coroutine
    _configure(app, config)
    db.db.init_app(app)
    CSRFProtect(app)
    with app.app_context():
        for bind, engine in db.db.engines.items():
            if engine.dialect.name == "postgresql":
                postgresql.set_up(engine, wait=config.database_wait, autocommit=bind == AUTOCOMMIT_BIND)
            else:
                sqlite.set_up(engine, wait=config.database_wait)
    return app


def _as_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _configure(app: Flask, config: Config) -> None:
    from .db import urls
    from .state import KEY, State
    from .vault import Vault
    from .web import host_names

    app.extensions[KEY] = State(config, Vault(config.keyring, config.secret_key))
    app.config.update(
        SECRET_KEY=config.secret_key,
        SQLALCHEMY_DATABASE_URI=config.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=urls.engine_options(config.database_url),
        SQLALCHEMY_BINDS=urls.extra_binds(config.database_url),
        SERVER_NAME=None,
        SESSION_COOKIE_NAME="__Host-signet" if config.secure else "signet",
        SESSION_COOKIE_SECURE=config.secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        WTF_CSRF_TIME_LIMIT=None,  # tokens expire with the session; the default of an hour would lose half-filled forms
        MAX_CONTENT_LENGTH=512 * 1024,
        TESTING=config.testing,
    )
    host_names.install(app, config)
    if not app.debug:
        logging.getLogger("portal").setLevel(logging.INFO)


def _trust_proxies(app: Flask, config: Config) -> None:
    """Take the client's address from the headers of trusted proxies, before the middleware of rooms reads it."""
    from werkzeug.middleware.proxy_fix import ProxyFix

    if count := config.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=0)  # type: ignore[method-assign]
