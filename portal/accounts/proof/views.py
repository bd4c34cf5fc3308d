"""The page *Is it you?*, and where it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import flash, redirect, request, url_for
from flask_babel import gettext as _
from flask_login import current_user

from ...clock import utcnow
from ...web.requests import network_of, same_site_path
from ..access import KEPT_ARGUMENT, renew_browser_session
from ..factors.second_step import WrongCode
from ..forms import WRONG_CODE, add_error
from ..login import TooManyAttempts, WrongCredentials
from ..views import blueprint, render_rate_limited
from . import proving
from .forms import ProveForm
from .kept import unpack
from .views_asking import PAGE, context, question

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


@blueprint.route("/account/is-it-you", methods=["GET", "POST"])
def prove() -> ResponseReturnValue:
    if request.method != "POST":
        to = same_site_path(request.args.get("next"))
        if to and current_user.is_proved(utcnow()):  # in another tab
            return redirect(to, 303)
        return question(ProveForm(has_factor=current_user.has_factor, formdata=None, data={"to": to or ""}))
    form = ProveForm(has_factor=current_user.has_factor)
    if not form.validate():
        return question(form, form_errors=True), 422
    try:
        entered = proving.EnteredProof(
            form.password.data, form.code.data if form.code else "", network_of(request)
        )
        token = proving.prove(current_user, entered, kept=form.kept.data or "", now=utcnow())
    except TooManyAttempts as error:
        return render_rate_limited(PAGE, form, error, **context(form))
    except WrongCredentials:
        add_error(form, _("This is not your password for Signet."), form.password)
        return question(form, form_errors=True), 422
    except WrongCode:
        add_error(form, WRONG_CODE, form.code)
        return question(form, form_errors=True), 422
    except proving.SessionEnded:
        return redirect(url_for("accounts.log_in"), 303)
    renew_browser_session(token)
    return go_on(form.to.data or "", form.kept.data or "")


def go_on(path: str, packed: str) -> ResponseReturnValue:
    """Lead to the page of the form, which shows what was typed."""
    to, interrupted = same_site_path(path) or url_for("accounts.profile"), unpack(packed)
    if interrupted is not None:
        message = _("Thank you. Nothing was changed yet. Now repeat what you wanted to do.")
        if interrupted.is_filled_again:
            message += " " + _("Your entries are kept, except passwords and other secrets.")
            to += ("&" if "?" in to else "?") + f"{KEPT_ARGUMENT}=1"
        flash(message, "info")
    return redirect(to, 303)
