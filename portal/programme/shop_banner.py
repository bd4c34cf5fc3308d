"""The banner that asks for the shop's address once there are affiliates whose links lead nowhere."""

from __future__ import annotations

from flask import url_for
from flask_babel import gettext as _
from sqlalchemy import exists, select

from ..accounts.models import Account
from ..affiliates.models import Affiliate, AffiliateState
from ..db import db
from ..web.banners import Banner


def banners(account_id: int) -> list[Banner]:
    """Return the banner while the account has active affiliates and no shop address."""
    active = exists().where(Affiliate.account_id == account_id, Affiliate.state == AffiliateState.ACTIVE)
    query = select(Account.id).where(Account.id == account_id, Account.shop_url == "", active)
    if db.session.scalar(query) is None:
        return []
    text = _(
        "Your affiliates have no link to share yet. Enter the address of your shop. The links in emails "
        "and on dashboards then lead there."
    )
    return [
        Banner(
            "warning",
            _("Your shop’s address is missing"),
            text,
            _("Enter the shop’s address"),
            url_for("programme.settings", _anchor="shop_url"),
        )
    ]
