"""Joining a programme: sign-up, confirmation, invitations, moderation and the affiliate's own pages."""

from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from flask_wtf import CSRFProtect


def install(app: Flask) -> None:
    """Register the room with the app."""
    from ..jobs.heartbeat import add_finder
    from . import cleanup, views_owner  # noqa: F401 - its pages join the blueprint
    from .views import blueprint, unsubscribe

    app.register_blueprint(blueprint)
    csrf: CSRFProtect = app.extensions["csrf"]
    csrf.exempt(unsubscribe)
    add_finder(app, cleanup.find_work)
