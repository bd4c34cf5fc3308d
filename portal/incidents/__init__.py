"""What went wrong and for how long: incidents, alerts, and what is done about failing servers."""

from __future__ import annotations

from flask import Flask

from ..outbox import rates
from ..outbox.worker import add_finder
from ..web.banners import add_source


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from . import alerts, canary, hooks, views_care, watch
    from .banners import banners

    app.register_blueprint(views_care.blueprint)
    add_source(app, banners)
    for finder in (alerts.due, hooks.due, canary.due, watch.due, rates.due):
        add_finder(app, finder)
