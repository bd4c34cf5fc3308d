"""What every page shares."""

from __future__ import annotations

from typing import Any

from flask import Flask, request
from flask_login import current_user

from ..db import will_write
from . import banners, errors, filters, headers

_SAFE = {"GET", "HEAD", "OPTIONS"}


def install(app: Flask, *, secure: bool) -> None:
    """Set up headers, error pages, filters, and what every template knows."""
    headers.install(app, secure=secure)
    errors.install(app)
    filters.install(app)

    @app.before_request
    def _reading_or_writing() -> None:
        will_write(request.method not in _SAFE)

    @app.teardown_request
    def _forget(_error: BaseException | None) -> None:
        will_write(True)

    @app.context_processor
    def _shared() -> dict[str, Any]:
        account = getattr(current_user, "account", None)
        return {
            "current_account": account,
            "portal_banners": banners.banners(app, account.id) if account else [],
            "config_flags": app.extensions["signet.config"],
        }
