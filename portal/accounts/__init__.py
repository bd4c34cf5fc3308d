"""Accounts and their owners: registration, log-in, passwords and the owner's own page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def install(app: Flask) -> None:
    """Set up password hashing and log-in for the app and register the pages."""
    # Imported here, so that other packages can import the tables without the pages.
    from ..state import get_state
    from . import access, passwords, views, views_profile  # noqa: F401 - importing it registers its routes

    config = get_state(app).config
    passwords.install(app, fast=config.testing)
    access.install(app)
    app.register_blueprint(views.blueprint)
