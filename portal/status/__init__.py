"""The sending status: one answer, from all that is known, to whether an account's emails leave as its own domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask


def install(app: Flask) -> None:
    """Give every template the function ``sending_status``, and every page of an account its banners about sending."""
    from flask_login import current_user

    from ..web.banners import add_banner_source
    from .banners import banners
    from .sending import status_of

    add_banner_source(app, banners)

    @app.context_processor
    def _status() -> dict[str, Any]:
        return {"sending_status": lambda: status_of(current_user.account_id)}
