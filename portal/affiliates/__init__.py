"""To whom: the public sign-up, the affiliate's own pages, the owner's list."""

from flask import Flask
from flask_wtf import CSRFProtect


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from ..outbox.listeners import add_listener
    from ..outbox.worker import add_finder
    from . import bounces, pruning, views_owner, views_people, views_preferences  # noqa: F401 - their pages join the blueprint
    from .views import blueprint

    app.register_blueprint(blueprint)
    csrf: CSRFProtect = app.extensions["csrf"]
    csrf.exempt(views_preferences.unsubscribe)
    add_finder(app, pruning.find_work)
    add_listener(app, bounces.hear)
