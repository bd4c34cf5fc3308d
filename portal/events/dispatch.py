"""From what happened to the emails it causes: for each, one is owed or it is written down why not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import bindparam, select

from ..accounts.models import Account
from ..affiliates import links, owner_unsubscribe, suppressions
from ..affiliates.models import Affiliate, AffiliateState
from ..affiliates.template_values import affiliate_values
from ..db import db, insert
from ..db.prepared import PreparedStatement
from ..db.transaction import flush_session
from ..notices import recipients, rendering
from ..notices.catalogue import Audience, Notice, notices_for
from ..outbox.models import OutboxMessage
from ..outbox.queue import enqueue
from ..state import current_config
from .models import EmailDecision, Event, EventMail
from .types import STATUS_EVENTS, EventType, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

_INSERT_EMAIL = PreparedStatement(
    sqlalchemy.insert(EventMail).values(
        event_id=bindparam("event"),
        kind=bindparam("kind"),
        recipient=bindparam("to"),
        message_id=bindparam("message"),
        decision=bindparam("why"),
    )
)
_FIND_EVENT = PreparedStatement(
    select(Event.id).where(Event.account_id == bindparam("account"), Event.key == bindparam("k"))
)
_FIND_MESSAGE = PreparedStatement(select(OutboxMessage.id).where(OutboxMessage.key == bindparam("k")))
_NEEDS_SUPPRESSION_CHECK = (EmailDecision.QUEUED, EmailDecision.UNRENDERABLE)
_NOT_STORED = {"join_link"}  # whoever has it acts for the affiliate; it stands in the email alone


@dataclass(frozen=True)
class RecordedEvent:
    """The event, and whether it is new; an old one owes nothing again."""

    event_id: int
    fresh: bool

    @property
    def event(self) -> Event:
        return db.session.get_one(Event, self.event_id)


@dataclass(frozen=True)
class PlannedEmail:
    """One email that an event would cause: in words, or the reason why there are none."""

    notice: Notice
    recipient: str
    name: str
    why: EmailDecision = EmailDecision.QUEUED
    mail: rendering.RenderedEmail | None = None
    unsubscribe_url: str = ""


EmailPlan = tuple[PlannedEmail, ...]


@dataclass(frozen=True)
class EventContext:
    """What every decision about an event's emails needs to know."""

    occasion: EventType
    account: Account
    affiliate: Affiliate | None
    values: Mapping[str, str]
    nothing_to_tell: bool = False


def record_event(
    account: Account,
    occasion: EventType,
    affiliate: Affiliate | None,
    values: Mapping[str, str],
    *,
    key: str,
    source: Source,
    now: datetime,
    nothing_to_tell: bool = False,
    planned: EmailPlan | None = None,
) -> RecordedEvent:
    """Write down that something happened, and owe the emails it causes, within the caller's transaction.

    ``values`` are the occasion's own; names, links and the programme are added here. The same ``key``
    (of at most 200 characters) is the same event within an account. Whoever has made the ``plan`` before
    the transaction began passes it on.
    """
    flush_session()
    ident = _insert_event(account, occasion, affiliate, values, key, source, now)
    if ident is None:
        return RecordedEvent(_FIND_EVENT.scalar(account=account.id, k=key), fresh=False)
    if planned is None:
        planned = plan_emails(account, occasion, affiliate, values, nothing_to_tell=nothing_to_tell)
    for one in planned:
        _record_email(ident, account.id, one, now)
    return RecordedEvent(ident, fresh=True)


def plan_emails(
    account: Account,
    occasion: EventType,
    affiliate: Affiliate | None,
    values: Mapping[str, str],
    *,
    nothing_to_tell: bool = False,
) -> EmailPlan:
    """Decide about each email that an occasion causes, and write it. Only reads; the affiliate may be in no table yet."""
    case = EventContext(occasion, account, affiliate, values, nothing_to_tell)
    notices = notices_for(occasion)
    return tuple(
        _plan_email(case, notice, *who) for notice in notices for who in _recipients_of(case, notice)
    )


def render_again(
    event: Event, notice: Notice, recipient: str, recipient_name: str
) -> tuple[rendering.RenderedEmail, str]:
    """Write an event's email with today's text; return it with the address where one click ends such emails.

    Raises UnrenderableText, and KeyError where the text asks for what this event does not tell.
    """
    account = db.session.get_one(Account, event.account_id)
    affiliate = db.session.get(Affiliate, event.affiliate_id) if event.affiliate_id else None
    case = EventContext(event.type, account, affiliate, event.values)
    unsubscribe, preferences = _unsubscribe_urls(case, notice, recipient)
    values = {**_common_values(case, recipient_name), **event.values}
    mail = rendering.render(notice, account, values, unsubscribe_url=unsubscribe, preferences_url=preferences)
    return mail, unsubscribe


def _insert_event(
    account: Account,
    occasion: EventType,
    affiliate: Affiliate | None,
    values: Mapping[str, str],
    key: str,
    source: Source,
    now: datetime,
) -> int | None:
    row = {
        "account": account.id,
        "affiliate": affiliate.id if affiliate else None,
        "type": occasion,
        "k": key,
        "told": {name: value for name, value in values.items() if name not in _NOT_STORED},
        "source": source,
        "now": now,
    }
    ident: int | None = _event_insert(db.engine.dialect.name).scalar(**row)
    return ident


