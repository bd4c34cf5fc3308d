"""The pages Connect by consent: the form, the page that leads to the provider, and the callback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import lazy_gettext as _
from flask_login import current_user
from wtforms import BooleanField, DateField, PasswordField
from wtforms.validators import Optional, ValidationError

from ...accounts import access
from ...clock import utcnow
from ...oauth import consent, issuers, redirects
from ...smtp.diagnosis.diagnose import diagnose
from ...smtp.server import Security, Server
from ...web.fields import PortalForm, mailbox_field, max_length, required, stripped, text_field
from .. import providers
from ..checking.check_requests import CheckLimitReached
from ..validation import InvalidSettings
from . import connect
from .views import printable, show_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

blueprint = Blueprint("consent", __name__)
_WAY = "<any(microsoft, 'outlook-com', google, rehearsal):way>"


def not_over(_form: Any, day: Any) -> None:
    """Reject the day of a client secret that has expired."""
    if day.data is not None and day.data < utcnow().date():
        raise ValidationError(_("This date has passed, so the secret no longer works. Create a new one."))


class ConsentForm(PortalForm):
    """Mailbox and client of a consent."""

    mailbox = mailbox_field(_("Mailbox"), required(_("Enter the mailbox that sends your emails.")))
    is_shared = BooleanField(_("Another person, who may send as this mailbox, signs in"))
    tenant = text_field(_("Directory (tenant) ID"), Optional(), limit=253)
    client_id = text_field(_("Client ID"), Optional(), limit=254)
    client_secret = PasswordField(
        _("Client secret"), validators=[Optional(), printable, max_length(400)], filters=[stripped]
    )
    secret_expires_on = DateField(_("Expires"), validators=[Optional(), not_over], format=["%Y-%m-%d"])


@blueprint.get(f"/settings/connect/by-consent/{_WAY}")
def show(way: str) -> Any:
    known = connect.present_connection(current_user.account_id)
    again = known if known and known.way == f"consent:{way}" else None
    values = {}
    if again:
        values = {"mailbox": again.mailbox, "client_id": again.client, "tenant": again.tenant}
    return _page(way, ConsentForm(formdata=access.kept_form("consent.begin"), data=values))


@blueprint.post(f"/settings/connect/by-consent/{_WAY}")
def begin(way: str) -> Any:
    """Answer with a page that leads to the provider: a redirect to it would be blocked by ``form-action``."""
    _available(way)
    form = ConsentForm()
    if not form.validate():
        return _page(way, form, refused=True), 422
    try:
        asked = connect.consent_request(
            way,
            mailbox=form.mailbox.data,
            tenant=form.tenant.data or "",
            client=connect.OwnClient(
                form.client_id.data or "", form.client_secret.data or "", form.secret_expires_on.data
            ),
            is_shared=form.is_shared.data,
        )
    except InvalidSettings as error:
        return _page(way, form, error, refused=True), 422
    try:
        url = connect.begin_consent(current_user, current_user, asked, now=utcnow())
    except CheckLimitReached as error:
        return _page(way, form, error, refused=True), 429
    return render_template("connect/leave.html", url=url, name=issuers.WAYS[way].name, mailbox=asked.mailbox)


@blueprint.get("/oauth/callback/<any(microsoft, google, rehearsal):issuer>")
def callback(issuer: str) -> Any:
    """Take the answer of the provider, to which it sends the browser with GET."""
    answer = {name: request.args[name] for name in ("state", "code", "error", "iss") if name in request.args}
    return redirects.finish_for(consent.purpose_of(answer.get("state", "")))(issuer, answer)


def finish(issuer: str, answer: Mapping[str, str]) -> Any:
    """Save the connection of a consent to send, and lead to its check."""
    try:
        connect.finish_consent(current_user, current_user, issuer, answer, now=utcnow())
    except consent.AlreadyConnected:
        flash(str(_("You have already made this connection. Here is its result.")), "info")
    except consent.ConsentFailed as failed:
        return _failed(failed.attempt, str(failed))
    except consent.TokenRefused as refused:
        return _failed(refused.attempt, *sentences_of(refused))
    except InvalidSettings as error:
        return _failed(None, *error.errors.values())
    return redirect(url_for("settings.email_preferences", _anchor="check"), 303)


def _available(way: str) -> issuers.ConsentWay:
    return issuers.available_ways().get(way) or abort(404)


def sentences_of(refused: consent.TokenRefused) -> list[str]:
    """Return cause and fixes of a refused code."""
    way = issuers.WAYS[refused.attempt.way]
    card = providers.by_id(way.card)
    server = Server(card.hosts[0].name, 587, Security.STARTTLS, username=refused.attempt.mailbox)
    found = diagnose(refused.failure, server, card)
    return [found.cause, *found.fixes]


def _failed(attempt: Any, *sentences: str) -> Any:
    """Show why nothing was connected, with the form as it was filled in; without an attempt, the ways to connect."""
    if attempt is None:
        return render_template(
            "connect/index.html",
            ways=connect.consent_ways(),
            problem=" ".join(sentences),
        ), 400
    values = {
        "mailbox": attempt.mailbox,
        "client_id": attempt.client_id,
        "tenant": attempt.tenant,
        "is_shared": attempt.is_shared,
        "secret_expires_on": consent.secret_expiry(attempt),
    }
    form = ConsentForm(formdata=None, data=values)
    return _page(attempt.way, form, problem=" ".join(sentences)), 400


def _page(
    way: str,
    form: ConsentForm,
    error: InvalidSettings | None = None,
    *,
    refused: bool = False,
    problem: str = "",
) -> str:
    values = page_values(_available(way), form)
    return render_template(
        "connect/consent.html",
        **values,
        loose_errors=show_errors(form, error),
        form_errors=refused,
        problem=problem,
    )


def page_values(way: issuers.ConsentWay, form: ConsentForm) -> dict[str, Any]:
    """Return what a page of a consent shows of its form and issuer.

    Fields of the form become empty where they hold what the operator or the way sets.
    """
    if form.tenant.data == way.tenant:
        form.tenant.data = ""
    client = issuers.operators_client(way.issuer)
    if client is not None and form.client_id.data == client.id:
        form.client_id.data = ""
    return {
        "form": form,
        "way": way,
        "has_operators_client": client is not None,
        "redirect_uri": redirects.redirect_uri(way.issuer),
        "redirect_problem": redirects.problem(way.issuer, urlsplit(request.host_url).hostname or ""),
    }
