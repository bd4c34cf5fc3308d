"""The delivery log: what became of every message, statistics, and actions on one or many messages."""

from flask import Flask

from ..jobs.registry import add_work_source


def install(app: Flask) -> None:
    """Register the room's pages and work sources with the app."""
    from . import bulk_actions, message_outcomes, rollup, views_actions  # noqa: F401  (its pages join those of views)
    from .views import blueprint

    app.register_blueprint(blueprint)
    message_outcomes.install(app)
    add_work_source(app, bulk_actions.find_due_work, is_patient=True)
    add_work_source(app, rollup.find_due_work, is_patient=True)
