"""What became of it: the log, one message's story, and orders about many messages."""

from flask import Flask

from ..outbox.worker import add_finder


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from . import bulk, tending, views_orders  # noqa: F401  (its pages join those of views)
    from .views import blueprint

    app.register_blueprint(blueprint)
    add_finder(app, bulk.due)
    add_finder(app, tending.due)
