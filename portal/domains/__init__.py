"""Sending domains: DNS checks of MX, SPF, DKIM and DMARC, and the records to publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def install(app: Flask) -> None:
    """Register the page and the jobs of this package with the app."""
    from ..jobs.registry import add_work_source
    from .checks import find_due_work
    from .views import blueprint

    app.register_blueprint(blueprint)
    add_work_source(app, find_due_work)
