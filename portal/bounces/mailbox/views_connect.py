"""The pages that connect the mailbox for bounces without a password: by consent, an app of Microsoft's, or a service account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import lazy_gettext as _
from flask_login import current_user
from wtforms import BooleanField

from ...accounts import access
from ...clock import utcnow
from ...oauth import consent, issuers
from ...oauth.exchange import exchange_lines
from ...oauth.grants import AppOnly
from ...oauth.models import Flow, Purpose
from ...settings.connecting import connect
from ...settings.connecting.views import GoogleForm, MicrosoftForm, show_errors, taken_key
from ...settings.connecting.views_consent import ConsentForm, page_values, sentences_of
from ...settings.validation import InvalidSettings
from ...web.fields import mailbox_field, required
from ...web.owner_limits import LimitReached
from . import connecting, saving

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...oauth.models import OAuthGrant

blueprint = Blueprint("connect_mailbox", __name__, url_prefix="/settings/bounces/mailbox/connect")
_WAY = "<any(microsoft, 'outlook-com', google, rehearsal):way>"
_NO_MAILBOX = _("Enter the mailbox that receives bounces.")


class ReadConsentForm(ConsentForm):
    """Mailbox and client of a consent to read."""

    mailbox = mailbox_field(_("Mailbox"), required(_NO_MAILBOX))
    is_shared = BooleanField(_("Another person, who has full access to this mailbox, signs in"))


class ReadAppForm(MicrosoftForm):
    """Mailbox and app of Microsoft's that reads it."""

    mailbox = mailbox_field(_("Mailbox"), required(_NO_MAILBOX))


class ReadServiceAccountForm(GoogleForm):
    """Mailbox of a Google Workspace, and the key of the service account that reads it."""

    mailbox = mailbox_field(_("Mailbox"), required(_NO_MAILBOX))


@blueprint.get(f"/{_WAY}")
def show(way: str) -> Any:
    known = _present_grant()
    values = {}
    if known is not None and known.flow is Flow.CONSENT and connecting.way_of(known) == way:
        values = {"mailbox": known.mailbox, "client_id": known.client_id, "tenant": known.tenant}
    return _consent_page(
        way, ReadConsentForm(formdata=access.kept_form("connect_mailbox.begin"), data=values)
    )


@blueprint.post(f"/{_WAY}")
def begin(way: str) -> Any:
    """Answer with a page that leads to the provider: a redirect to it would be blocked by ``form-action``."""
    chosen = _available(way)
    form = ReadConsentForm()
    if not form.validate():
        return _consent_page(way, form, refused=True), 422
    client = connect.OwnClient(form.client_id.data or "", form.client_secret.data or "")
    try:
        asked = connect.consent_request(
            chosen.id,
            mailbox=form.mailbox.data,
            tenant=form.tenant.data or "",
            client=client,
            is_shared=form.is_shared.data,
        )
        url = connecting.begin(current_user, asked, now=utcnow())
    except InvalidSettings as error:
        return _consent_page(way, form, error, refused=True), 422
    except LimitReached as error:
        return _consent_page(way, form, problem=str(error)), 429
    return render_template("connect/leave.html", url=url, name=chosen.name, mailbox=asked.mailbox, reads=True)


def finish(issuer: str, answer: Mapping[str, str]) -> Any:
    """Save the mailbox of a consent that came back; called by the callback of all consents."""
    try:
        connecting.finish(current_user, issuer, answer, now=utcnow())
    except consent.AlreadyConnected:
        pass  # the page shows the result of the first callback
    except consent.ConsentFailed as failed:
        return _failed(failed.attempt, str(failed))
    except consent.TokenRefused as refused:
        return _failed(refused.attempt, *sentences_of(refused))
    else:
        flash(str(_("The mailbox is connected. Signet is reading it now.")), "success")
    return redirect(url_for("bounce_mailbox.show"), 303)


