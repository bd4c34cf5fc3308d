"""Passkeys: the log-in by one, and those of a person on the page *Second factor*. The script passkeys.js calls these."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flask import Response, abort, flash, jsonify, redirect, request, session, url_for
from flask_babel import gettext as _
from flask_login import current_user

from ...clock import utcnow
from ...web.requests import network_of, same_site_path
from ..access import (
    forget_invitation,
    known_browser,
    pending_log_in,
    renew_browser_session,
    start_browser_session,
    this_device,
)
from ..forms import NO_PROGRAMME, LogInForm, add_error
from ..login import TooManyAttempts, Visitor
from ..models import ProvedBy
from ..proof import proving
from ..proof.forms import ProveForm
from ..proof.views import go_on
from ..proof.views_asking import question
from ..team.accepting import OtherMailbox
from ..tokens import InvalidLink
from ..views import for_logged_out, render_errors
from . import passkeys
from .changing import LastFactor
from .entry import NoProgramme
from .forms import AnswerForm, PassedForm, PasskeyForm
from .passkeys import NotAccepted, TooManyPasskeys
from .views import back, blueprint, codes_page, factor_page, last_factor

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

_CHALLENGE = "passkey"  # in the cookie session: the token of the challenge that the browser was given
_PATH = "/account/second-factor/passkeys"


@blueprint.post("/log-in/passkey/options")
@for_logged_out
def options_to_use() -> ResponseReturnValue:
    return _options()


def _options() -> ResponseReturnValue:
    """Answer with a new challenge, whose token goes into the cookie session."""
    try:
        session[_CHALLENGE], options = passkeys.options_to_use(network_of(request), now=utcnow())
    except TooManyAttempts as error:
        answer = jsonify(error="too many attempts")
        answer.headers["Retry-After"] = str(math.ceil(error.wait.total_seconds()))
        return answer, 429
    return Response(options, mimetype="application/json")


@blueprint.post("/log-in/passkey")
@for_logged_out
def log_in_by_passkey() -> ResponseReturnValue:
    form, target = AnswerForm(), same_site_path(request.args.get("next")) or ""
    answer = (form.credential.data or "") if form.validate() else ""
    shown = LogInForm(formdata=None)
    try:
        token = _log_in(session.pop(_CHALLENGE, ""), answer)
    except NotAccepted:
        add_error(
            shown, _("This passkey was not accepted. Log in with your password, or try the passkey again.")
        )
    except (InvalidLink, OtherMailbox):
        forget_invitation()
        add_error(
            shown,
            _("The invitation no longer works, or it is for another person. You can log in without it."),
        )
    except NoProgramme:
        add_error(
            shown,
            NO_PROGRAMME,
        )
    else:
        start_browser_session(token)
        return redirect(target or url_for("home.show"), 303)
    return render_errors("accounts/log_in.html", shown, target=target)


def _log_in(token: str, answer: str) -> str:
    _pending, invitation = pending_log_in()
    visitor = Visitor(this_device(), known_browser())
    return passkeys.log_in(token, answer, visitor, now=utcnow(), invitation=invitation)


@blueprint.post(f"{_PATH}/options")
def options_to_add() -> ResponseReturnValue:
    session[_CHALLENGE], options = passkeys.options_to_add(current_user, now=utcnow())
    return Response(options, mimetype="application/json")


@blueprint.post(_PATH)
def add_passkey() -> ResponseReturnValue:
    form = PasskeyForm()
    if not form.validate():
        return factor_page(passkey=form), 422
    try:
        codes = passkeys.add(
            current_user,
            session.pop(_CHALLENGE, ""),
            form.credential.data or "",
            form.name.data,
            now=utcnow(),
        )
    except NotAccepted:
        add_error(form, _("The passkey was not added: your browser’s answer was not accepted. Try again."))
        return factor_page(passkey=form), 422
    except TooManyPasskeys:
        limit = passkeys.MAX_PASSKEYS
        add_error(
            form, _("You have %(limit)s passkeys, which is the maximum. Remove one first.", limit=limit)
        )
        return factor_page(passkey=form), 422
    if codes:
        return codes_page(codes)
    flash(_("The passkey %(name)s is added.", name=form.name.data), "success")
    return back()


@blueprint.post(f"{_PATH}/<int(max=999999999999):passkey_id>/remove")
def remove_passkey(passkey_id: int) -> ResponseReturnValue:
    try:
        if not passkeys.remove(current_user, passkey_id, now=utcnow()):
            abort(404)
    except LastFactor:
        return factor_page(problem=last_factor()), 409
    flash(_("The passkey is removed."), "success")
    return back()


# -- proof of person


@blueprint.post("/account/is-it-you/passkey/options")
def options_to_prove() -> ResponseReturnValue:
    return _options()


@blueprint.post("/account/is-it-you/passkey")
def prove_by_passkey() -> ResponseReturnValue:
    form = PassedForm()
    answer = (form.credential.data or "") if form.validate() else ""
    try:
        passkeys.require(current_user, session.pop(_CHALLENGE, ""), answer, now=utcnow())
        token = proving.store(current_user, ProvedBy.PASSKEY, kept=form.kept.data or "", now=utcnow())
    except NotAccepted:
        again = ProveForm(has_factor=True, formdata=None, data={"to": form.to.data, "kept": form.kept.data})
        add_error(again, _("This passkey was not accepted. Enter your password and a code, or try again."))
        return question(again, form_errors=True), 422
    except proving.SessionEnded:
        return redirect(url_for("accounts.log_in"), 303)
    renew_browser_session(token)
    return go_on(form.to.data or "", form.kept.data or "")
