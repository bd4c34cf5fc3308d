"""How they send: versions of the SMTP settings, checking them, making one live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from ..outbox.route import Route


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from ..outbox.worker import add_finder
    from .check import due
    from .views import blueprint

    app.register_blueprint(blueprint)
    add_finder(app, due)


def route_for(account_id: int | None, version_id: int | None = None) -> Route:
    """Return the way an account's mail takes."""
    from .routes import route_for

    return route_for(account_id, version_id)


def check(version_id: int) -> None:
    """Prove a version."""
    from .check import check

    check(version_id)
