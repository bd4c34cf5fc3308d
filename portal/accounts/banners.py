"""The banner about the limits of an account that no operator has approved."""

from __future__ import annotations

from flask import url_for
from flask_babel import gettext as _

from ..db import db
from ..state import current_config
from ..web.banners import Banner
from .models import Account
from .standing import AccountState, is_limited, state_of


def banners(account_id: int) -> list[Banner]:
    """Return at most one banner: what limits an account until it is approved."""
    account = db.session.get(Account, account_id)
    if account is None or state_of(account) is not AccountState.ACTIVE or not is_limited(account):
        return []
    return [_limited(account)]


def _limited(account: Account) -> Banner:
    config, of_operator = current_config(), account.platform_per_day
    text = _(
        "Until the operator of this portal approves your account, the platform’s sender emails only "
        "confirmed addresses and asks new ones to confirm. It sends up to %(all)s emails a day, and up "
        "to %(one)s to one address, with the default texts. The emails come from “Signet” and have no "
        "reply address, and the confirmation does not name your programme. These limits do not apply to "
        "your own SMTP server.",
        all=config.unapproved_per_account if of_operator is None else of_operator,
        one=config.unapproved_per_recipient,
    )
    return Banner(
        "info",
        _("Your account is not approved yet"),
        text,
        _("Use your own SMTP server"),
        url_for("settings.email_preferences"),
    )
