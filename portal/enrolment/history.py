"""One affiliate's story for the owner: where they stand, what was sent to prove or invite them, what they opted out of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from ..affiliates import suppressions
from ..affiliates.directory import joined_by_invitation
from ..affiliates.models import Affiliate, AffiliateLink, Purpose, Reason, State, Suppression
from ..db import db
from ..notices.catalogue import CATALOGUE
from ..outbox.models import OutboxMessage, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

REASON_WORDS: Mapping[Reason, str] = {
    Reason.UNSUBSCRIBED: "Unsubscribed from summaries and invitations",
    Reason.BOUNCED: "There is no such mailbox",
    Reason.BY_OWNER: "Put on the list by you",
}
_SENTENCES: Mapping[State, str] = {
    State.UNCONFIRMED: "They have not followed the link in the confirmation email yet. Until then they get nothing else.",
    State.PENDING: "They wait for your decision.",
    State.ACTIVE: "They take part in your programme.",
    State.DECLINED: "You declined this application. You can still approve it.",
    State.SUSPENDED: "They get no email until you let them go on.",
    State.INVITED: "You invited them; they have not joined yet.",
}
_PURPOSES: Mapping[Purpose, str] = {Purpose.CONFIRM: "Confirmation asked for", Purpose.JOIN: "Invitation"}


@dataclass(frozen=True)
class Letter:
    """A link that was sent, and what became of the email around it."""

    name: str
    sent_at: datetime
    used_at: datetime | None
    message_id: int | None
    status: Status | None


@dataclass(frozen=True)
class Story:
    """Everything about an affiliate besides the events."""

    affiliate: Affiliate
    sentence: str
    letters: Sequence[Letter]
    opted_out: Sequence[str]  # names of emails
    suppression: Suppression | None
    invited: bool  # and not signed up on the page


def tell(affiliate: Affiliate) -> Story:
    """Collect an affiliate's story."""
    kinds = sorted(suppressions.opted_out(affiliate.id))
    return Story(
        affiliate=affiliate,
        sentence=_SENTENCES[affiliate.state],
        letters=_letters(affiliate.id),
        opted_out=[CATALOGUE[kind].name if kind in CATALOGUE else kind for kind in kinds],
        suppression=suppressions.suppression_of(affiliate.account_id, affiliate.mailbox),
        invited=affiliate.state is State.INVITED or bool(joined_by_invitation([affiliate.id])),
    )


def _letters(affiliate_id: int) -> list[Letter]:
    query = (
        select(AffiliateLink, OutboxMessage.status)
        .outerjoin(OutboxMessage, OutboxMessage.id == AffiliateLink.message_id)
        .where(AffiliateLink.affiliate_id == affiliate_id)
        .order_by(AffiliateLink.id.desc())
        .limit(20)
    )
    return [
        Letter(
            _PURPOSES[row.purpose], row.created_at, row.used_at, row.message_id if status else None, status
        )
        for row, status in db.session.execute(query)
    ]
