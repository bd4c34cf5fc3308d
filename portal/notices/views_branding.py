"""The branding page: colour, logo, address and footer; and the public address of the logo."""

from __future__ import annotations

from typing import Any

from flask import Response, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_login import current_user

from .. import pictures
from ..clock import utcnow
from ..web.headers import mail_page
from . import branding, colours, rendering, texts
from .catalogue import CATALOGUE
from .forms import BrandingForm
from .rendering import clean_lines
from .views import blueprint, current_sender

_EXAMPLE = CATALOGUE["new-purchase"]  # its text has a figure, a table and a button
_YEAR_S = 31_536_000


@blueprint.get("/look")
def branding_page() -> Any:
    saved = branding.branding_of(current_user.account_id)
    form = BrandingForm(formdata=None)
    form.accent.data, form.address.data, form.footer.data = saved.accent, saved.address, saved.footer
    form.without_address.data = not saved.address and branding.is_address_settled(current_user.account_id)
    return _page(form)


@blueprint.post("/look")
def save_branding() -> Any:
    form = BrandingForm()
    if not form.validate():
        return _page(form, form_errors=True), 422
    try:
        logo = pictures.read_upload(form.logo.data or None)
    except pictures.InvalidPicture as error:
        form.logo.errors = [str(error)]
        return _page(form, form_errors=True), 422
    entered = branding.BrandingInput(
        accent=form.accent.data,
        address=clean_lines(form.address.data or "").strip(),
        footer=clean_lines(form.footer.data or "").strip(),
        logo=logo,
        remove_logo=bool(form.remove_logo.data),
        without_address=bool(form.without_address.data),
    )
    try:
        note = branding.save_branding(current_user, entered, now=utcnow())
    except branding.InvalidBranding as error:
        for name, sentence in error.by_field.items():
            form[name].errors = [sentence]
        return _page(form, form_errors=True), 422
    flash(gettext("The design is saved. Your emails now use it."), "success")
    if note:
        flash(note, "warning")
    return redirect(url_for(".branding_page"), 303)


@blueprint.get("/look/html")
def branding_preview() -> Response:
    mail = _sample()
    return mail_page(colours.force_scheme(mail.html, dark=request.args.get("scheme") == "dark"))


@blueprint.get("/logo/<name>")
def logo(name: str) -> Response:
    """Return a logo. Emails load it, so it needs no login, may be embedded by any site and is cached for a year."""
    key, _, extension = name.rpartition(".")
    row = branding.find_logo(key)
    if row is None or extension != pictures.EXTENSIONS[row.media_type]:
        abort(404)
    response = Response(row.data, mimetype=row.media_type)
    response.headers["Cache-Control"] = f"public, max-age={_YEAR_S}, immutable"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


def _sample() -> rendering.RenderedEmail:
    """Render the example with the saved look, also while it waits for the approval of the account."""
    text = texts.current_text(current_user.account, _EXAMPLE)
    return rendering.render_sample(_EXAMPLE, current_user.account, text=text)


def _page(form: BrandingForm, **more: object) -> str:
    saved = branding.branding_of(current_user.account_id)
    mail = _sample()
    return render_template(
        "notices/branding.html", form=form, saved=saved, mail=mail, sender=current_sender(), **more
    )
