"""The page *Second factor* of a person."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_login import current_user

from ...clock import utcnow
from ...web.requests import network_of
from ..access import kept_form, this_device
from ..forms import add_error
from ..login import TooManyAttempts
from ..team.programmes import programmes_of
from ..views import render_rate_limited
from . import changing, totp
from .changing import LastFactor
from .forms import ConfirmAppForm, PasskeyForm
from .recovery import AMOUNT
from .second_step import WrongCode
from .state import factors_of

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from ..team.programmes import Programme
    from .totp import NewApp

blueprint = Blueprint("factors", __name__)
_PATH = "/account/second-factor"
_PAGE, _NEW_APP = "accounts/second_factor.html", "accounts/new_app.html"


@blueprint.get(_PATH)
def index() -> ResponseReturnValue:
    kept = kept_form("factors.add_passkey")
    return factor_page(passkey=PasskeyForm(formdata=kept) if kept else None)


@blueprint.get(f"{_PATH}/app")
def new_app() -> ResponseReturnValue:
    return _app_page(totp.new_app(current_user, now=utcnow()))


@blueprint.post(f"{_PATH}/app")
def confirm_app() -> ResponseReturnValue:
    form, now = ConfirmAppForm(), utcnow()
    is_valid = form.validate()
    app = totp.reopen(current_user, form.secret.data or "", now=now)
    if app is None:
        flash(_("The set-up took too long. Start again."), "warning")
        return back()
    if not is_valid:
        return _app_page(app, form), 422
    try:
        codes = changing.confirm_app(current_user, app, form.code.data, network_of(request), now=now)
    except WrongCode:
        add_error(form, _("This is not the current code of the app. Wait for the next one."), form.code)
        return _app_page(app, form), 422
    except TooManyAttempts as error:
        return render_rate_limited(_NEW_APP, form, error, app=app)
    if not codes:
        flash(_("The app is set up. Your recovery codes still work."), "success")
        return back()
    return codes_page(codes)


@blueprint.post(f"{_PATH}/app/remove")
def remove_app() -> ResponseReturnValue:
    try:
        changing.remove_app(current_user, now=utcnow())
    except LastFactor:
        return factor_page(problem=last_factor()), 409
    flash(_("The authenticator app is removed."), "success")
    return back()


@blueprint.post(f"{_PATH}/recovery-codes")
def new_codes() -> ResponseReturnValue:
    codes = changing.new_codes(current_user, now=utcnow())
    return codes_page(codes) if codes else back()


def last_factor() -> str:
    """Return why the last factor cannot be removed."""
    return str(_("One of your programmes requires a second factor. Set up another one first."))


def factor_page(*, passkey: PasskeyForm | None = None, problem: str = "") -> str:
    """Render the page with a refused form, or with what was refused."""
    form = passkey or PasskeyForm(formdata=None, data={"name": this_device().name[:60]})
    return render_template(
        _PAGE,
        form=form,
        form_errors=bool(form.errors),
        factors=factors_of(current_user.id),
        amount=AMOUNT,
        problem=problem,
        programmes=_others() if current_user.lacks_factor else [],
    )


def _others() -> list[Programme]:
    """Return the person's other programmes, which a session can show while this one asks for a second factor."""
    return [one for one in programmes_of(current_user.id) if one.id != current_user.account_id]


def _app_page(app: NewApp, form: ConfirmAppForm | None = None) -> str:
    shown = form or ConfirmAppForm(formdata=None)
    shown.secret.data = app.sealed
    return render_template(_NEW_APP, form=shown, form_errors=bool(form), app=app)


def codes_page(codes: list[str]) -> str:
    """Show new recovery codes in this answer alone: nothing that is stored has them. The file is part of the page."""
    lines = "\r\n".join((f"Signet, recovery codes of {current_user.mailbox}", *codes, ""))
    file = f"data:text/plain;charset=utf-8,{quote(lines)}"
    return render_template("accounts/recovery_codes.html", codes=codes, file=file)


def back() -> ResponseReturnValue:
    return redirect(url_for(".index"), 303)
