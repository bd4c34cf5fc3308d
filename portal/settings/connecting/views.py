"""The pages Connect: log in to a provider without a password."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import lazy_gettext as _
from flask_login import current_user
from flask_wtf.file import FileField
from wtforms import DateField, PasswordField, TextAreaField
from wtforms.validators import Optional, ValidationError

from ...accounts import access
from ...clock import utcnow
from ...oauth import grants
from ...oauth.exchange import exchange_lines
from ...oauth.service_account import MAX_KEY_CHARS
from ...web.fields import PortalForm, mailbox_field, max_length, required, stripped, text_field
from ..checking.check_requests import CheckLimitReached
from ..validation import InvalidSettings
from . import connect

_DELETE_THERE = {
    "microsoft-365": _(
        "Delete the client secret at Microsoft, too: Entra admin center, App registrations, Certificates & secrets."
    ),
    "consent:microsoft": _(
        "Withdraw the permission at Microsoft, too: myapps.microsoft.com, or Entra admin center, Enterprise applications."
    ),
    "consent:outlook-com": _("Withdraw the permission at Microsoft, too: account.live.com/consent/Manage."),
    "consent:rehearsal": _("In the rehearsal there is no permission to withdraw."),
    "consent:google": _(
        "Check at myaccount.google.com/connections that the permission is withdrawn there too."
    ),
    "google-workspace": _(
        "Delete the key at Google, too: Google Cloud console, IAM & Admin, Service accounts, Keys."
    ),
}
blueprint = Blueprint("connect", __name__, url_prefix="/settings/connect")


def printable(_form: Any, field: Any) -> None:
    """Reject a client secret with characters that Microsoft's never have, such as a line break from pasting."""
    if field.data and not (field.data.isascii() and field.data.isprintable() and " " not in field.data):
        raise ValidationError(_("The secret contains a space or a line break. Copy its Value again."))


class MicrosoftForm(PortalForm):
    """*Microsoft 365, app-only*."""

    mailbox = mailbox_field(_("Mailbox"), required(_("Enter the mailbox that sends your emails.")))
    tenant = text_field(
        _("Directory (tenant) ID"), required(_("Enter the Directory (tenant) ID.")), limit=253
    )
    client_id = text_field(
        _("Application (client) ID"), required(_("Enter the Application (client) ID.")), limit=64
    )
    client_secret = PasswordField(
        _("Client secret"),
        validators=[required(_("Enter the Value of the client secret.")), printable, max_length(400)],
        filters=[stripped],
    )
    secret_expires_on = DateField(_("Expires"), validators=[Optional()], format=["%Y-%m-%d"], description="")
    object_id = text_field(_("Object ID of the enterprise application"), Optional(), limit=64)


class GoogleForm(PortalForm):
    """*Google Workspace, service account*."""

    mailbox = mailbox_field(_("Mailbox"), required(_("Enter the mailbox that sends your emails.")))
    key = TextAreaField(_("Key"), validators=[Optional(), max_length(MAX_KEY_CHARS)])
    key_file = FileField(_("Or the key file"), validators=[Optional()])


@blueprint.get("")
def index() -> Any:
    return render_template("connect/index.html", ways=connect.consent_ways())


@blueprint.get("/microsoft-365")
def microsoft() -> Any:
    known = connect.present_connection(current_user.account_id)
    again = known if known and known.way == "microsoft-365" else None
    values = {"tenant": again.tenant, "client_id": again.client, "mailbox": again.mailbox} if again else {}
    return _microsoft_page(MicrosoftForm(formdata=access.kept_form("connect.save_microsoft"), data=values))


@blueprint.post("/microsoft-365")
def save_microsoft() -> Any:
    form = MicrosoftForm()
    if "show_lines" in request.form:
        form.filter_only()
        return _microsoft_page(form)
    if not form.validate():
        return _microsoft_page(form, refused=True), 422
    values = grants.AppOnly(
        form.mailbox.data,
        form.tenant.data,
        form.client_id.data,
        form.client_secret.data,
        form.secret_expires_on.data,
    )
    try:
        connect.connect_microsoft(current_user, values, now=utcnow())
    except InvalidSettings as error:
        return _microsoft_page(form, error, refused=True), _status(error)
    return _to_the_check()


@blueprint.get("/google-workspace")
def google() -> Any:
    known = connect.present_connection(current_user.account_id)
    again = known if known and known.way == "google-workspace" else None
    values = {"mailbox": again.mailbox} if again else {}
    return _google_page(GoogleForm(formdata=access.kept_form("connect.save_google"), data=values))


@blueprint.post("/google-workspace")
def save_google() -> Any:
    form = GoogleForm()
    key = taken_key(form)
    if not key:
        return _google_page(form, refused=True), 422
    try:
        connect.connect_google(current_user, form.mailbox.data, key, now=utcnow())
    except InvalidSettings as error:
        return _google_page(form, error, refused=True), _status(error)
    return _to_the_check()


@blueprint.post("/<int(max=999999999999):grant_id>/disconnect")
def disconnect(grant_id: int) -> Any:
    grant = grants.find(current_user.account_id, grant_id) or abort(404)
    shown = connect.view(grant)
    connect.disconnect(current_user, grant, now=utcnow())
    done = _("%(mailbox)s is disconnected, and Signet has deleted its secret.", mailbox=shown.mailbox)
    where = _DELETE_THERE[shown.way]
    flash(f"{done} {where}", "success")
    return redirect(url_for("settings.email_preferences"), 303)


def _status(error: InvalidSettings) -> int:
    return 429 if isinstance(error, CheckLimitReached) else 422


def taken_key(form: GoogleForm) -> str:
    """Validate a submitted form; return its key, and take it out of the form. Empty if the form is refused."""
    key = _key_text(form)
    valid = form.validate()
    form.key.data = ""  # a private key is never shown again
    if valid and not key:
        form.key.errors = [_("Paste the JSON key, or choose its file.")]
    return key if valid else ""


def _key_text(form: GoogleForm) -> str:
    """Return the pasted key, else the content of the uploaded file."""
    if form.key.data and form.key.data.strip():
        return str(form.key.data).strip()
    if not form.key_file.data:
        return ""
    content: bytes = form.key_file.data.read(4 * MAX_KEY_CHARS)
    return content.decode("utf-8", "replace").strip()


def _to_the_check() -> Any:
    return redirect(url_for("settings.email_preferences", _anchor="check"), 303)


def _microsoft_page(
    form: MicrosoftForm, error: InvalidSettings | None = None, *, refused: bool = False
) -> str:
    lines = exchange_lines(form.client_id.data or "", form.object_id.data or "", form.mailbox.data or "")
    return render_template(
        "connect/microsoft.html",
        form=form,
        lines=lines,
        loose_errors=show_errors(form, error),
        form_errors=refused,
    )


def _google_page(form: GoogleForm, error: InvalidSettings | None = None, *, refused: bool = False) -> str:
    return render_template(
        "connect/google.html", form=form, loose_errors=show_errors(form, error), form_errors=refused
    )


def show_errors(form: PortalForm, error: InvalidSettings | None) -> list[dict[str, str]]:
    """Put errors beside their fields; return those of other fields, such as the sender's domain."""
    loose = []
    for name, sentence in error.errors.items() if error else ():
        field = getattr(form, "mailbox" if name in {"domain", "wrapped_user", "username"} else name, None)
        if field is None:
            loose.append({"text": sentence})
        else:
            field.errors = [*field.errors, sentence]
    return loose
