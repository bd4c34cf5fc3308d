"""Proof of arrival: the link in a test email, and the headers of the received test email that its owner pastes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def install(app: Flask) -> None:
    """Register the pages, the listener and the clean-up of this package with the app."""
    from ..jobs.registry import add_cleanup
    from ..outbox.callbacks import add_listener
    from . import proofs
    from .views import blueprint

    app.register_blueprint(blueprint)
    add_listener(app, proofs.on_attempt_settled, on_acceptance=proofs.concerns_acceptance)
    add_cleanup(app, proofs.delete_unused)
