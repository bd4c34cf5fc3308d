"""The outbox: queues, claims, sends and settles messages. It uses tables and the SMTP engine, and no HTTP request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from .routing import RouteResolver


def install(app: Flask, *, route_for: RouteResolver) -> None:
    """Set up the outbox of an app: Flask-Mail, the route lookup, and its part in the worker."""
    from ..jobs.registry import add_work_source, add_worker_part
    from ..state import get_state
    from . import rate_limits, worker
    from .callbacks import add_gate
    from .routing import Routing
    from .sending.connection import mail

    config = get_state(app).config
    platform = config.platform
    app.config.update(
        MAIL_SERVER=platform.server,
        MAIL_PORT=platform.port,
        MAIL_USE_TLS=platform.use_tls,
        MAIL_USE_SSL=platform.use_ssl,
        MAIL_USERNAME=platform.username,
        MAIL_DEFAULT_SENDER=platform.sender,
        MAIL_DEBUG=False,  # its debug output would print the credentials
    )
    mail.init_app(app)
    get_state(app).part(Routing).find = route_for
    add_gate(app, rate_limits.gate)
    add_work_source(app, worker.find_due_work)
    add_worker_part(app, worker.OutboxWorker())
