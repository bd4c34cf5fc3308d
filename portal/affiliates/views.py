"""The public pages of a programme, and the owner's list of affiliates."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from ..accounts.models import Account
from ..clock import utcnow
from ..config import current_config
from ..deliveries.story import STATUS_WORDS
from ..notices import switches
from ..notices.catalogue import NEW_SIGN_UP
from ..notices.greeting import first_name_of
from ..web.network import network_of
from ..web.pagination import key_argument
from . import roll, signup
from .forms import JoinForm

blueprint = Blueprint("affiliates", __name__)

_TOO_MANY = (
    "There were too many sign-ups from your network or for this address. "
    "What you typed is kept below; send it again later, at the latest tomorrow."
)


@blueprint.route("/join/<slug>", methods=["GET", "POST"])
def join(slug: str) -> Any:
    account = roll.find_account(slug) or abort(404)
    form = JoinForm()
    if not form.is_submitted():
        return _join_page(account, form)
    if form.website.data:  # a robot: it sees success and causes nothing
        return redirect(url_for(".thanks", slug=account.slug), 303)
    if not form.validate():
        return _join_page(account, form, form_errors=True), 422
    entered = signup.SignUp(form.name.data, form.mailbox.data, network_of(request))
    try:
        signup.sign_up(account, entered, config=current_config(), now=utcnow())
    except signup.TooManySignUps:
        return _join_page(account, form, form_errors=True, problem=_TOO_MANY), 429
    return redirect(url_for(".thanks", slug=account.slug), 303)


@blueprint.get("/join/<slug>/thanks")
def thanks(slug: str) -> Any:
    """Say the same to everybody: whether the address was known is nobody's business."""
    account = roll.find_account(slug) or abort(404)
    return render_template(
        "affiliates/thanks.html", account=account, emails_on=switches.is_on(account.id, NEW_SIGN_UP)
    )


@blueprint.get("/affiliate/<key>")
def dashboard(key: str) -> Any:
    affiliate, account = roll.by_dashboard_key(key) or abort(404)
    return render_template(
        "affiliates/dashboard.html",
        account=account,
        affiliate=affiliate,
        first_name=first_name_of(affiliate.name),
        link=signup.link_of(affiliate, account, current_config()),
    )


@blueprint.get("/affiliates")
@login_required
def index() -> Any:
    page = roll.roll_of(
        current_user.account,
        current_config(),
        before=key_argument(request.args.get("before")),
        after=key_argument(request.args.get("after")),
    )
    return render_template(
        "affiliates/index.html",
        page=page,
        join_url=f"{current_config().base_url}{url_for('.join', slug=current_user.account.slug)}",
        words=STATUS_WORDS,
        emails_on=switches.is_on(current_user.account_id, NEW_SIGN_UP),
        paged=bool(request.args.get("before") or request.args.get("after")),
    )


def _join_page(account: Account, form: JoinForm, **more: object) -> str:
    emails_on = switches.is_on(account.id, NEW_SIGN_UP)
    return render_template("affiliates/join.html", account=account, form=form, emails_on=emails_on, **more)
