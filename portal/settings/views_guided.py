"""The guide: choose a provider, then enter only what it needs. It submits the form of Email Preferences, which validates it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template, url_for
from flask_login import current_user

from . import providers, versions
from .forms import SmtpForm, initial_values
from .views_page import render_page

blueprint = Blueprint("guided", __name__, url_prefix="/settings/set-up")


@blueprint.get("", endpoint="providers")
def list_providers() -> str:
    """Show what one needs, and a tile for each provider."""
    return render_template(
        "settings/providers.html", played=providers.rehearsal_providers(), kinds=providers.by_kind()
    )


@blueprint.get("/<provider>")
def account(provider: str) -> Any:
    """Show the fields that one provider needs, and below them what the check of the newest version found."""
    card = providers.by_id(provider)
    if card.id != provider:
        abort(404)
    if not card.hosts:
        return redirect(url_for("settings.email_preferences", provider=provider, _anchor="custom-smtp"))
    return render_page(_first_form(provider))


def _first_form(provider: str) -> SmtpForm:
    """Return the form with the newest version of this provider, else with its server and what belongs to the sender."""
    card, saved = providers.by_id(provider), versions.newest(current_user.account_id)
    if saved and saved.provider == card.id:
        return SmtpForm(formdata=None, data=initial_values(saved))
    host = providers.first_host(card)
    literal = card.literal_usernames(host.name if host else "")
    values = {
        "provider": card.id,
        "host": host.name if host else "",
        "username": literal[0] if literal else "",
        "reply_to": saved.reply_to if saved else current_user.mailbox,
        "from_name": saved.from_name if saved else "",
    }
    return SmtpForm(formdata=None, data=values)
