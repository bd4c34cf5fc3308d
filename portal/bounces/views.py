"""The owner's pages about bounces: the hooks of providers, breakers, and events without a message."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from flask_login import current_user

from ..clock import utcnow
from ..web.pagination import key_argument, search_argument, searched_live
from . import breaker, event_log, hooks, labels, page
from .forms import PublicKeyForm, SecretKeyForm
from .models import BreakerDecision
from .providers.catalogue import ADAPTERS

blueprint = Blueprint("bounces", __name__, url_prefix="/settings/bounces")
_PROVIDER = f"/<any({', '.join(ADAPTERS)}):provider>"


@blueprint.get("")
def index() -> Any:
    return _page()


@blueprint.post(_PROVIDER)
def create(provider: str) -> Any:
    hooks.create(current_user.account_id, provider, now=utcnow())
    return redirect(url_for(".index", _anchor=provider), 303)


@blueprint.post(f"{_PROVIDER}/secret")
def renew(provider: str) -> Any:
    try:
        renewed = hooks.renew(current_user.account_id, provider, now=utcnow())
    except hooks.TooManyAddresses:
        flash(
            _(
                "You cannot create a new address: too many former ones still work. Wait until one of them expires."
            ),
            "danger",
        )
        return redirect(url_for(".index", _anchor=provider), 303)
    if not renewed:
        abort(404)
    flash(
        _(
            "Paste the new address at %(name)s. The former one works for %(days)d more days.",
            name=ADAPTERS[provider].name,
            days=hooks.FORMER_WORKS.days,
        ),
        "success",
    )
    return redirect(url_for(".index", _anchor=provider), 303)


@blueprint.post(f"{_PROVIDER}/key")
def save_key(provider: str) -> Any:
    if hooks.find(current_user.account_id, provider) is None or not ADAPTERS[provider].key_name:
        abort(404)
    adapter = ADAPTERS[provider]
    form = SecretKeyForm() if adapter.is_key_secret else PublicKeyForm()
    if form.validate() and not adapter.is_key(form.key.data or ""):
        no_key = _(
            "This is not a %(key)s of %(name)s. Copy it again.", key=adapter.key_name, name=adapter.name
        )
        form.key.errors = [no_key]
    if form.errors:
        return _page(refused=(provider, form)), 422
    hooks.save_key(current_user.account_id, provider, form.key.data or "")
    flash(_("The key is saved. Signet now accepts events with a valid signature."), "success")
    return redirect(url_for(".index", _anchor=provider), 303)


@blueprint.post(f"{_PROVIDER}/remove")
def remove(provider: str) -> Any:
    if not hooks.remove(current_user.account_id, provider):
        abort(404)
    flash(_("The hook is deleted. Delete it at %(name)s too.", name=ADAPTERS[provider].name), "success")
    return redirect(url_for(".index"), 303)


@blueprint.post("/breakers/<int(max=999999999999):breaker_id>/<any(suppress, keep):choice>")
def decide(breaker_id: int, choice: str) -> Any:
    found = breaker.find_open(current_user.account_id, breaker_id) or abort(404)
    count = breaker.decide(found, BreakerDecision(choice), now=utcnow())
    if choice == BreakerDecision.SUPPRESS:
        message = ngettext(
            "Signet no longer writes to one address.",
            "Signet no longer writes to %(num)s addresses.",
            count,
        )
    else:
        message = ngettext("One address stays in use.", "%(num)s addresses stay in use.", count)
    flash(message, "success")
    return redirect(url_for(".index"), 303)


@blueprint.get("/events")
@searched_live
def events() -> Any:
    before, after = key_argument(request.args.get("before")), key_argument(request.args.get("after"))
    search, account_id = search_argument(request.args.get("q")), current_user.account_id
    return render_template(
        "bounces/events.html",
        q=search,
        page=event_log.list_unmatched(account_id, before=before, after=after, search=search),
        labels=labels,
    )


def _page(refused: tuple[str, Any] | None = None) -> str:
    found = page.read(current_user.account_id, now=utcnow())
    forms = {
        view.adapter.id: SecretKeyForm(formdata=None)
        if view.adapter.is_key_secret
        else PublicKeyForm(formdata=None)
        for view in found.hooks
        if view.adapter.key_name
    }
    if refused is not None:
        forms[refused[0]] = refused[1]
    for provider, form in forms.items():
        form.key.label.text = ADAPTERS[provider].key_name
        form.key.label.field_id = form.key.id = f"key-{provider}"
    return render_template(
        "bounces/index.html",
        page=found,
        forms=forms,
        form=refused[1] if refused else None,
        form_errors=refused is not None,
        has_unmatched=event_log.has_unmatched(current_user.account_id),
    )
