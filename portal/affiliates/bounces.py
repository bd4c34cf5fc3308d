"""Mailboxes that do not exist are not written to again: refusals in the long run cost every sender its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, select

from ..clock import utcnow
from ..db import db
from ..outbox.models import DeliveryAttempt, Outcome
from ..smtp.diagnosis.diagnose import RetryClass
from ..smtp.failure import Stage
from .models import Affiliate, Reason
from .suppressions import suppress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..outbox.store.claims import Claim

# RFC 3463 and RFC 7505: no such mailbox, no such host, a domain that takes no mail at all. Others may pass.
UNMISTAKABLE = frozenset({"5.1.1", "5.1.2", "5.1.10"})


def hear(
    account_id: int | None, claim: Claim, outcome: Outcome, diagnosis: Mapping[str, Any] | None, server: str
) -> None:
    """Put an affiliate's mailbox on the list when a server says that there is none. The caller commits."""
    if account_id is None or outcome is not Outcome.REJECTED or diagnosis is None:
        return
    if diagnosis.get("retry_class") != RetryClass.RECIPIENT or claim.message.pinned_version is not None:
        return
    row = DeliveryAttempt.__table__.c
    query = select(row.stage, row.enhanced_code, row.reply_code, row.reply_text)
    stage, enhanced, code, words = db.session.execute(query.where(row.id == claim.attempt_id)).one()
    if stage != Stage.RCPT or enhanced not in UNMISTAKABLE or not _is_affiliate(account_id, claim):
        return
    note = f"{server} said: {code} {enhanced} {words}"
    suppress(account_id, claim.message.recipient, Reason.BOUNCED, note=note, now=utcnow())


def _is_affiliate(account_id: int, claim: Claim) -> bool:
    """Whether it is an affiliate's: the owner's own mailbox is never put on the list."""
    key = claim.message.recipient.casefold()
    mine = exists().where(Affiliate.account_id == account_id, Affiliate.mailbox_key == key)
    return bool(db.session.scalar(select(mine)))
