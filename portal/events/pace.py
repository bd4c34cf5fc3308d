"""How often an affiliate gets the emails about leads, purchases and commissions: at once, once a day or once a week.

What an affiliate chose to get together waits as an email over a limit does (see digests.py): ``event_mail.digest_at`` is the
next morning, or the next Monday morning, in the programme's time zone. Status, payouts and corrections come at once.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, text, update

from ..affiliates import preferences
from ..affiliates.models import EmailPace
from ..clock import zone_of
from ..db import db
from ..jobs import notify
from ..notices.catalogue import CATALOGUE, Audience
from .models import Event, EventMail

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..affiliates.models import Affiliate

JOB = "event-digest"
COLLECTED = frozenset({"new-lead", "new-purchase", "commission-approved", "commission-declined"})
WAITING = text("digest_at IS NOT NULL")  # literally as in the partial index, or it is not used
_AT = time(9)
_WEEK_DAYS = 7


def next_digest(pace: EmailPace | None, now: datetime, zone_name: str) -> datetime | None:
    """Return when the next digest of this pace is due, None for emails that leave at once."""
    if pace not in (EmailPace.DAILY, EmailPace.WEEKLY):
        return None
    zone = zone_of(zone_name)
    day = now.astimezone(zone).date()
    if pace is EmailPace.WEEKLY:
        day += timedelta(days=-day.weekday() % _WEEK_DAYS)
    step = timedelta(days=1 if pace is EmailPace.DAILY else _WEEK_DAYS)
    due = datetime.combine(day, _AT, tzinfo=zone).astimezone(UTC)
    return due if due > now else datetime.combine(day + step, _AT, tzinfo=zone).astimezone(UTC)


def save_preferences(
    affiliate: Affiliate,
    wanted: Collection[str],
    pace: EmailPace,
    *,
    zone_name: str,
    now: datetime,
) -> None:
    """Save which kinds of email an affiliate wants, and how often. Commits. Raises TooManyChanges.

    What waits already leaves no later than before, and no later than the new pace has it.
    """
    preferences.store_choices(affiliate, wanted, now=now)
    if pace is not affiliate.email_pace:
        affiliate.email_pace = pace
        due = next_digest(pace, now, zone_name) or now
        waiting = update(EventMail).where(
            WAITING,
            EventMail.digest_account_id == affiliate.account_id,
            EventMail.digest_at > due,
            EventMail.recipient == affiliate.mailbox,
            EventMail.kind.in_(COLLECTED),
        )
        db.session.execute(waiting.values(digest_at=due).execution_options(synchronize_session=False))
        notify.push_after_commit(JOB, affiliate.account_id)
    db.session.commit()


def follow_address(affiliate: Affiliate, former: str) -> None:
    """Let what waits for a digest to the former mailbox of an affiliate go to the present one. The caller commits."""
    kinds = [notice.kind for notice in CATALOGUE.values() if notice.audience is Audience.AFFILIATE]
    waiting = update(EventMail).where(
        WAITING,
        EventMail.digest_account_id == affiliate.account_id,
        EventMail.recipient == former,
        EventMail.kind.in_(kinds),
        EventMail.event_id.in_(select(Event.id).where(Event.affiliate_id == affiliate.id)),
    )
    moved = waiting.values(recipient=affiliate.mailbox)
    db.session.execute(moved.execution_options(synchronize_session=False))
