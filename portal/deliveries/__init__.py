"""What became of it: the log, one message's story, and orders about many messages."""

from flask import Flask

from ..jobs.registry import add_work_source


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from . import bulk_actions, rollup, views_actions  # noqa: F401  (its pages join those of views)
    from .views import blueprint

    app.register_blueprint(blueprint)
    add_work_source(app, bulk_actions.due)
    add_work_source(app, rollup.due)
