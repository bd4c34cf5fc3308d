"""Shared web code: security headers, transactions, error pages, form fields, template filters and components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import g
from flask_login import current_user

from ..state import get_state
from . import (
    banners,
    components,
    errors,
    filters,
    forwarded,
    headers,
    pagination,
    requests,
    static_files,
    translations,
)

if TYPE_CHECKING:
    from flask import Flask


def install(app: Flask, *, secure: bool) -> None:
    """Set up headers, transactions, error pages, filters and the shared template variables."""
    forwarded.install(app)
    headers.install(app, secure=secure)
    requests.install(app)
    errors.install(app)
    filters.install(app)
    static_files.install(app)
    components.install(app)
    pagination.install(app)
    translations.install(app)

    @app.context_processor
    def _shared() -> dict[str, Any]:
        account = getattr(current_user, "account", None)
        return {
            "current_account": account,
            "portal_banners": banners.collect_banners(app, account.id)
            if account and "is_error" not in g
            else [],
            "config_flags": get_state(app).config,
        }
