"""What is sent: the catalogue of automated affiliate emails, their texts, rendering and preview."""

from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from flask_wtf import CSRFProtect


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from . import views_branding, views_editor, views_samples  # noqa: F401 - they add their pages to the blueprint
    from .views import blueprint

    app.register_blueprint(blueprint)
    app.register_blueprint(views_samples.blueprint)
    csrf: CSRFProtect = app.extensions["csrf"]
    csrf.exempt(views_samples.sample_link)
