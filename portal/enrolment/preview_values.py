"""Previews of a notice as one of the account's affiliates would get it: who can be chosen, and their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ..affiliates.directory import find_affiliate, matches
from ..affiliates.models import Affiliate
from ..affiliates.template_values import affiliate_values
from ..db import db
from ..notices.preview import PreviewRecipient
from ..state import current_config

if TYPE_CHECKING:
    from ..accounts.models import Account

_SHOWN = 20  # affiliates to choose from; the others are found by searching


class AffiliatePreviews:
    """Lets the editor of notices show a text with the values of an affiliate."""

    def find(self, account: Account, affiliate_id: int) -> PreviewRecipient | None:
        """Return one of the account's affiliates, or None."""
        affiliate = find_affiliate(account.id, affiliate_id)
        return _recipient(affiliate, account) if affiliate else None

    def search(self, account: Account, text: str) -> list[PreviewRecipient]:
        """Return the newest affiliates whose name, mailbox or code contains ``text``."""
        query = select(Affiliate).where(Affiliate.account_id == account.id)
        if text.strip():
            query = query.where(matches(text))
        rows = db.session.scalars(query.order_by(Affiliate.id.desc()).limit(_SHOWN))
        return [_recipient(affiliate, account) for affiliate in rows]


def _recipient(affiliate: Affiliate, account: Account) -> PreviewRecipient:
    values = affiliate_values(affiliate, account, current_config())
    return PreviewRecipient(affiliate.id, affiliate.name, affiliate.mailbox, values)
