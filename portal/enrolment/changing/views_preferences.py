"""Public pages of an affiliate's email preferences, one-click unsubscribe, and the language of these pages."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from ...affiliates import directory, page_language
from ...affiliates import owner_unsubscribe as owner_subscriptions
from ...affiliates import preferences as email_preferences
from ...affiliates.models import AffiliateState, EmailPace
from ...clock import utcnow
from ...events import pace as email_pace
from ...web.translations import current_language
from ..views import blueprint, secret_page, store_language

if TYPE_CHECKING:
    from collections.abc import Collection

    from ...accounts.models import Account
    from ...affiliates.models import Affiliate


@blueprint.get("/preferences/<key>")
def preferences(key: str) -> Any:
    affiliate, account = directory.find_by_preferences_key(key) or abort(404)
    return _preferences_page(affiliate, account, key)


@blueprint.post("/preferences/<key>")
def save_preferences(key: str) -> Any:
    affiliate, account = directory.find_by_preferences_key(key) or abort(404)
    wanted = () if "essential_only" in request.form else request.form.getlist("kind")
    try:
        pace = EmailPace(request.form.get("pace", affiliate.email_pace))
    except ValueError:
        abort(400)
    if page_language.is_choosing():
        with suppress(email_preferences.TooManyChanges):
            page_language.store_choice(affiliate, now=utcnow())
        return _preferences_page(affiliate, account, key, ticked=set(wanted), pace=pace)
    try:
        email_pace.save_preferences(affiliate, wanted, pace, zone_name=account.time_zone, now=utcnow())
    except email_preferences.TooManyChanges:
        abort(429)
    page_language.show_page(account, affiliate)
    flash(_("Your choice is saved."), "success")
    return redirect(url_for(".preferences", key=key), 303)


@blueprint.route("/unsubscribe/<key>/<kind>", methods=["GET", "POST"])
def unsubscribe(key: str, kind: str) -> Any:
    """Unsubscribe an affiliate with one click (RFC 8058): a POST without cookie or CSRF token changes, a GET shows.

    Link scanners send GETs, so a GET changes nothing. The POST is answered with a page because the RFC advises
    against redirects. The key in the address is the authority, so the route is exempt from the CSRF check.
    """
    affiliate, account = directory.find_by_preferences_key(key) or abort(404)
    notice = email_preferences.one_click_notice(kind) or abort(404)
    done = request.method == "POST"
    if done:
        email_preferences.unsubscribe(affiliate, notice, now=utcnow())
    page_language.show_page(account, affiliate)
    return secret_page("affiliates/unsubscribe.html", account=account, key=key, notice=notice, done=done)


@blueprint.route("/automated-emails/unsubscribe/<token>", methods=["GET", "POST"])
def owner_unsubscribe(token: str) -> Any:
    """Unsubscribe one mailbox with one click (RFC 8058): a POST without cookie or CSRF token changes, a GET shows.

    As ``unsubscribe``; here the signed address is the authority.
    """
    if request.method == "POST":
        found = owner_subscriptions.unsubscribe(token, now=utcnow())
    else:
        found = owner_subscriptions.find_subscription(token)
    if found is None:
        abort(404)
    template = "affiliates/owner_unsubscribe.html"
    return secret_page(template, account=found.account, subscription=found, token=token)


@blueprint.post("/preferences/<key>/language")
def choose_unsubscribe_language(key: str) -> Any:
    """Go back to the page to unsubscribe; without a kind of email, because that is done, to the preferences."""
    affiliate, _account = directory.find_by_preferences_key(key) or abort(404)
    store_language(affiliate)
    kind = request.form.get("kind", "")
    if email_preferences.one_click_notice(kind) is None:
        return redirect(url_for(".preferences", key=key), 303)
    return redirect(url_for(".unsubscribe", key=key, kind=kind), 303)


def _preferences_page(
    affiliate: Affiliate,
    account: Account,
    key: str,
    *,
    ticked: Collection[str] | None = None,
    pace: EmailPace | None = None,
) -> str:
    """Render the preferences as stored, or as ticked so far."""
    page_language.show_page(account, affiliate)
    choices = email_preferences.list_choices(affiliate, current_language().code)
    if ticked is not None:
        choices = [replace(one, wanted=one.essential or one.notice.kind in ticked) for one in choices]
    return render_template(
        "affiliates/preferences.html",
        account=account,
        affiliate=affiliate,
        key=key,
        choices=choices,
        paces=() if affiliate.state is AffiliateState.INVITED else tuple(EmailPace),
        pace=pace or affiliate.email_pace,
    )
