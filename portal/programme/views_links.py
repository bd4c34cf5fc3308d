"""What a short link answers where it does not redirect at once, and the colours of a programme's public pages."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, current_app, make_response, redirect, render_template, request

from ..affiliates import page_language
from ..shop_links import host_of
from . import short_links
from .look import styles as public_styles

links = Blueprint("links", __name__)
_YEAR_S = 31_536_000


@links.get("/r/<code>")
def follow(code: str) -> Any:
    """Answer a short link. Nearly all are redirected by ``short_links.ShortLinks`` and do not get here."""
    target = short_links.target_of(_app(), code, request.environ)
    if target is None:
        page_language.offer()
        return _page("programme/unknown_link.html", 404)
    page_language.show_page(target.account)
    if not target.location:
        return _page("programme/no_shop.html", 404, account=target.account)
    short_links.count_visit(_app(), target, request.environ)
    if target.asks:
        return _page(
            "programme/leave.html",
            200,
            account=target.account,
            location=target.location,
            host=host_of(target.location),
        )
    return redirect(target.location, 302)


@links.get("/look/<accent>.css")
def accent_styles(accent: str) -> Response:
    """Return the style sheet of an accent colour. The address names the colour, so browsers keep it."""
    styles = public_styles(accent) or abort(404)
    response = Response(styles, content_type="text/css; charset=utf-8")
    response.headers["Cache-Control"] = f"public, max-age={_YEAR_S}, immutable"
    return response


def _page(template: str, status: int, **context: object) -> Response:
    response = make_response(render_template(template, **context), status)
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


def _app() -> Any:
    return current_app._get_current_object()  # type: ignore[attr-defined]
