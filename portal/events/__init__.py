"""Events of a programme, and for each the emails it queued or the reason why not."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the page and the jobs of this package with the app."""
    from ..jobs.registry import add_work_source
    from . import digests
    from .views import blueprint

    app.register_blueprint(blueprint)
    add_work_source(app, digests.find_work, is_patient=True)
