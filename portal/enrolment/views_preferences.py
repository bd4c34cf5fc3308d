"""What an affiliate chooses without logging in: an unguessable address opens the page."""

from __future__ import annotations

from typing import Any

from flask import abort, flash, make_response, redirect, render_template, request, url_for

from ..affiliates import preferences as deeds
from ..affiliates.directory import find_by_preferences_key
from ..clock import utcnow
from .views import blueprint

_SAVED = "Your choice is saved."


@blueprint.get("/preferences/<key>")
def preferences(key: str) -> Any:
    affiliate, account = find_by_preferences_key(key) or abort(404)
    return render_template(
        "affiliates/preferences.html",
        account=account,
        affiliate=affiliate,
        key=key,
        choices=deeds.choices(affiliate),
    )


@blueprint.post("/preferences/<key>")
def save_preferences(key: str) -> Any:
    affiliate, _ = find_by_preferences_key(key) or abort(404)
    wanted = () if "essential_only" in request.form else request.form.getlist("kind")
    try:
        deeds.save(affiliate, wanted, now=utcnow())
    except deeds.TooManyChanges:
        abort(429)
    flash(_SAVED, "success")
    return redirect(url_for(".preferences", key=key), 303)


@blueprint.route("/unsubscribe/<key>/<kind>", methods=["GET", "POST"])
def unsubscribe(key: str, kind: str) -> Any:
    """One click (RFC 8058): a POST without cookie or token ends such mail; a GET, which scanners make, only asks.

    The answer to the POST is a page and no redirect, as the RFC wants it. The key in the address is the
    authority, so the route is exempt from the CSRF check.
    """
    affiliate, account = find_by_preferences_key(key) or abort(404)
    notice = deeds.subscription(kind) or abort(404)
    done = request.method == "POST"
    if done:
        deeds.unsubscribe(affiliate, notice, now=utcnow())
    page = render_template("affiliates/unsubscribe.html", account=account, key=key, notice=notice, done=done)
    response = make_response(page)
    response.headers["Referrer-Policy"] = "no-referrer"  # the address is the key
    return response
