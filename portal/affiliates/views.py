"""The public pages of a programme, and the owner's list of affiliates."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for
from flask_login import current_user, login_required
from sqlalchemy import select

from ..clock import utcnow
from ..config import Config
from ..web.network import network_of
from ..web.pagination import key_argument, newest_first
from . import signup
from .forms import JoinForm
from .models import Affiliate

blueprint = Blueprint("affiliates", __name__)


@blueprint.route("/join/<slug>", methods=["GET", "POST"])
def join(slug: str) -> Any:
    account = signup.find_account(slug) or abort(404)
    form = JoinForm()
    if not form.is_submitted():
        return render_template("affiliates/join.html", account=account, form=form)
    if form.website.data:  # a robot: it sees success and causes nothing
        return redirect(url_for(".thanks", slug=account.slug), 303)
    if not form.validate():
        return render_template("affiliates/join.html", account=account, form=form, form_errors=True), 422
    entered = signup.SignUp(form.name.data, form.mailbox.data, network_of(request))
    try:
        signup.sign_up(account, entered, config=_config(), now=utcnow())
    except signup.TooManySignUps:
        problem = "Too many people signed up from your network within an hour. Try again later."
        page = render_template("affiliates/join.html", account=account, form=form, problem=problem, form_errors=True)
        return page, 429
    return redirect(url_for(".thanks", slug=account.slug), 303)


@blueprint.get("/join/<slug>/thanks")
def thanks(slug: str) -> Any:
    account = signup.find_account(slug) or abort(404)
    return render_template("affiliates/thanks.html", account=account)


@blueprint.get("/affiliate/<key>")
def dashboard(key: str) -> Any:
    affiliate, account = signup.by_dashboard_key(key) or abort(404)
    link = signup.link_of(affiliate, account, _config())
    return render_template("affiliates/dashboard.html", affiliate=affiliate, account=account, link=link)


@blueprint.get("/affiliates")
@login_required
def index() -> Any:
    page = newest_first(
        select(Affiliate).where(Affiliate.account_id == current_user.account_id),
        Affiliate.id,
        before=key_argument(request.args.get("before")),
        after=key_argument(request.args.get("after")),
    )
    join_url = f"{_config().base_url}{url_for('.join', slug=current_user.account.slug)}"
    return render_template("affiliates/index.html", page=page, join_url=join_url)


def _config() -> Config:
    config: Config = current_app.extensions["signet.config"]
    return config
