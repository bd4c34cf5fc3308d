"""Will it arrive: what the domain name system says about the domain an account sends from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from ..jobs.registry import add_work_source
    from .checks import due
    from .views import blueprint

    app.register_blueprint(blueprint)
    add_work_source(app, due)