@blueprint.get("/app")
def app() -> Any:
    known, values = _present_grant(), {}
    if known is not None and known.flow is Flow.APP_ONLY:
        values = {"mailbox": known.mailbox, "client_id": known.client_id, "tenant": known.tenant}
    return _app_page(ReadAppForm(formdata=access.kept_form("connect_mailbox.save_app"), data=values))


@blueprint.post("/app")
def save_app() -> Any:
    form = ReadAppForm()
    if "show_lines" in request.form:
        form.filter_only()
        return _app_page(form)
    if not form.validate():
        return _app_page(form, refused=True), 422
    values = AppOnly(form.mailbox.data, form.tenant.data, form.client_id.data, form.client_secret.data, None)
    try:
        connecting.connect_app(current_user, values, now=utcnow())
    except InvalidSettings as error:
        return _app_page(form, error, refused=True), 422
    except LimitReached as error:
        return _app_page(form, problem=str(error)), 429
    flash(str(_("The mailbox is saved. Signet is reading it now.")), "success")
    return redirect(url_for("bounce_mailbox.show"), 303)


@blueprint.get("/service-account")
def service_account() -> Any:
    known, values = _present_grant(), {}
    if known is not None and known.flow is Flow.SERVICE_ACCOUNT:
        values = {"mailbox": known.mailbox}
    kept = access.kept_form("connect_mailbox.save_service_account")
    return _service_account_page(ReadServiceAccountForm(formdata=kept, data=values))


@blueprint.post("/service-account")
def save_service_account() -> Any:
    form = ReadServiceAccountForm()
    key = taken_key(form)
    if not key:
        return _service_account_page(form, refused=True), 422
    try:
        connecting.connect_service_account(current_user, form.mailbox.data or "", key, now=utcnow())
    except InvalidSettings as error:
        return _service_account_page(form, error, refused=True), 422
    except LimitReached as error:
        return _service_account_page(form, problem=str(error)), 429
    flash(str(_("The mailbox is saved. Signet is reading it now.")), "success")
    return redirect(url_for("bounce_mailbox.show"), 303)


def _available(way: str) -> issuers.ConsentWay:
    return issuers.available_ways(Purpose.READ).get(f"{issuers.READ_PREFIX}{way}") or abort(404)


def _present_grant() -> OAuthGrant | None:
    mailbox = saving.find(current_user.account_id)
    return saving.grant_of(mailbox) if mailbox is not None else None


def _failed(attempt: Any, *sentences: str) -> Any:
    """Show why nothing was connected, with the form as it was filled in."""
    if attempt is None:
        flash(" ".join(sentences), "error")
        return redirect(url_for("bounce_mailbox.show"), 303)
    names = ("mailbox", "client_id", "tenant", "is_shared")
    form = ReadConsentForm(formdata=None, data={name: getattr(attempt, name) for name in names})
    return _consent_page(
        attempt.way.removeprefix(issuers.READ_PREFIX), form, problem=" ".join(sentences)
    ), 400


def _consent_page(
    way: str,
    form: ReadConsentForm,
    error: InvalidSettings | None = None,
    *,
    refused: bool = False,
    problem: str = "",
) -> str:
    values = page_values(_available(way), form)
    return render_template(
        "bounces/mailbox_consent.html",
        **values,
        way_id=way,
        provider=dict(connecting.ways())[way],
        loose_errors=show_errors(form, error),
        form_errors=refused,
        problem=problem,
    )


def _app_page(
    form: ReadAppForm, error: InvalidSettings | None = None, *, refused: bool = False, problem: str = ""
) -> str:
    lines = exchange_lines(form.client_id.data or "", form.object_id.data or "", form.mailbox.data or "")
    return render_template(
        "bounces/mailbox_app.html",
        form=form,
        lines=lines.imap,
        loose_errors=show_errors(form, error),
        form_errors=refused,
        problem=problem,
    )


def _service_account_page(
    form: ReadServiceAccountForm,
    error: InvalidSettings | None = None,
    *,
    refused: bool = False,
    problem: str = "",
) -> str:
    return render_template(
        "bounces/mailbox_service_account.html",
        form=form,
        loose_errors=show_errors(form, error),
        form_errors=refused,
        problem=problem,
    )
