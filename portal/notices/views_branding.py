"""Look of your emails: colour, logo, address, footer; and the logo itself, for those who read the mail."""

from __future__ import annotations

from typing import Any

from flask import Response, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from ..clock import utcnow
from ..web.headers import mail_page
from . import branding, colours, rendering
from .catalogue import CATALOGUE
from .forms import LookForm
from .rendering import clean_lines
from .views import blueprint, sender

_SHOWN = CATALOGUE["new-purchase"]  # it has a bit of everything
_YEAR = 31_536_000


@blueprint.get("/look")
@login_required
def look() -> Any:
    saved = branding.branding_of(current_user.account_id)
    form = LookForm(formdata=None)
    form.accent.data, form.address.data, form.footer.data = saved.accent, saved.address, saved.footer
    return _page(form)


@blueprint.post("/look")
@login_required
def save_look() -> Any:
    form = LookForm()
    if not form.validate():
        return _page(form, form_errors=True), 422
    file = form.logo.data
    typed = branding.BrandingInput(
        accent=form.accent.data,
        address=clean_lines(form.address.data or "").strip(),
        footer=clean_lines(form.footer.data or "").strip(),
        logo=file.read(branding.LOGO_LIMIT_BYTES + 1) if file else b"",
        remove_logo=bool(form.remove_logo.data),
    )
    try:
        note = branding.save_branding(current_user, typed, now=utcnow())
    except branding.InvalidBranding as refused:
        for name, sentence in refused.by_field.items():
            form[name].errors = [sentence]
        return _page(form, form_errors=True), 422
    flash("The look is saved. Every email leaves with it from now on.", "success")
    if note:
        flash(note, "warning")
    return redirect(url_for(".look"), 303)


@blueprint.get("/look/html")
@login_required
def look_html() -> Response:
    mail = rendering.render_sample(_SHOWN, current_user.account)
    return mail_page(colours.force_scheme(mail.html, dark=request.args.get("scheme") == "dark"))


@blueprint.get("/logo/<name>")
def logo(name: str) -> Response:
    """Answer with a logo. Its address is in mails, so anybody may ask, from any place, and keep it."""
    key, _, ending = name.rpartition(".")
    row = branding.find_logo(key)
    if row is None or ending != branding.LOGO_EXTENSIONS[row.media_type]:
        abort(404)
    response = Response(row.data, mimetype=row.media_type)
    response.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


def _page(form: LookForm, **more: object) -> str:
    saved = branding.branding_of(current_user.account_id)
    mail = rendering.render_sample(_SHOWN, current_user.account)
    return render_template("notices/look.html", form=form, saved=saved, mail=mail, sender=sender(), **more)
