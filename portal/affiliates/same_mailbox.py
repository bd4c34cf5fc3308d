"""Other affiliates of a programme whose emails arrive in the same Gmail mailbox.

Gmail ignores dots and what follows a plus sign (support.google.com/mail/answer/7436150), so one person can join twice with
addresses that differ. They stay two affiliates: the owner decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from ..db import db
from ..recipient_limits import one_spelling
from .models import Affiliate

if TYPE_CHECKING:
    from collections.abc import Sequence

_DOMAINS = ("gmail.com", "googlemail.com")
_SHOWN = 5


def find_others(affiliate: Affiliate) -> Sequence[Affiliate]:
    """Return at most five other affiliates of the account with the same Gmail mailbox, oldest first."""
    if affiliate.mailbox_key.rpartition("@")[2] not in _DOMAINS:
        return ()
    local = one_spelling(affiliate.mailbox_key).rpartition("@")[0]
    without_dots = func.replace(Affiliate.mailbox_key, ".", "")
    ends = [f"@{domain.replace('.', '')}" for domain in _DOMAINS]
    same = [without_dots == f"{local}{end}" for end in ends]
    tagged = [
        without_dots.startswith(f"{local}+", autoescape=True) & without_dots.endswith(end) for end in ends
    ]
    query = select(Affiliate).where(
        Affiliate.account_id == affiliate.account_id, Affiliate.id != affiliate.id, or_(*same, *tagged)
    )
    return db.session.scalars(query.order_by(Affiliate.id).limit(_SHOWN)).all()
