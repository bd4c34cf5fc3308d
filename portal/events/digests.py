"""Digests: emails of events that exceeded a limit of their recipient, or that an affiliate wants together, as one email.

A row of ``event_mail`` waits for a digest while its ``digest_at`` is set. The job of an account takes every waiting row
of each recipient who has one that is due, and decides about each of them anew: the affiliate may have been suspended, or
have unsubscribed, since.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from sqlalchemy import bindparam, func, or_, select, update

from ..accounts.models import Account
from ..affiliates.models import Affiliate, EmailPace, mailbox_digest
from ..clock import zone_of
from ..db import db
from ..db.prepared import PreparedStatement
from ..languages import write_moment
from ..notices import recipients, rendering
from ..notices.catalogue import CATALOGUE, Audience, Notice
from ..notices.texts import current_text
from ..outbox.queue import NewMessage, enqueue
from ..state import current_config
from ..web.translations import current_language, speaking, speaking_to
from . import dispatch, email_limits
from .models import EmailDecision, Event, EventMail
from .pace import JOB, WAITING
from .presenter import event_details
from .types import EVENT_LABELS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MAX_LINES = 150  # events that one digest lists; further ones are counted
_LINE_CHARS = 120
_MAX_ROWS = 2000  # of one digest; further ones belong to the next
_POSTPONED = timedelta(hours=1)  # a digest beyond the number that a recipient gets in a day
_MAX_JOBS = 200  # accounts found by one sweep
_NOTICES = {Audience.AFFILIATE: CATALOGUE["event-digest"], Audience.OWNER: CATALOGUE["owner-event-digest"]}
_WAITING_OF = PreparedStatement(
    select(func.count())
    .select_from(EventMail)
    .where(WAITING, EventMail.digest_account_id == bindparam("account_id"))
)


@dataclass(frozen=True)
class _Collected:
    """One email that waits for a digest, with its event and its affiliate."""

    mail_id: int
    notice: Notice
    event: Event
    affiliate: Affiliate | None


@dataclass(frozen=True)
class _Recipient:
    """The recipient of a digest. ``name`` is None for a mailbox that is no recipient any more."""

    mailbox: str
    name: str | None


def find_work(now: datetime) -> list[tuple[str, int]]:
    """Return a job for each account that has a digest due."""
    query = select(EventMail.digest_account_id).where(WAITING, EventMail.digest_at <= now)
    query = query.distinct().limit(_MAX_JOBS)
    return [(JOB, account_id) for account_id in db.session.scalars(query) if account_id is not None]


def count_waiting(account_id: int) -> int:
    """Return how many emails of an account wait for a digest."""
    return _WAITING_OF.scalar(account_id=account_id) or 0


def send(account_id: int, *, now: datetime) -> None:
    """Queue the digests of an account that are due. Commits after each."""
    account = db.session.get(Account, account_id)
    query = select(EventMail.recipient, EventMail.kind).where(
        WAITING, EventMail.digest_at <= now, EventMail.digest_account_id == account_id
    )
    query = query.distinct()
    due = {(row.recipient, CATALOGUE[row.kind].audience) for row in db.session.execute(query)}
    for mailbox, audience in sorted(due):
        if account is not None:
            _send_one(account, mailbox, audience, now)
    db.session.commit()


def _send_one(account: Account, mailbox: str, audience: Audience, now: datetime) -> None:
    """Queue one digest. Commits."""
    collected = _lock_collected(account.id, mailbox, audience, now)
    recipient = _Recipient(mailbox, _name_of(account, mailbox, audience, collected))
    kept = _decide_anew(account, recipient, collected)
    ids = [one.mail_id for one in kept]
    if kept and not email_limits.may_send_digest(account.id, mailbox, now):
        _update(ids, digest_at=now + _POSTPONED)
    elif kept and not _enqueue(account, recipient, audience, kept, now):
        db.session.rollback()  # another worker has queued this digest, with fewer emails
        return
    db.session.commit()


def _enqueue(
    account: Account, recipient: _Recipient, audience: Audience, kept: Sequence[_Collected], now: datetime
) -> bool:
    """Queue one digest, or store that its text cannot be rendered. Returns False if it is queued already."""
    ids = [one.mail_id for one in kept]
    try:
        new = _render(account, recipient, audience, kept)
    except (rendering.UnrenderableText, KeyError):  # it would be tried again and again, and stop all others
        _update(ids, digest_at=None, decision=EmailDecision.UNRENDERABLE)
        return True
    message_id = enqueue(account.id, new, now=now)
    is_alone = len(kept) == 1  # then it is the very email
    decision = EmailDecision.QUEUED if is_alone else EmailDecision.IN_DIGEST
    _update(ids, digest_at=None, message_id=message_id, decision=decision)
    return message_id is not None


def _lock_collected(account_id: int, mailbox: str, audience: Audience, now: datetime) -> list[_Collected]:
    """Return what a recipient has waiting, locked. Of what an affiliate chose to get together, only what is due."""
    kinds = [notice.kind for notice in CATALOGUE.values() if notice.audience is audience]
    query = (
        select(EventMail.id, EventMail.kind, Event, Affiliate)
        .join(Event, Event.id == EventMail.event_id)
        .outerjoin(Affiliate, Affiliate.id == Event.affiliate_id)
        .where(
            WAITING,
            EventMail.digest_account_id == account_id,
            EventMail.recipient == mailbox,
            EventMail.kind.in_(kinds),
        )
        .order_by(EventMail.id)
        .limit(_MAX_ROWS)
        # Waits for another worker: with skip_locked the two would share the rows, and the recipient would get two digests.
        .with_for_update(of=EventMail)
    )
    if audience is Audience.AFFILIATE:
        query = query.where(or_(EventMail.digest_at <= now, Affiliate.email_pace == EmailPace.AT_ONCE))
    return [_Collected(row[0], CATALOGUE[row[1]], row[2], row[3]) for row in db.session.execute(query)]


def _name_of(
    account: Account, mailbox: str, audience: Audience, collected: Sequence[_Collected]
) -> str | None:
    if audience is Audience.OWNER:
        return {one.mailbox: one.name for one in recipients.recipients_of(account)}.get(mailbox)
    return next((one.affiliate.name for one in collected if one.affiliate is not None), None)


def _decide_anew(
    account: Account, recipient: _Recipient, collected: Sequence[_Collected]
) -> list[_Collected]:
    """Return the emails that may still be sent, and store the decision about the others."""
    known: dict[tuple[str, str, int | None], EmailDecision] = {}
    dropped: dict[EmailDecision, list[int]] = {}
    kept = []
    for one in collected:
        # What an owner gets does not depend on the affiliate; thousands may have signed up.
        about = None if one.notice.audience is Audience.OWNER else one.event.affiliate_id
        key = (one.notice.kind, one.event.type, about)
        if key not in known:
            known[key] = _decide(account, recipient, one)
        if known[key] is EmailDecision.QUEUED:
            kept.append(one)
        else:
            dropped.setdefault(known[key], []).append(one.mail_id)
    for decision, ids in dropped.items():
        _update(ids, digest_at=None, decision=decision)
    return kept


def _decide(account: Account, recipient: _Recipient, one: _Collected) -> EmailDecision:
    if recipient.name is None:
        return EmailDecision.SUPPRESSED
    new = dispatch.NewEvent(account, one.event.type, one.affiliate, one.event.values)
    return dispatch.decide(new, one.notice, recipient.mailbox)


def _render(
    account: Account, recipient: _Recipient, audience: Audience, kept: Sequence[_Collected]
) -> NewMessage:
    """Return the digest, or the very email if there is only one."""
    first, name, mailbox = kept[0], recipient.name or "", recipient.mailbox
    key = f"digest:{first.mail_id}:{mailbox_digest(mailbox)}"
    if len(kept) == 1:
        mail, unsubscribe = dispatch.render_again(first.event, first.notice, mailbox, name)
        return mail.to(mailbox, name, kind=first.notice.kind, key=key, unsubscribe_url=unsubscribe)
    notice = _NOTICES[audience]
    new = dispatch.NewEvent(account, first.event.type, first.affiliate, {})
    unsubscribe, preferences = dispatch.unsubscribe_urls(new, notice, mailbox)
    is_owner = audience is Audience.OWNER
    chosen = new.chosen_language
    language = (
        recipients.owner_language(account) if is_owner else current_text(account, notice, chosen).language
    )
    with speaking_to(language) if is_owner else speaking(language):
        lines = _lines(kept, account.time_zone, with_names=is_owner)
    pace = EmailPace.AT_ONCE if is_owner or first.affiliate is None else first.affiliate.email_pace
    values = dispatch.common_values(new, name) | {
        "count": str(len(kept)),
        "lines": "\n".join(lines),
        "pace": "" if pace is EmailPace.AT_ONCE else pace.value,
        "events_page": f"{current_config().base_url}/events",
    }
    with dispatch.speaking_to_owner(notice, account, language):
        mail = rendering.render(
            notice,
            account,
            values,
            language=chosen,
            unsubscribe_url=unsubscribe,
            preferences_url=preferences,
        )
    return mail.to(mailbox, name, kind=notice.kind, key=key, unsubscribe_url=unsubscribe)


def _lines(kept: Sequence[_Collected], time_zone: str, *, with_names: bool) -> list[str]:
    zone, language = zone_of(time_zone), current_language()
    lines = []
    for one in kept[:MAX_LINES]:
        at = one.event.created_at.astimezone(zone)
        parts = [write_moment(at, language), str(EVENT_LABELS[one.event.type]), event_details(one.event)]
        if with_names and one.affiliate is not None:
            parts.insert(2, one.affiliate.name)
        line = rendering.clean_line(": ".join(part for part in parts if part))
        lines.append(line if len(line) <= _LINE_CHARS else line[: _LINE_CHARS - 1] + "…")
    more = len(kept) - len(lines)
    return [*lines, _("and %(count)s more", count=f"{more:,}")] if more else lines


def _update(mail_ids: Collection[int], **values: Any) -> None:
    statement = update(EventMail).where(EventMail.id.in_(mail_ids)).values(**values)
    db.session.execute(statement.execution_options(synchronize_session=False))
