"""An affiliate's request to be erased. The owner is asked, because what is not paid yet is lost with the address."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flask import url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from sqlalchemy import bindparam, func, select

from ..affiliates.directory import find_by_dashboard_key
from ..affiliates.models import Affiliate
from ..db import db
from ..db.prepared import PreparedStatement
from ..web.banners import Banner

if TYPE_CHECKING:
    from datetime import datetime

ANSWER_WITHIN = timedelta(days=30)  # GDPR article 12(3): one month
_OPEN = (
    Affiliate.account_id == bindparam("account_id"),
    Affiliate.erasure_asked_at.is_not(None),  # as in the partial index; an erasure clears it
)
_COUNT = PreparedStatement(select(func.count()).select_from(Affiliate).where(*_OPEN))
_FIRST = PreparedStatement(
    select(Affiliate.id).where(*_OPEN).order_by(Affiliate.erasure_asked_at, Affiliate.id).limit(1)
)


def ask(key: str, *, now: datetime) -> bool:
    """Record that the affiliate with this dashboard key asks to be erased; False for an unknown key. Commits."""
    found = find_by_dashboard_key(key)
    if found is not None:
        found[0].erasure_asked_at = found[0].erasure_asked_at or now
        db.session.commit()
    return found is not None


def withdraw(key: str) -> bool:
    """Withdraw the request of the affiliate with this dashboard key; False for an unknown key. Commits."""
    found = find_by_dashboard_key(key)
    if found is not None:
        found[0].erasure_asked_at = None
        db.session.commit()
    return found is not None


def banners(account_id: int) -> list[Banner]:
    """Return the banner while affiliates of an account wait to be erased; it leads to the one who waits longest."""
    count = _COUNT.scalar(account_id=account_id) or 0
    if not count:
        return []
    first = _FIRST.scalar(account_id=account_id)
    title = ngettext("An affiliate asks to be erased", "%(num)s affiliates ask to be erased", count)
    text = _(
        "Many laws give you a month to answer. Pay what is due first. Afterwards, you cannot assign "
        "unpaid amounts to them."
    )
    return [
        Banner(
            "warning", title, text, _("See requests"), url_for("affiliates.show", id_=first, _anchor="erase")
        )
    ]
