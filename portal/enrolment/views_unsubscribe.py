"""The page behind the List-Unsubscribe header of the owner's summaries."""

from __future__ import annotations

from typing import Any

from flask import abort, make_response, render_template, request

from ..affiliates import owner_unsubscribe as subscriptions
from ..clock import utcnow
from .views import blueprint


@blueprint.route("/automated-emails/unsubscribe/<token>", methods=["GET", "POST"])
def owner_unsubscribe(token: str) -> Any:
    """Unsubscribe one mailbox with one click (RFC 8058): a POST without cookie or CSRF token changes, a GET shows.

    Link scanners send GETs, so a GET changes nothing. The POST is answered with a page because the RFC advises$
    against redirects. The signed address is the authority, so the route is exempt from the CSRF check.
    """
    change = request.method == "POST"
    found = (
        subscriptions.unsubscribe(token, now=utcnow()) if change else subscriptions.find_subscription(token)
    )
    if found is None:
        abort(404)
    page = render_template(
        "affiliates/owner_unsubscribe.html", account=found.account, subscription=found, token=token
    )
    response = make_response(page)
    response.headers["Referrer-Policy"] = "no-referrer"  # the address is the credential
    return response
