"""Notices, the automated emails to affiliates and owners: catalogue, texts, rendering, preview and recipients."""

from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from flask_wtf import CSRFProtect


def install(app: Flask) -> None:
    """Register the pages of the automated emails."""
    from . import views, views_branding, views_editor, views_versions  # noqa: F401 - importing them registers their routes

    app.register_blueprint(views.blueprint)
    app.register_blueprint(views.samples)
    csrf: CSRFProtect = app.extensions["csrf"]
    csrf.exempt(views.sample_link)  # mail programs POST to it without a token
