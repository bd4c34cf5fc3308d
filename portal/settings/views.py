"""Pages under Settings, Email Preferences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, abort, flash, redirect, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from flask_login import current_user

from ..clock import utcnow
from ..notices import send_test as test_emails
from ..web.errors import error_page
from ..web.owner_limits import LimitReached
from ..web.translations import translated
from . import (
    autodetect,
    check,
    credentials,
    domain_proof,
    fixes,
    page,
    provider_values,
    routing,
    versions,
)
from .checking import check_requests
from .forms import RecipientForm, SmtpForm
from .models import CheckState
from .validation import InvalidSettings
from .views_page import (
    is_guided,
    page_url,
    refused_page,
    render_page,
    saved_form,
    submitted_form,
)

if TYPE_CHECKING:
    from .models import SmtpSettings

blueprint = Blueprint("settings", __name__)
PATH = "/settings/email-preferences"


@blueprint.get(PATH)
def email_preferences() -> Any:
    form = saved_form(request.args.get("from", ""))
    if request.args.get("provider"):
        form.provider.data = request.args["provider"]
    return render_page(form)


@blueprint.route(f"{PATH}/help", methods=["GET", "POST"])
def provider_help() -> Any:
    """Return the page with the hints of one provider, which its script copies.

    The script posts the values that the hints depend on, never the password.
    """
    if request.method == "GET":
        return render_page(SmtpForm(formdata=None, data={"provider": request.args.get("provider")}))
    form = SmtpForm()
    form.take_host_apart()  # the hints are about the server that saving will find in what was pasted
    return render_page(form)


@blueprint.post(PATH)
def save() -> Any:
    form = submitted_form()
    provider = form.prepare()
    if apart := form.take_host_apart():
        flash(apart, "info")
    if "use_values" in request.form:
        form.apply(provider_values.decode(request.form["use_values"]))
        flash(_("We filled in the values. Nothing is saved yet."), "info")
        return render_page(form)
    if _wants_suggestion(form):
        return _suggest(form)
    if is_guided():
        form.fill_sender(provider)
        form.log_in_with_username()
    filled = form.fill_from_provider(provider)
    if "use_provider" in request.form:
        flash(
            _("We filled in: %(fields)s.", fields="; ".join(filled))
            if filled
            else _("What you entered is unchanged."),
            "info",
        )
        return render_page(form)
    if not form.validate():
        _add_missing_password(form)
        return render_page(form, refused=True), 422
    try:
        versions.save_draft(current_user, form.as_input(), now=utcnow())
    except InvalidSettings as error:
        return refused_page(form, error), 429 if isinstance(error, check_requests.CheckLimitReached) else 422
    if filled and not is_guided():
        flash(_("We filled in: %(fields)s.", fields="; ".join(filled)), "info")
    return redirect(page_url(anchor="check"), 303)


@blueprint.post(f"{PATH}/versions/<int(max=999999):number>/<action>")
def version_action(number: int, action: str) -> Any:
    version = versions.find(current_user.account_id, number) or abort(404)
    apply = _ACTIONS.get(action) or abort(404)
    try:
        message = apply(version)
    except check_requests.CheckLimitReached:
        return error_page(429, page=page.TOO_MANY_CHECKS)
    except InvalidSettings as error:
        flash(" ".join(error.errors.values()), "danger")
    else:
        flash(message, "success")
    return redirect(page_url(anchor="check"), 303)


@blueprint.post(f"{PATH}/versions/<int(max=999999):number>/prove-domain")
def prove_domain(number: int) -> Any:
    """Look for the record of the version's domain. The form is submitted with it, so that what was typed stays there."""
    version = versions.find(current_user.account_id, number) or abort(404)
    form = submitted_form() if "host" in request.form else saved_form("")
    try:
        found = domain_proof.look_up(version, now=utcnow())
    except LimitReached as error:
        flash(str(error), "warning")
        return render_page(form), 429
    if found is not domain_proof.Lookup.FOUND:
        flash(domain_proof.sentence(found, version.domain), "warning")
    elif check.activate_after_proof(version, now=utcnow()):
        values = {"number": version.number, "sender": version.sender}
        flash(
            _("We found the record. Version %(number)d is live: emails are sent as %(sender)s.", **values),
            "success",
        )
    elif version.waits_for_person:
        flash(
            _(
                "We found the record. Review version %(number)d, then use it.",
                number=version.number,
            ),
            "success",
        )
    elif check.is_unfinished(version):
        flash(
            _(
                "We found the record. Version %(number)d goes live when it passes its check.",
                number=version.number,
            ),
            "success",
        )
    else:
        flash(
            _(
                "We found the record. Check version %(number)d again. It goes live when it passes the check.",
                number=version.number,
            ),
            "success",
        )
    return render_page(form)


