"""Joining a programme: sign-up, confirmation, invitations, moderation and the affiliate's own pages."""

from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from flask_wtf import CSRFProtect


def install(app: Flask) -> None:
    """Register the room with the app."""
    from ..jobs.registry import add_work_source
    from . import cleanup, views_owner  # noqa: F401 - its pages join the blueprint
    from .views import blueprint, unsubscribe

    app.register_blueprint(blueprint)
    csrf: CSRFProtect = app.extensions["csrf"]
    csrf.exempt(unsubscribe)
    add_work_source(app, cleanup.find_work)