@cache
def _event_insert(_dialect: str) -> PreparedStatement:
    row: dict[str, Any] = {
        "account_id": bindparam("account"),
        "affiliate_id": bindparam("affiliate"),
        "type": bindparam("type"),
        "key": bindparam("k"),
        "values": bindparam("told"),
        "source": bindparam("source"),
        "created_at": bindparam("now"),
    }
    statement = insert(Event).values(row).on_conflict_do_nothing(index_elements=["account_id", "key"])
    return PreparedStatement(statement.returning(Event.__table__.c.id))


def _recipients_of(case: EventContext, notice: Notice) -> Iterator[tuple[str, str]]:
    """Yield who is to be told. The end of a week is told to each affiliate, and apart from them to the owner."""
    if notice.audience is Audience.AFFILIATE:
        if case.affiliate is not None:
            yield case.affiliate.mailbox, case.affiliate.name
    elif case.occasion is not EventType.WEEK_ENDED or case.affiliate is None:
        yield from recipients.recipients_of(case.account)


def _plan_email(case: EventContext, notice: Notice, mailbox: str, name: str) -> PlannedEmail:
    why = _decide(case, notice)
    if why is not EmailDecision.QUEUED:
        return PlannedEmail(notice, mailbox, name, why)
    unsubscribe, preferences = _unsubscribe_urls(case, notice, mailbox)
    unknown = {variable.name: "" for variable in notice.variables}  # what nobody told is left blank
    values = {**unknown, **_common_values(case, name), **case.values}
    try:
        mail = rendering.render(
            notice, case.account, values, unsubscribe_url=unsubscribe, preferences_url=preferences
        )
    except rendering.UnrenderableText:
        return PlannedEmail(notice, mailbox, name, EmailDecision.UNRENDERABLE)
    return PlannedEmail(notice, mailbox, name, mail=mail, unsubscribe_url=unsubscribe)


def _record_email(event_id: int, account_id: int, one: PlannedEmail, now: datetime) -> None:
    """Owe a planned email, or say why not. Who is not written to is asked last: that may have changed since."""
    why, message_id = one.why, None
    if why in _NEEDS_SUPPRESSION_CHECK and suppressions.is_suppressed(
        account_id, one.recipient, one.notice.category
    ):
        why = EmailDecision.SUPPRESSED
    if why is EmailDecision.QUEUED and one.mail is not None:
        why, message_id = _enqueue(event_id, account_id, one, one.mail, now)
    row = {"event": event_id, "kind": one.notice.kind, "to": one.recipient, "message": message_id, "why": why}
    _INSERT_EMAIL.rowcount(**row)


def _enqueue(
    event_id: int, account_id: int, one: PlannedEmail, mail: rendering.RenderedEmail, now: datetime
) -> tuple[EmailDecision, int | None]:
    key = f"event:{event_id}:{one.notice.kind}:{_mailbox_digest(one.recipient)}"
    new = mail.to(one.recipient, one.name, kind=one.notice.kind, key=key, unsubscribe_url=one.unsubscribe_url)
    ident = enqueue(account_id, new, now=now)
    if ident is not None:
        return EmailDecision.QUEUED, ident
    return EmailDecision.DUPLICATE, _FIND_MESSAGE.scalar(k=key)


def _decide(case: EventContext, notice: Notice) -> EmailDecision:
    affiliate = case.affiliate if notice.audience is Audience.AFFILIATE else None
    if case.nothing_to_tell:
        return EmailDecision.NOTHING_TO_TELL
    if not recipients.is_enabled(case.account.id, notice):
        return EmailDecision.OFF
    if affiliate is not None and (standing := _decide_by_state(affiliate, case.occasion)):
        return standing
    if affiliate is not None and affiliate.id is not None and not suppressions.wants(affiliate.id, notice):
        return EmailDecision.OPTED_OUT
    return EmailDecision.QUEUED


def _decide_by_state(affiliate: Affiliate, occasion: EventType) -> EmailDecision:
    """Return why where an affiliate stands forbids an email: only whoever takes part is told of sales and money."""
    match affiliate.state:
        case AffiliateState.ACTIVE:
            return EmailDecision.QUEUED
        case AffiliateState.UNCONFIRMED:
            return EmailDecision.NOT_CONFIRMED
        case AffiliateState.SUSPENDED:
            return EmailDecision.SUSPENDED
    return EmailDecision.QUEUED if occasion in STATUS_EVENTS else EmailDecision.NOT_ACTIVE


def _unsubscribe_urls(case: EventContext, notice: Notice, mailbox: str) -> tuple[str, str]:
    """Return where one click ends such emails, and where affiliates choose everything."""
    config, one_click = current_config(), ""
    if notice.audience is Audience.OWNER:
        if notice.can_be_unsubscribed:
            one_click = owner_unsubscribe.address_of(case.account, notice, mailbox, config)
        return one_click, ""
    if case.affiliate is None:
        return "", ""
    if notice.can_be_unsubscribed:
        one_click = links.unsubscribe_url(case.affiliate, notice.kind, config)
    return one_click, links.preferences_url(case.affiliate, config)


def _common_values(case: EventContext, recipient_name: str) -> dict[str, str]:
    """Return what every text may say, whatever happened."""
    values = {"programme": case.account.name, "owner_name": recipient_name}
    if case.affiliate is None:
        return values
    return values | affiliate_values(case.affiliate, case.account, current_config())


def _mailbox_digest(mailbox: str) -> str:
    return hashlib.sha256(mailbox.casefold().encode("utf-8", "replace")).hexdigest()[:16]
