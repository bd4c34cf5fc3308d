"""What the owner's page shows of an affiliate besides the events: state, sent links, opt-outs and suppression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_babel import lazy_gettext
from sqlalchemy import select

from ..affiliates import suppressions
from ..affiliates.consent import WAY_LABELS, version_of
from ..affiliates.directory import joined_by_invitation
from ..affiliates.models import (
    ActionToken,
    Affiliate,
    AffiliateState,
    Suppression,
    SuppressionLift,
    SuppressionReason,
    TokenPurpose,
)
from ..db import db
from ..notices.catalogue import CATALOGUE
from ..outbox.models import OutboxMessage, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

_MAX_LINKS = 20
SUPPRESSION_LABELS: Mapping[SuppressionReason, str] = {
    SuppressionReason.UNSUBSCRIBED: lazy_gettext("Unsubscribed from summaries and invitations"),
    SuppressionReason.BOUNCED: lazy_gettext("There is no such mailbox, or emails to it come back"),
    SuppressionReason.COMPLAINED: lazy_gettext("Reported one of your emails as spam"),
    SuppressionReason.BY_OWNER: lazy_gettext("Blocked by your team"),
    SuppressionReason.ERASED: lazy_gettext("Erased: gets no emails"),
}
_STATE_SENTENCES: Mapping[AffiliateState, str] = {
    AffiliateState.UNCONFIRMED: (
        lazy_gettext(
            "This person has not confirmed the email address yet. Until then, they get no other emails."
        )
    ),
    AffiliateState.PENDING: lazy_gettext("This application is waiting for a decision."),
    AffiliateState.ACTIVE: lazy_gettext("This affiliate is active."),
    AffiliateState.DECLINED: lazy_gettext("This application was declined."),
    AffiliateState.SUSPENDED: lazy_gettext("This affiliate gets no emails until you reactivate them."),
    AffiliateState.INVITED: lazy_gettext("This person is invited and has not joined yet."),
    AffiliateState.ERASED: lazy_gettext(
        "This person was erased. The amounts of their orders are kept, without personal data."
    ),
}
_PURPOSE_LABELS: Mapping[TokenPurpose, str] = {
    TokenPurpose.CONFIRM: lazy_gettext("Confirmation of the address"),
    TokenPurpose.JOIN: lazy_gettext("Invitation"),
    TokenPurpose.MAILBOX: lazy_gettext("Confirmation of a new address"),
    TokenPurpose.WITHDRAWN: lazy_gettext("Confirmation of a new address, withdrawn"),
}


@dataclass(frozen=True)
class SentLink:
    """A link that was sent. ``status`` is that of its email, or None if the outbox has pruned it."""

    name: str
    sent_at: datetime
    used_at: datetime | None
    message_id: int | None
    status: Status | None


@dataclass(frozen=True)
class AffiliateHistory:
    """Everything about an affiliate besides the events. ``opted_out`` holds the names of notices."""

    affiliate: Affiliate
    sentence: str
    sent_links: Sequence[SentLink]
    opted_out: Sequence[str]
    suppression: Suppression | None
    lifts: Sequence[SuppressionLift]  # suppressions that the owner ended, newest first
    was_invited: bool  # otherwise they used the sign-up page
    agreed_how: str  # empty: they have not agreed to emails
    words_version: str


def load_history(affiliate: Affiliate) -> AffiliateHistory:
    """Load the history of an affiliate."""
    kinds = sorted(suppressions.opted_out(affiliate.id))
    return AffiliateHistory(
        affiliate=affiliate,
        sentence=str(_STATE_SENTENCES[affiliate.state]),
        sent_links=_sent_links(affiliate.id),
        opted_out=[CATALOGUE[kind].name if kind in CATALOGUE else kind for kind in kinds],
        suppression=suppressions.find_suppression(affiliate.account_id, affiliate.mailbox),
        lifts=suppressions.list_lifts(affiliate.account_id, affiliate.mailbox),
        agreed_how=str(WAY_LABELS[affiliate.consent_way]) if affiliate.consented_at else "",
        words_version=version_of(affiliate.consent_words),
        was_invited=affiliate.state is AffiliateState.INVITED or bool(joined_by_invitation([affiliate.id])),
    )


def _sent_links(affiliate_id: int) -> list[SentLink]:
    query = (
        select(ActionToken, OutboxMessage.status)
        .outerjoin(OutboxMessage, OutboxMessage.id == ActionToken.message_id)
        .where(ActionToken.affiliate_id == affiliate_id, ActionToken.purpose != TokenPurpose.FORMER)
        .order_by(ActionToken.id.desc())
        .limit(_MAX_LINKS)
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
