"""Banners about the standing of an account: waiting, suspended, or not approved."""

from __future__ import annotations

from flask import url_for
from flask_babel import gettext as _

from ..db import db
from ..state import current_config
from ..web.banners import Banner
from .models import Account
from .standing import AccountState, is_limited, state_of


def banners(account_id: int) -> list[Banner]:
    """Return at most one banner: why the account sends nothing, or what limits it until it is approved."""
    account = db.session.get(Account, account_id)
    if account is None:
        return []
    match state_of(account):
        case AccountState.SUSPENDED:
            return [_suspended(account.suspension_reason)]
        case AccountState.WAITING:
            text = _(
                "You can set everything up now. Your sign-up page opens and your emails leave as soon as the operator of "
                "this portal has approved your account."
            )
            return [Banner("info", _("Your account waits for approval"), text)]
    return [_limited()] if is_limited(account) else []


def _suspended(reason: str) -> Banner:
    nothing_lost = _(
        "No email leaves and your sign-up page is closed. Nothing is lost: what waits leaves when the suspension ends."
    )
    text = _("The reason: %(reason)s", reason=reason) + " " + nothing_lost if reason else nothing_lost
    return Banner("danger", _("Your account is suspended"), text)


def _limited() -> Banner:
    config = current_config()
    text = _(
        "Until the operator of this portal approves your account, the platform’s sender writes only to confirmed "
        "addresses and asks new ones to confirm, in the default texts: up to %(all)s emails a day, %(one)s to one address. "
        "They come from “Signet” and have no Reply-To, and the question to confirm does not name your programme. "
        "Through your own SMTP server there is no such limit.",
        all=config.unapproved_per_account,
        one=config.unapproved_per_recipient,
    )
    return Banner(
        "info",
        _("Your account is not approved yet"),
        text,
        _("Use your own SMTP server"),
        url_for("settings.email_preferences"),
    )
