"""Pages of the incident policy: alerts and the webhook, the failure policy, and sending limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import flash, make_response, redirect, render_template, url_for
from flask_babel import gettext as _
from flask_login import current_user

from ..accounts import access
from ..accounts.team.rights import Right
from ..clock import utcnow
from ..notices import recipients
from ..outbox import rate_limits
from ..settings import providers
from ..settings.routing import live_version
from ..state import current_config
from . import forms, policy, webhooks
from .views import blueprint, flash_result

if TYPE_CHECKING:
    from ..smtp.providers import Provider


@blueprint.get("/alerts")
def alerts() -> Any:
    chosen = policy.get(current_user.account_id)
    url = chosen.webhook_url
    if url and not current_user.may(Right.CONNECT):
        url = f"https://{urlsplit(url).hostname}/…"  # what follows the host is often a secret
    kept = access.kept_form("incidents.save_webhook")
    return _alerts(forms.WebhookForm(formdata=kept, data={"url": url}))


@blueprint.post("/alerts/mail/<any(on,off):state>")
def alerts_by_mail(state: str) -> Any:
    policy.set_email_alerts(current_user.account_id, on=state == "on")
    flash(_("Alerts by email are on.") if state == "on" else _("Alerts by email are off."), "success")
    return redirect(url_for(".alerts"), 303)


@blueprint.post("/alerts/webhook/messages/<any(on,off):state>")
def message_events(state: str) -> Any:
    policy.set_message_events(current_user.account_id, on=state == "on")
    flash(
        _("The webhook now also gets events about emails.")
        if state == "on"
        else _("The webhook now gets only events about incidents."),
        "success",
    )
    return redirect(url_for(".alerts", _anchor="hook-title"), 303)


@blueprint.post("/alerts/webhook")
def save_webhook() -> Any:
    form = forms.WebhookForm()
    if not form.validate():
        return _alerts(form, refused=True), 422
    saved = policy.save_webhook(current_user.account_id, form.url.data or "")
    return _with_secret(saved, form)


@blueprint.post("/alerts/webhook/secret")
def renew_secret() -> Any:
    saved = policy.renew_webhook_secret(current_user.account_id)
    if saved is None:
        return redirect(url_for(".alerts"), 303)
    return _with_secret(
        saved, forms.WebhookForm(formdata=None, data={"url": policy.get(current_user.account_id).webhook_url})
    )


@blueprint.post("/alerts/webhook/stop")
def remove_webhook() -> Any:
    policy.remove_webhook(current_user.account_id)
    flash(_("The webhook is off. Signet has deleted its address and secret."), "success")
    return redirect(url_for(".alerts"), 303)


@blueprint.post("/alerts/webhook/test")
def test_webhook() -> Any:
    flash_result(
        lambda: webhooks.send_test(current_user.account_id, now=utcnow()),
        _("A test is on its way. The result appears below."),
        unless=webhooks.CannotSendTest,
    )
    return redirect(url_for(".alerts", _anchor="deliveries"), 303)


@blueprint.get("/when-sending-fails")
def failure() -> Any:
    chosen = policy.get(current_user.account_id)
    data = {"action": chosen.on_failure.value, "after_minutes": str(chosen.after_minutes)}
    return _failure(forms.FailureForm(formdata=None, data=data))


@blueprint.post("/when-sending-fails")
def save_failure() -> Any:
    form = forms.FailureForm()
    if not form.validate():
        return _failure(form, refused=True), 422
    policy.set_failure_action(current_user.account_id, *form.chosen)
    flash(_("Saved. This applies from the next incident."), "success")
    return redirect(url_for(".failure"), 303)


@blueprint.get("/limits")
def limits() -> Any:
    saved = rate_limits.get_limits(current_user.account_id)
    provider = _provider()
    source = saved or (provider.rate_limits if provider else None)
    names = ("per_second", "per_hour", "per_day")
    data = {name: str(getattr(source, name, None) or "") for name in names}
    return _limits(forms.LimitsForm(formdata=None, data=data))


@blueprint.post("/limits")
def save_limits() -> Any:
    form = forms.LimitsForm()
    if not form.validate():
        return _limits(form, refused=True), 422
    policy.save_limits(current_user.account_id, *form.chosen)
    flash(_("The limits are saved and apply from the next email."), "success")
    return redirect(url_for(".limits"), 303)


def _with_secret(saved: policy.SavedWebhook, form: forms.WebhookForm) -> Any:
    """Show a new secret in the response of the form itself; it is stored in no session and no URL."""
    if not saved.secret:
        flash(_("The address is saved."), "success")
        return redirect(url_for(".alerts"), 303)
    response = make_response(_alerts(form, secret=saved.secret))
    response.headers["Cache-Control"] = "no-store"
    return response


def _alerts(form: forms.WebhookForm, *, refused: bool = False, secret: str = "") -> str:
    return render_template(
        "incidents/alerts.html",
        form=form,
        policy=policy.get(current_user.account_id),
        deliveries=webhooks.latest(current_user.account_id),
        has_platform=bool(current_config().platform.server),
        mailboxes=[one.mailbox for one in recipients.recipients_of(current_user.account)],
        secret=secret,
        form_errors=refused,
    )


def _failure(form: forms.FailureForm, *, refused: bool = False) -> str:
    return render_template(
        "incidents/failure.html",
        form=form,
        has_platform=bool(current_config().platform.server),
        form_errors=refused,
    )


def _provider() -> Provider | None:
    """Return the card of the live version's provider."""
    live = live_version(current_user.account_id)
    return providers.by_host(live.host) if live else None


def _limits(form: forms.LimitsForm, *, refused: bool = False) -> str:
    provider = _provider()
    return render_template(
        "incidents/limits.html",
        form=form,
        saved=rate_limits.get_limits(current_user.account_id),
        preset=provider.rate_limits if provider else None,
        provider=provider,
        form_errors=refused,
    )
