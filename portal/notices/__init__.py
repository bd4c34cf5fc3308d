"""What is sent: the catalogue of automated affiliate emails, their texts, rendering and preview."""

from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from flask_wtf import CSRFProtect


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from . import views, views_branding, views_editor  # noqa: F401 - they add their pages to the blueprint

    app.register_blueprint(views.blueprint)
    app.register_blueprint(views.samples)
    csrf: CSRFProtect = app.extensions["csrf"]
    csrf.exempt(views.sample_link)
