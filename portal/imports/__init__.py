"""Import of affiliates from a spreadsheet's CSV file: upload, columns, preview, and a job that adds them and writes to them."""

from flask import Flask


def install(app: Flask) -> None:
    """Register the pages, the work and the clean-up of this room with the app."""
    from ..jobs.registry import add_cleanup, add_work_source
    from . import mailing, running, uploads, views

    app.register_blueprint(views.blueprint)
    add_work_source(app, running.find_work, is_patient=True)
    add_work_source(app, mailing.find_work, is_patient=True)
    add_cleanup(app, uploads.forget_old)
