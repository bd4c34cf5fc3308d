"""The page Sending domain under Settings."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import current_user

from ..clock import utcnow
from ..settings import versions
from ..settings.models import SmtpSettings, VersionState
from ..web.errors import ErrorPage, error_page
from . import checks, page
from .forms import SelectorForm

blueprint = Blueprint("domains", __name__)
PATH = "/settings/sending-domain"
_VERSION_PATH = f"{PATH}/versions/<int(max=999999):number>"
_TOO_MANY_CHECKS = ErrorPage(
    lazy_gettext("You have checked the domain too often this hour"),
    lazy_gettext("Each programme can check its domain thirty times an hour."),
    lazy_gettext(
        "Wait a while. You find the last results in Sending domain. Changes in the DNS take time to appear."
    ),
)


@blueprint.get(PATH)
def sending_domain() -> Any:
    return _page(request.args.get("version", type=int), SelectorForm(formdata=None))


@blueprint.post(f"{_VERSION_PATH}/check")
def check_again(number: int) -> Any:
    version = _version(number)
    try:
        checks.request_check(version, now=utcnow())
    except checks.TooManyChecks:
        return error_page(429, page=_TOO_MANY_CHECKS)
    return _back(version)


@blueprint.post(f"{_VERSION_PATH}/selectors")
def add_selector(number: int) -> Any:
    version, form = _version(number), SelectorForm()
    form.domain = version.domain
    if not form.validate():
        return _page(number, form, refused=True), 422
    try:
        checks.add_selectors(version, form.selectors, now=utcnow())
    except checks.TooManyChecks:
        return error_page(429, page=_TOO_MANY_CHECKS)
    return _back(version)


@blueprint.post(f"{_VERSION_PATH}/selectors/forget")
def remove_selector(number: int) -> Any:
    version = _version(number)
    try:
        checks.remove_selector(version, request.form.get("selector", ""), now=utcnow())
    except checks.TooManyChecks:
        return error_page(429, page=_TOO_MANY_CHECKS)
    flash(_("The selector is deleted."), "success")
    return _back(version)


def _version(number: int) -> SmtpSettings:
    found: SmtpSettings = versions.find(current_user.account_id, number) or abort(404)
    return found


def _back(version: SmtpSettings) -> Any:
    return redirect(url_for(".sending_domain", version=version.number, _anchor="domain"), 303)


def _page(number: int | None, form: SelectorForm, *, refused: bool = False) -> str:
    shown = page.build(current_user.account_id, number) or abort(404)
    # The URL contains the time: browsers do not load a URL that differs from the current one only in its fragment.
    refresh_url = url_for(".sending_domain", version=number, at=int(utcnow().timestamp()), _anchor="domain")
    return render_template(
        "domains/sending_domain.html",
        page=shown,
        form=form,
        refresh_url=refresh_url,
        form_errors=refused,
        State=VersionState,
    )
