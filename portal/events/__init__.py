"""Events of a programme, and for each the emails it queued or the reason why not."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the page and the weekly job of this package with the app."""
    from ..jobs.registry import add_work_source
    from . import weekly_summary
    from .views import blueprint

    app.register_blueprint(blueprint)
    add_work_source(app, weekly_summary.find_work)
