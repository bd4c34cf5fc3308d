"""Renders the Custom SMTP Settings: the whole form on Email Preferences, and the step of the guide that asks for less."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask import render_template, request, url_for
from flask_login import current_user

from ..accounts import access
from ..clock import utcnow
from ..smtp.server import Mechanism
from ..web.labels import FIELD_LABELS
from . import advanced, credentials, deprecations, page, provider_values, providers, versions
from .forms import RecipientForm, SmtpForm, initial_values
from .models import SmtpSettings, VersionState

if TYPE_CHECKING:
    from .validation import InvalidSettings

_GUIDE = "guided.account"


def is_guided() -> bool:
    """Return whether the request belongs to the guide, by its address or by the hidden field of its forms."""
    return request.endpoint == _GUIDE or bool(request.form.get("guided"))


def page_url(*, anchor: str | None = None, **values: Any) -> str:
    """Return the address of the page that shows the settings to this person: the guide's step, or Email Preferences."""
    if not is_guided():
        return url_for("settings.email_preferences", _anchor=anchor, **values)
    named = (request.view_args or {}).get("provider") or request.form["guided"]
    return url_for(_GUIDE, provider=providers.by_id(named).id, _anchor=anchor, **values)


def submitted_form() -> SmtpForm:
    """Return the submitted form, with the password that was typed before an earlier answer to it."""
    form = SmtpForm()
    if not form.password.data and form.typed_password.data:
        form.password.data = credentials.open_typed(form.typed_password.data, current_user, now=utcnow())
    return form


def saved_form(number: str) -> SmtpForm:
    """Return the form with the values of a saved version; the first one begins with the owner's mailbox for replies."""
    version = versions.base_of(current_user.account_id, number)
    values = initial_values(version) if version else {"reply_to": current_user.mailbox}
    return SmtpForm(formdata=access.kept_form("settings.save"), data=values)


def refused_page(form: SmtpForm, error: InvalidSettings) -> str:
    """Render the form with the reasons why its values were not saved, each beside its field."""
    loose_errors = []
    for name, sentence in error.errors.items():
        field = getattr(form, name, None) if name else None
        if field is None:
            loose_errors.append({"text": sentence})
        else:
            field.errors = [*field.errors, sentence]
    return render_page(form, refused=True, loose_errors=loose_errors)


def render_page(
    form: SmtpForm,
    *,
    refused: bool = False,
    loose_errors: list[dict[str, str]] | None = None,
    offer: provider_values.Offer | None = None,
    test_form: RecipientForm | None = None,
) -> str:
    """Render the page with the form and what is known of the newest check."""
    provider = form.prepare()
    base = versions.base_of(current_user.account_id, form.based_on.data or "")
    card = provider_values.card_of(provider, form.host.data or "")
    shown = page.build(current_user, test=request.args.get("test"), base=base)
    kept = "" if form.password.errors else form.password.data or ""
    lost_password = _lost_password(form, base)
    has_password = base is not None and base.mechanism != Mechanism.NONE.value
    form.typed_password.data = credentials.seal_typed(kept, current_user, now=utcnow())
    if not refused and shown.field_error:
        field, sentence = shown.field_error
        form[field].errors = [sentence]
    return render_template(
        f"settings/{'guided' if is_guided() else 'email_preferences'}.html",
        here_url=page_url(),
        form=form,
        test_form=test_form or RecipientForm(formdata=None, data={"recipient": current_user.mailbox}),
        provider=provider,
        page=shown,
        is_submitted=request.method == "POST",
        refresh_url=_refresh_url(shown),
        help=page.field_hints(provider),
        deprecations=deprecations.for_provider(provider),
        labels=FIELD_LABELS,
        defaults=advanced.defaults(card),
        offer=offer or provider_values.offer_of_card(provider, form.values()),
        sender_card=card,
        sender_offer=provider_values.offer_of_mailbox(card, form.values()),
        saved_password=base.password_saved_at if base and has_password and not lost_password else None,
        lost_password=lost_password if has_password and not form.password.errors else "",
        loose_errors=loose_errors or [],
        form_errors=refused,
        State=VersionState,
    )


def _lost_password(form: SmtpForm, base: SmtpSettings | None) -> str:
    """Return why the saved password does not go to the server and user of the form; empty if it does."""
    return credentials.missing_password(replace(form.as_input(), password=""), base)


def _refresh_url(shown: page.SettingsPage) -> str:
    """Return the URL that a browser without script reloads.

    It contains the time because browsers do not load a URL that differs from the current one only in its fragment.
    """
    at = int(utcnow().timestamp())
    if shown.test is not None and not shown.checking:
        return page_url(test=shown.test.message_id, at=at, anchor="test")
    return page_url(at=at, anchor="check")
