"""The pages about erasing a person, and the download of what is stored, from the affiliate's private page."""

from __future__ import annotations

from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    flash,
    make_response,
    redirect,
    render_template,
    stream_with_context,
    url_for,
)
from flask_babel import gettext as _
from flask_login import current_user

from ..affiliates import page_language, suppressions
from ..clock import utcnow
from ..money import balances
from ..programme import short_links
from ..smtp.mailbox import parse_mailbox
from ..state import current_config
from . import asking, erasing, stored_data
from .forms import TakePartAgainForm

blueprint = Blueprint("privacy", __name__)
_ID = "<int(max=999999999999):id_>"


@blueprint.post(f"/affiliates/{_ID}/erase")
def erase(id_: int) -> Any:
    result = erasing.erase(current_user.account_id, id_, by=current_user.name, now=utcnow()) or abort(404)
    short_links.forget_targets(current_app)
    if result.is_new:
        flash(_("The person is erased. Their data in emails and reports is being removed."), "success")
    return redirect(url_for("affiliates.show", id_=id_), 303)


@blueprint.route("/affiliates/not-written-to/erased", methods=["GET", "POST"])
def take_part_again() -> Any:
    """Let a person who was erased and asks to come back be written to again, found by the address."""
    form = TakePartAgainForm()
    if not form.is_submitted():
        return render_template("privacy/take_part_again.html", form=TakePartAgainForm(formdata=None))
    if form.validate():
        mailbox, now = form.mailbox.data, utcnow()
        parsed = str(parse_mailbox(mailbox))  # as it was hashed: the domain in A-labels
        found = suppressions.find_erased(current_user.account_id, parsed)
        if found is not None:
            by, why = current_user.name, form.why.data or ""
            suppressions.lift(current_user.account_id, found.id, why=why, by=by, now=now)
            flash(_("%(mailbox)s is unblocked. The person can sign up again.", mailbox=mailbox), "success")
            return redirect(url_for("affiliates.suppressions"), 303)
        form.mailbox.errors = [_("No person with this address was erased here.")]
    return render_template("privacy/take_part_again.html", form=form, form_errors=True), 422


@blueprint.get("/affiliate/<key>/data.json")
def download(key: str) -> Any:
    affiliate, account = stored_data.find(key) or abort(404)
    lines = stored_data.stream(affiliate, account, current_config())
    response = Response(stream_with_context(lines), mimetype="application/json")
    response.headers["Content-Disposition"] = 'attachment; filename="stored-about-me.json"'
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@blueprint.get("/affiliate/<key>/erasure")
def erasure(key: str) -> Any:
    affiliate, account = stored_data.find(key) or abort(404)
    page_language.show_page(account, affiliate)
    page = render_template(
        "privacy/erasure.html",
        account=account,
        affiliate=affiliate,
        key=key,
        balances=balances.balances_of(affiliate.id),
        days=asking.ANSWER_WITHIN.days,
    )
    response = make_response(page)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@blueprint.post("/affiliate/<key>/erasure")
def ask(key: str) -> Any:
    if not asking.ask(key, now=utcnow()):
        abort(404)
    return redirect(url_for(".erasure", key=key), 303)


@blueprint.post("/affiliate/<key>/erasure/withdraw")
def withdraw(key: str) -> Any:
    if not asking.withdraw(key):
        abort(404)
    return redirect(url_for(".erasure", key=key), 303)
