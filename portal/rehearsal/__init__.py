"""A local SMTP server with scripted faults and an inbox page, for trying everything without a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def install(app: Flask) -> None:
    """Register the room's pages and its banner."""
    # Imported here, so that the rehearsal server starts without loading the pages.
    from . import views

    views.install(app)
