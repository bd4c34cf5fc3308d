"""Settings -> Email Preferences."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from ..clock import utcnow
from ..notices import send_test as test_emails
from ..web.errors import error_page
from ..web.labels import FIELD_LABELS
from . import autodetect, deprecations, fixes, page, versions
from .forms import SmtpForm, shown_values
from .models import SmtpSettings, State

blueprint = Blueprint("settings", __name__)
PATH = "/settings/email-preferences"


@blueprint.get("/")
def home() -> Any:
    return redirect(url_for(".email_preferences"))


@blueprint.get(PATH)
@login_required
def email_preferences() -> Any:
    version = versions.newest(current_user.account_id)
    form = SmtpForm(formdata=None, data=shown_values(version) if version else {})
    if request.args.get("provider"):
        form.provider.data = request.args["provider"]
    return _page(form)


@blueprint.get(f"{PATH}/help")
@login_required
def provider_help() -> Any:
    """The form's hints for one provider, for the page's script."""
    form = SmtpForm(formdata=None, data={"provider": request.args.get("provider")})
    return _page(form)


@blueprint.post(PATH)
@login_required
def save() -> Any:
    form = SmtpForm()
    provider = form.prepare()
    if _asks_for_a_guess(form):
        return _find(form)
    filled = form.fill_from_provider(provider)
    if "use_provider" in request.form:
        flash(
            f"Filled in for you: {'; '.join(filled)}." if filled else "Your own entries stay as they are.",
            "info",
        )
        return _page(form)
    if not form.validate():
        return _page(form, refused=True), 422
    try:
        versions.save_draft(current_user, _typed(form), now=utcnow())
    except versions.SettingsRefused as refused:
        return _refuse(form, refused), 422
    if filled:
        flash(f"Filled in for you: {'; '.join(filled)}.", "info")
    return redirect(url_for(".email_preferences", _anchor="check"), 303)


@blueprint.post(f"{PATH}/versions/<int(max=999999):number>/<deed>")
@login_required
def version_deed(number: int, deed: str) -> Any:
    version = versions.find(current_user.account_id, number) or abort(404)
    act = _DEEDS.get(deed) or abort(404)
    try:
        said = act(version)
    except versions.SettingsRefused as refused:
        flash(" ".join(refused.errors.values()), "danger")
    else:
        flash(said, "success")
    return redirect(url_for(".email_preferences", _anchor="check"), 303)


@blueprint.post(f"{PATH}/stop")
@login_required
def stop() -> Any:
    versions.stop_using(current_user.account_id, now=utcnow())
    flash("Custom SMTP is no longer used. Emails leave through the platform's sender.", "success")
    return redirect(url_for(".email_preferences"), 303)


@blueprint.post(f"{PATH}/test")
@login_required
def send_test() -> Any:
    try:
        message = test_emails.send(current_user, now=utcnow())
    except test_emails.TooManyTests:
        return error_page(429, page=page.TOO_MANY_TESTS)
    return redirect(url_for(".email_preferences", test=message.id, _anchor="test"), 303)


def _check_again(version: SmtpSettings) -> str:
    versions.check_again(current_user, version, now=utcnow())
    return f"Version {version.number} is being checked."


def _without_spaces(version: SmtpSettings) -> str:
    versions.read_without_spaces(current_user, version, now=utcnow())
    return "The password is now read without its spaces and is being checked."


def _activate(version: SmtpSettings) -> str:
    versions.activate_anyway(version, now=utcnow())
    return f"Version {version.number} is live, although it is not proven."


def _apply(version: SmtpSettings) -> str:
    mended = fixes.apply(current_user, version, now=utcnow())
    return f"The fix is saved as version {mended.number} and is being checked."


_DEEDS = {"apply": _apply, "check": _check_again, "without-spaces": _without_spaces, "activate": _activate}


def _asks_for_a_guess(form: SmtpForm) -> bool:
    """Whether Find my settings was chosen, or Enter pressed in its field: without a server there is no save."""
    entered = bool(form.address.data) and not form.host.data and "use_provider" not in request.form
    return "find_settings" in request.form or entered


def _find(form: SmtpForm) -> Any:
    """Show the form with what an address alone tells, in the fields that are still empty."""
    if not form.judge_address_alone():
        return _page(form, refused=True), 422
    try:
        found = autodetect.guess(current_user, form.address.data, now=utcnow())
    except autodetect.NoGuess as nothing:
        form.address.errors = [str(nothing)]
        return _page(form, refused=True), 422
    filled = form.fill_from_guess(found)
    said = f"Filled in for you: {'; '.join(filled)}." if filled else "Your own entries stay as they are."
    flash(" ".join(filter(None, [found.source, said, found.warning])), "warning" if found.warning else "info")
    return _page(form)


def _typed(form: SmtpForm) -> versions.Typed:
    values = {name: getattr(form, name).data or "" for name in versions.Typed.__dataclass_fields__}
    return versions.Typed(**values)


def _refuse(form: SmtpForm, refused: versions.SettingsRefused) -> str:
    loose = []
    for name, sentence in refused.errors.items():
        field = getattr(form, name, None) if name else None
        if field is None:
            loose.append({"text": sentence})
        else:
            field.errors = [*field.errors, sentence]
    return _page(form, refused=True, loose_errors=loose)


def _refresh_url(shown: page.Page) -> str:
    """Where a page without script looks again. A new address each time: one that differs in nothing but its
    fragment would not be loaded at all."""
    at = int(utcnow().timestamp())
    if shown.test is not None and not shown.checking:
        return url_for(".email_preferences", test=shown.test.message_id, at=at, _anchor="test")
    return url_for(".email_preferences", at=at, _anchor="check")


def _page(form: SmtpForm, *, refused: bool = False, loose_errors: list[dict[str, str]] | None = None) -> str:
    provider = form.prepare()
    shown = page.build(current_user, test=request.args.get("test"))
    if not refused and shown.fault:
        field, sentence = shown.fault
        form[field].errors = [sentence]
    return render_template(
        "settings/email_preferences.html",
        form=form,
        provider=provider,
        page=shown,
        refresh_url=_refresh_url(shown),
        help=page.hints(provider),
        endings=deprecations.of_provider(provider),
        labels=FIELD_LABELS,
        saved_password=shown.newest.password_saved_at if shown.newest else None,
        loose_errors=loose_errors or [],
        form_errors=refused,
        State=State,
    )
