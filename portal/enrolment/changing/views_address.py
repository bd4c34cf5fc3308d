"""The page of the link in the email to confirm a new address."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from flask import abort, redirect, render_template, request, url_for

from ...affiliates import links, page_language
from ...affiliates.models import AffiliateState, TokenPurpose
from ...clock import utcnow
from ...state import current_config
from ...web.requests import network_of
from .. import confirmation_links, signup
from ..views import blueprint
from . import address_change


@blueprint.get("/confirm-address/<token>")
def confirm_address(token: str) -> Any:
    """Show the question; a GET changes nothing, because link scanners open links."""
    return _page(token)


@blueprint.post("/confirm-address/<token>")
def confirm_address_now(token: str) -> Any:
    if page_language.is_choosing():
        return _page(token)
    with suppress(signup.LinkExpired):  # the page shows it
        try:
            address_change.confirm(token, network_of(request), now=utcnow()) or abort(404)
        except address_change.AddressTaken:
            return _page(token, taken=True), 409
    return redirect(url_for(".confirm_address", token=token), 303)


def _page(token: str, *, taken: bool = False) -> str:
    found = confirmation_links.find_token(token, TokenPurpose.MAILBOX, now=utcnow()) or abort(404)
    is_active = found.affiliate.state is AffiliateState.ACTIVE
    page_language.show_page(found.account, found.affiliate)
    return render_template(
        "affiliates/confirm_address.html",
        account=found.account,
        token=token,
        mailbox=found.token.mailbox,
        done=found.token.used_at is not None,
        expired=found.expired,
        taken=taken,
        dashboard=links.dashboard_url(found.affiliate, current_config()) if is_active else "",
    )
