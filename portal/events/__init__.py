"""What happened: the events of a programme, and the emails each of them caused or why it caused none."""

from flask import Flask


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from ..jobs.heartbeat import add_finder
    from . import weekly_summary
    from .views import blueprint

    app.register_blueprint(blueprint)
    add_finder(app, weekly_summary.find_work)
