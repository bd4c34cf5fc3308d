"""The banner that asks for the shop's address once there are affiliates whose links lead nowhere."""

from __future__ import annotations

from flask import url_for
from flask_babel import gettext as _
from sqlalchemy import bindparam, exists, select

from ..accounts.models import Account
from ..affiliates.models import Affiliate, AffiliateState
from ..db.prepared import PreparedStatement
from ..web.banners import Banner

_ACTIVE = exists().where(Affiliate.account_id == Account.id, Affiliate.state == AffiliateState.ACTIVE)
_LACKS_ADDRESS = PreparedStatement(
    select(Account.id).where(Account.id == bindparam("account_id"), Account.shop_url == "", _ACTIVE)
)


def banners(account_id: int) -> list[Banner]:
    """Return the banner while the account has active affiliates and no shop address."""
    if _LACKS_ADDRESS.scalar(account_id=account_id) is None:
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
