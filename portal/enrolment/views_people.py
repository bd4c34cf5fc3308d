"""The owner's forms: inviting somebody, the rules of signing up, and who is not written to."""

from __future__ import annotations

from typing import Any

from flask import abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from ..affiliates import suppressions as deeds
from ..clock import utcnow
from ..events.models import Why
from ..events.presenter import REASONS
from ..web.pagination import key_argument
from . import history, invitations, signup_rules
from .forms import InviteForm, RulesForm, SuppressForm
from .views import blueprint
from .views_owner import IDENT


@blueprint.route("/affiliates/invite", methods=["GET", "POST"])
@login_required
def invite() -> Any:
    form = InviteForm()
    if not form.is_submitted():
        return render_template("affiliates/invite.html", form=form)
    if not form.validate():
        return render_template("affiliates/invite.html", form=form, form_errors=True), 422
    wish = invitations.Invitation(
        form.name.data, form.mailbox.data, form.message.data or "", current_user.name
    )
    try:
        why = invitations.invite(current_user.account, wish, now=utcnow())
    except invitations.InvitationRefused as refusal:
        code = 429 if isinstance(refusal, invitations.TooManyInvitations) else 422
        page = render_template("affiliates/invite.html", form=form, form_errors=True, problem=str(refusal))
        return page, code
    if why is Why.OWED:
        flash(f"The invitation to {wish.mailbox} is on its way.", "success")
    else:
        flash(f"{wish.name} is on your list, but no email was sent. {REASONS[why][0]}", "warning")
    return redirect(url_for(".index", status="invited"), 303)


@blueprint.route("/affiliates/rules", methods=["GET", "POST"])
@login_required
def sign_up_rules() -> Any:
    present = signup_rules.rules_of(current_user.account_id)
    if request.method == "GET":
        saved = {"confirm": present.confirm, "auto_approve": present.auto_approve}
        return render_template("affiliates/rules.html", form=RulesForm(formdata=None, data=saved))
    form = RulesForm()
    form.validate()
    wish = signup_rules.Rules(auto_approve=bool(form.auto_approve.data), confirm=bool(form.confirm.data))
    signup_rules.change(current_user.account_id, wish)
    flash("The sign-up rules are saved. They hold for everybody who signs up from now on.", "success")
    return redirect(url_for(".sign_up_rules"), 303)


@blueprint.get("/affiliates/not-written-to")
@login_required
def suppressions() -> Any:
    return _page(SuppressForm(formdata=None))


@blueprint.post("/affiliates/not-written-to")
@login_required
def suppress() -> Any:
    form = SuppressForm()
    if not form.validate():
        return _page(form, form_errors=True), 422
    deeds.add(current_user.account_id, form.mailbox.data, form.note.data or "", now=utcnow())
    flash(f"{form.mailbox.data} is not written to from now on.", "success")
    return redirect(url_for(".suppressions"), 303)


@blueprint.post(f"/affiliates/not-written-to/{IDENT}/remove")
@login_required
def unsuppress(ident: int) -> Any:
    mailbox = deeds.remove(current_user.account_id, ident) or abort(404)
    flash(f"{mailbox} may be written to again.", "success")
    back = key_argument(request.args.get("back"))
    return redirect(url_for(".show", ident=back) if back else url_for(".suppressions"), 303)


def _page(form: SuppressForm, **more: object) -> str:
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    return render_template(
        "affiliates/suppressions.html",
        form=form,
        page=deeds.listed(current_user.account_id, before=before, after=after),
        words=history.REASON_WORDS,
        **more,
    )