@blueprint.post(f"{PATH}/stop")
def stop() -> Any:
    versions.stop_using(current_user.account_id, now=utcnow())
    flash(_("Signet no longer uses your custom SMTP settings."), "success")
    return redirect(url_for(".email_preferences"), 303)


@blueprint.post(f"{PATH}/check/stop")
def stop_check() -> Any:
    if check_requests.stop_checks(current_user.account_id, now=utcnow()):
        flash(_("The check is stopped."), "success")
    else:
        flash(_("The check had already ended."), "info")
    return redirect(page_url(anchor="check"), 303)


@blueprint.post(f"{PATH}/drafts/discard")
def discard_drafts() -> Any:
    count = versions.discard_drafts(current_user.account_id, now=utcnow())
    if count:
        flash(ngettext("The draft is discarded.", "%(num)s drafts are discarded.", count), "success")
    return redirect(url_for(".email_preferences"), 303)


@blueprint.post(f"{PATH}/test")
def send_test() -> Any:
    form = RecipientForm()
    if not form.validate():
        return render_page(saved_form(""), test_form=form), 422
    recipient = form.recipient.data if routing.sends_by_own_server(current_user.account_id) else ""
    try:
        message = test_emails.send(current_user, now=utcnow(), recipient=recipient or "")
    except test_emails.TooManyTests:
        return error_page(429, page=page.TOO_MANY_TESTS)
    return redirect(url_for(".email_preferences", test=message.id, _anchor="test"), 303)


def _check_again(version: SmtpSettings) -> str:
    versions.check_again(current_user, version, now=utcnow())
    return _("Version %(number)s is being checked.", number=version.number)


def _strip_spaces(version: SmtpSettings) -> str:
    versions.strip_password_spaces(current_user, version, now=utcnow())
    return _("We removed the spaces from the password. The check is running.")


def _force_activate(version: SmtpSettings) -> str:
    check_of = check_requests.latest_check(version)
    has_passed = check_of is not None and check_of.state is CheckState.PASSED
    versions.force_activate(version, now=utcnow())
    if has_passed:
        values = {"number": version.number, "sender": version.sender}
        return str(_("Version %(number)d is live: emails are sent as %(sender)s.", **values))
    return _("Version %(number)s is live, although it has not passed its check.", number=version.number)


def _apply_fix(version: SmtpSettings) -> str:
    fixed = fixes.apply(current_user, version, now=utcnow())
    return _("The fix is saved as version %(number)s and is being checked.", number=fixed.number)


def _send_as_mailbox(version: SmtpSettings) -> str:
    fixed = fixes.send_as_mailbox(current_user, version, now=utcnow())
    return str(
        _(
            "Version %(number)d sends as %(sender)s and is being checked.",
            number=fixed.number,
            sender=fixed.sender,
        )
    )


_ACTIONS = {
    "own-mailbox": _send_as_mailbox,
    "apply": _apply_fix,
    "check": _check_again,
    "without-spaces": _strip_spaces,
    "activate": _force_activate,
}


def _wants_suggestion(form: SmtpForm) -> bool:
    """Whether Find my settings was pressed, or Enter in its field: without a server the form cannot be saved."""
    entered = bool(form.address.data) and not form.host.data and "use_provider" not in request.form
    return "find_settings" in request.form or entered


def _suggest(form: SmtpForm) -> Any:
    """Show the form with suggested values in the fields that are still empty."""
    if not form.validate_address_only():
        return render_page(form, refused=True), 422
    try:
        suggestion = autodetect.suggest(current_user, form.address.data, now=utcnow())
    except (autodetect.NoSuggestion, LimitReached) as error:
        form.address.errors = [str(error)]
        return render_page(form, refused=True), 429 if isinstance(error, LimitReached) else 422
    filled = form.fill_from_suggestion(suggestion)
    outcome = (
        _("We filled in: %(fields)s.", fields="; ".join(filled))
        if filled
        else _("What you entered is unchanged.")
    )
    sentences = filter(None, [translated(suggestion.source), outcome, translated(suggestion.warning)])
    flash(" ".join(sentences), "warning" if suggestion.warning else "info")
    return render_page(form, offer=provider_values.offer_of_suggestion(suggestion, form.values()))


def _add_missing_password(form: SmtpForm) -> None:
    """Name a missing password together with the other missing fields, not after them."""
    values = form.as_input()
    missing = credentials.missing_password(values, versions.base_of(current_user.account_id, values.based_on))
    if missing:
        form.password.errors = [*form.password.errors, missing]
