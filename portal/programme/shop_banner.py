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
        "Signet does not know where your shop is, so your affiliates have no link to share. Enter its address; the links "
        "in emails and on dashboards lead there from then on."
    )
    return [
        Banner(
            "warning",
            _("Your affiliates’ links lead nowhere"),
            text,
            _("Enter the shop’s address"),
            url_for("programme.settings", _anchor="shop_url"),
        )
    ]
