"""What happened: the events of a programme, and the emails each of them caused or why it caused none."""

from flask import Flask


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from ..jobs.registry import add_work_source
    from . import weekly_summary
    from .views import blueprint

    app.register_blueprint(blueprint)
    add_work_source(app, weekly_summary.find_work)
