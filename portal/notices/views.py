"""Automated emails: the list, the switch, the preview."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from ..outbox.compose import from_header
from ..outbox.route import NoRoute, route_for
from ..web.headers import mail_page
from . import rendering, switches
from .catalogue import CATALOGUE, Notice

blueprint = Blueprint("notices", __name__, url_prefix="/automated-emails")


@blueprint.get("")
@login_required
def index() -> Any:
    rows = [(notice, switches.is_on(current_user.account_id, notice)) for notice in CATALOGUE.values()]
    return render_template("notices/index.html", rows=rows)


@blueprint.get("/<kind>")
@login_required
def show(kind: str) -> Any:
    notice = _notice(kind)
    return render_template(
        "notices/show.html",
        notice=notice,
        on=switches.is_on(current_user.account_id, notice),
        mail=rendering.sample(notice, current_user.account),
        values=rendering.sample_values(notice, current_user.account),
        sender=_sender(),
    )


@blueprint.get("/<kind>/html")
@login_required
def html(kind: str) -> Response:
    return mail_page(rendering.sample(_notice(kind), current_user.account).html)


@blueprint.post("/<kind>/switch")
@login_required
def switch(kind: str) -> Any:
    notice = _notice(kind)
    on = {"1": True, "0": False}.get(request.form.get("on", ""))
    if on is None:  # a click that does not say which way must not switch anything
        abort(400)
    if notice.fixed:  # its page has no such button
        abort(400)
    switches.switch(current_user.account_id, notice, on=on)
    flash(f"{notice.name} is switched {'on' if on else 'off'}.", "success")
    return redirect(url_for(".show", kind=kind), 303)


def _notice(kind: str) -> Notice:
    return CATALOGUE.get(kind) or abort(404)


def _sender() -> str:
    """Return the From as it would leave now, or nothing while there is no way out."""
    try:
        return from_header(route_for(current_user.account_id))
    except NoRoute:
        return ""
