"""How they send: versions of the SMTP settings, checking them, making one live."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from ..jobs.registry import add_work_source
    from . import login_probe, views_explain
    from .check import due
    from .views import blueprint

    app.register_blueprint(blueprint)
    app.register_blueprint(views_explain.blueprint)
    add_work_source(app, due)
    add_work_source(app, login_probe.find_due_work)
