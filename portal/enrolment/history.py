"""One affiliate's story for the owner: where they stand, what was sent to prove or invite them, what they opted out of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from ..affiliates import suppressions
from ..affiliates.directory import joined_by_invitation
from ..affiliates.models import (
    ActionToken,
    Affiliate,
    AffiliateState,
    Suppression,
    SuppressionReason,
    TokenPurpose,
)
from ..db import db
from ..notices.catalogue import CATALOGUE
from ..outbox.models import OutboxMessage, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

SUPPRESSION_LABELS: Mapping[SuppressionReason, str] = {
    SuppressionReason.UNSUBSCRIBED: "Unsubscribed from summaries and invitations",
    SuppressionReason.BOUNCED: "There is no such mailbox",
    SuppressionReason.BY_OWNER: "Put on the list by you",
}
_STATE_SENTENCES: Mapping[AffiliateState, str] = {
    AffiliateState.UNCONFIRMED: (
        "They have not followed the link in the confirmation email yet. Until then they get nothing else."
    ),
    AffiliateState.PENDING: "They wait for your decision.",
    AffiliateState.ACTIVE: "They take part in your programme.",
    AffiliateState.DECLINED: "You declined this application. You can still approve it.",
    AffiliateState.SUSPENDED: "They get no email until you let them go on.",
    AffiliateState.INVITED: "You invited them; they have not joined yet.",
}
_PURPOSE_LABELS: Mapping[TokenPurpose, str] = {
    TokenPurpose.CONFIRM: "Confirmation asked for",
    TokenPurpose.JOIN: "Invitation",
}


@dataclass(frozen=True)
class SentLink:
    """A link that was sent, and what became of the email around it."""

    name: str
    sent_at: datetime
    used_at: datetime | None
    message_id: int | None
    status: Status | None


@dataclass(frozen=True)
class AffiliateHistory:
    """Everything about an affiliate besides the events."""

    affiliate: Affiliate
    sentence: str
    sent_links: Sequence[SentLink]
    opted_out: Sequence[str]  # names of emails
    suppression: Suppression | None
    invited: bool  # and not signed up on the page


def load_history(affiliate: Affiliate) -> AffiliateHistory:
    """Collect an affiliate's story."""
    kinds = sorted(suppressions.opted_out(affiliate.id))
    return AffiliateHistory(
        affiliate=affiliate,
        sentence=_STATE_SENTENCES[affiliate.state],
        sent_links=_sent_links(affiliate.id),
        opted_out=[CATALOGUE[kind].name if kind in CATALOGUE else kind for kind in kinds],
        suppression=suppressions.find_suppression(affiliate.account_id, affiliate.mailbox),
        invited=affiliate.state is AffiliateState.INVITED or bool(joined_by_invitation([affiliate.id])),
    )


def _sent_links(affiliate_id: int) -> list[SentLink]:
    query = (
        select(ActionToken, OutboxMessage.status)
        .outerjoin(OutboxMessage, OutboxMessage.id == ActionToken.message_id)
        .where(ActionToken.affiliate_id == affiliate_id)
        .order_by(ActionToken.id.desc())
        .limit(20)
    )
    return [
        SentLink(
            _PURPOSE_LABELS[row.purpose],
            row.created_at,
            row.used_at,
            row.message_id if status else None,
            status,
        )
        for row, status in db.session.execute(query)
    ]
