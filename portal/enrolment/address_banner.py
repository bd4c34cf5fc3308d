"""The banner that asks for the postal address before the first weekly summary to an affiliate leaves."""

from __future__ import annotations

from flask import url_for
from flask_babel import gettext as _
from sqlalchemy import bindparam, select

from ..affiliates.models import Affiliate, AffiliateState
from ..db.prepared import PreparedStatement
from ..notices import branding, recipients
from ..notices.catalogue import CATALOGUE
from ..web.banners import Banner

_SUMMARY = CATALOGUE["weekly-summary"]
_ACTIVE = PreparedStatement(
    select(Affiliate.id)
    .where(Affiliate.account_id == bindparam("account_id"), Affiliate.state == AffiliateState.ACTIVE)
    .limit(1)
)


def banners(account_id: int) -> list[Banner]:
    """Return the banner while summaries are on, there is someone to write to, and the address is not settled."""
    if branding.is_address_settled(account_id) or not recipients.is_enabled(account_id, _SUMMARY):
        return []
    if not _has_active_affiliate(account_id):
        return []
    text = _(
        "Many laws require the sender’s postal address in such emails. Enter it, or choose to send "
        "without one. Until then, your affiliates get no summaries."
    )
    return [
        Banner(
            "info",
            _("Weekly summaries need your postal address"),
            text,
            _("Enter the address"),
            url_for("notices.branding_page", _anchor="address"),
        )
    ]


def _has_active_affiliate(account_id: int) -> bool:
    return _ACTIVE.scalar(account_id=account_id) is not None
