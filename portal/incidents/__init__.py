"""What went wrong and for how long: incidents, alerts, and what is done about failing servers."""

from __future__ import annotations

from flask import Flask

from ..domains import changes
from ..outbox.listeners import add_listener
from ..outbox.worker import add_finder
from ..web.banners import add_source


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from . import alerts, canary, hooks, listening, views_care, watch
    from .banners import banners

    app.register_blueprint(views_care.blueprint)
    add_source(app, banners)
    for finder in (alerts.due, hooks.due, canary.due, watch.due):
        add_finder(app, finder)
    add_listener(app, listening.hear)
    changes.add_listener(app, listening.hear_of_domain)
