"""The owner's own page: names, time zone, password, and the devices that are logged in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import abort, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from flask_login import current_user

from ..clock import utcnow
from ..web.translations import speaking
from . import profile as operations
from . import registration, sessions
from .access import renew_browser_session
from .forms import (
    FurtherProgrammeForm,
    LanguageForm,
    NamesForm,
    OwnZoneForm,
    PasswordForm,
    ShortcutsForm,
    TimeZoneForm,
    add_error,
)
from .login import TooManyAttempts, WrongCredentials
from .passwords import PasswordRefused
from .team import further
from .team.programmes import programmes_of
from .team.rights import Right
from .views import blueprint, link, render_rate_limited

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from ..web.fields import PortalForm

_PAGE = "accounts/profile.html"


@blueprint.get("/account")
def profile() -> ResponseReturnValue:
    return _page()


@blueprint.post("/account/names")
def change_names() -> ResponseReturnValue:
    form = NamesForm(with_programme=_may_rename_programme(), data=_saved_names())
    if not form.validate():
        return _page(names=form), 422
    programme = form.programme.data if _may_rename_programme() else None
    operations.change_names(current_user, programme=programme, name=form.name.data)
    flash(_("The names are saved."), "success")
    return redirect(url_for("accounts.profile"), 303)


@blueprint.post("/account/programmes")
def add_programme() -> ResponseReturnValue:
    form = FurtherProgrammeForm()
    if not form.validate():
        return _page(further=form), 422
    try:
        further.add_programme(current_user, form.further.data, now=utcnow())
    except TooManyAttempts as error:
        return render_rate_limited(_PAGE, form, error, **_context(further=form))
    except registration.RegistrationClosed:
        add_error(
            form, _("You cannot register a programme here at the moment. Ask the operator of this portal.")
        )
        return _page(further=form), 403
    except registration.RegistrationRefused as error:
        add_error(form, str(error), form.further)
        return _page(further=form), 422
    flash(_("%(programme)s is registered and shown now.", programme=form.further.data.strip()), "success")
    return redirect(url_for("home.show"), 303)


@blueprint.post("/account/time-zone")
def change_time_zone() -> ResponseReturnValue:
    form = TimeZoneForm(current_user.account.time_zone)
    if not form.validate():
        return _page(zone=form), 422
    operations.change_time_zone(current_user.account_id, form.time_zone.data)
    flash(_("The time zone is saved."), "success")
    return redirect(url_for("accounts.profile"), 303)


@blueprint.post("/account/own-time-zone")
def change_own_zone() -> ResponseReturnValue:
    form = OwnZoneForm(current_user.account.time_zone, current_user.own_zone)
    if not form.validate():
        return _page(own_zone=form), 422
    operations.change_own_zone(current_user.id, form.own_zone.data)
    flash(_("Your time zone is saved."), "success")
    return redirect(url_for("accounts.profile"), 303)


@blueprint.post("/account/shortcuts")
def switch_shortcuts() -> ResponseReturnValue:
    on = bool(ShortcutsForm().has_shortcuts.data)
    operations.switch_shortcuts(current_user.id, on=on)
    flash(_("Keyboard shortcuts are on.") if on else _("Keyboard shortcuts are off."), "success")
    return redirect(url_for("accounts.profile"), 303)


@blueprint.get("/account/shortcuts")
def shortcuts() -> ResponseReturnValue:
    return render_template("accounts/shortcuts.html")


@blueprint.post("/account/language")
def change_language() -> ResponseReturnValue:
    form = LanguageForm()
    if not form.validate():
        return _page(language=form), 422
    operations.change_language(current_user.id, form.language.data)
    with speaking(form.language.data):
        flash(_("The language is saved."), "success")
    return redirect(url_for("accounts.profile"), 303)


@blueprint.post("/account/password")
def change_password() -> ResponseReturnValue:
    form = PasswordForm()
    if not form.validate():
        return _page(password=form), 422
    try:
        token = operations.change_password(
            current_user,
            present=form.present_password.data,
            new=form.password.data,
            reset_link=link("accounts.forgot"),
            now=utcnow(),
        )
    except TooManyAttempts as error:
        return render_rate_limited(_PAGE, form, error, **_context(password=form))
    except WrongCredentials:
        add_error(form, _("This is not your current password."), form.present_password)
        return _page(password=form), 422
    except PasswordRefused as error:
        add_error(form, str(error), form.password)
        return _page(password=form), 422
    renew_browser_session(token)
    flash(_("Your password is changed, and all other devices are logged out."), "success")
    return redirect(url_for("accounts.profile"), 303)


@blueprint.post("/account/devices/<int:session_id>/log-out")
def log_out_device(session_id: int) -> ResponseReturnValue:
    if not sessions.end(current_user.id, session_id, now=utcnow()):
        abort(404)
    flash(_("That device is logged out."), "success")
    return redirect(url_for("accounts.profile"), 303)


@blueprint.post("/account/devices/log-out-others")
def log_out_others() -> ResponseReturnValue:
    count = sessions.end_others(current_user.id, current_user.session_id, now=utcnow())
    text = (
        ngettext("%(num)s other device is logged out.", "%(num)s other devices are logged out.", count)
        if count
        else _("No other device was logged in.")
    )
    flash(text, "success")
    return redirect(url_for("accounts.profile"), 303)


def _page(**refused: PortalForm) -> str:
    """Render the page; a refused form replaces the fresh one of its name in the template."""
    form = next(iter(refused.values()), None)
    return render_template(_PAGE, form_errors=bool(refused), form=form, **_context(**refused))


def _may_rename_programme() -> bool:
    return bool(current_user.may(Right.CONNECT))


def _saved_names() -> dict[str, str]:
    return {"programme": current_user.account.name, "name": current_user.name}


def _context(**refused: PortalForm) -> dict[str, object]:
    account, now = current_user.account, utcnow()
    chosen, own = {"time_zone": account.time_zone}, current_user.own_zone
    fresh: dict[str, object] = {
        "names": NamesForm(with_programme=_may_rename_programme(), formdata=None, data=_saved_names()),
        "zone": TimeZoneForm(account.time_zone, formdata=None, data=chosen),
        "own_zone": OwnZoneForm(account.time_zone, own, formdata=None, data={"own_zone": own}),
        "shortcuts": ShortcutsForm(formdata=None, data={"has_shortcuts": current_user.has_shortcuts}),
        "password": PasswordForm(formdata=None),
        "language": LanguageForm(formdata=None, data={"language": current_user.language}),
        "further": FurtherProgrammeForm(formdata=None) if further.may_add_programme(current_user) else None,
        "programmes": programmes_of(current_user.id) if current_user.programmes > 1 else [],
        "devices": sessions.devices(current_user.id, now=now),
        "new_since": now - sessions.NEW_FOR,
    }
    return fresh | refused
