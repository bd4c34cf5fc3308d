"""Where List-Unsubscribe of the owner's own summaries leads."""

from __future__ import annotations

from typing import Any

from flask import abort, make_response, render_template, request

from ..affiliates import owner_unsubscribe
from ..clock import utcnow
from .views import blueprint


@blueprint.route("/unsubscribe/<token>", methods=["GET", "POST"])
def unsubscribe(token: str) -> Any:
    """One click (RFC 8058): a POST without cookie or token ends such mail; a GET, which scanners make, only asks.

    The answer to the POST is a page and no redirect, as the RFC wants it. The signed address is the authority,
    so the route is exempt from the CSRF check.
    """
    posted = request.method == "POST"
    found = (
        owner_unsubscribe.end(token, now=utcnow()) if posted else owner_unsubscribe.find(token)
    ) or abort(404)
    page = render_template("notices/unsubscribe.html", account=found.account, subscription=found, token=token)
    response = make_response(page)
    response.headers["Referrer-Policy"] = "no-referrer"  # the address is the key
    return response
