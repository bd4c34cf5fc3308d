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
from ..db.prepared import Swift
from ..db.transaction import go_past_session
from ..notices import recipients, rendering
from ..notices.catalogue import Audience, Notice, notices_for
from ..outbox.models import OutboxMessage
from ..outbox.queue import enqueue
from ..state import current_config
from .models import Event, EventMail, Why
from .types import STANDING, Occasion, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

_MAIL = Swift(
    sqlalchemy.insert(EventMail).values(
        event_id=bindparam("event"),
        kind=bindparam("kind"),
        recipient=bindparam("to"),
        message_id=bindparam("message"),
        decision=bindparam("why"),
    )
)
_HAPPENED = Swift(
    select(Event.id).where(Event.account_id == bindparam("account"), Event.key == bindparam("k"))
)
_OWED_BEFORE = Swift(select(OutboxMessage.id).where(OutboxMessage.key == bindparam("k")))
_MIGHT_GO = (Why.OWED, Why.UNRENDERABLE)
_NEVER_KEPT = {"join_link"}  # whoever has it acts for the affiliate; it stands in the email alone


@dataclass(frozen=True)
class Caused:
    """The event, and whether it is new; an old one owes nothing again."""

    event_id: int
    fresh: bool

    @property
    def event(self) -> Event:
        return db.session.get_one(Event, self.event_id)


@dataclass(frozen=True)
class Planned:
    """One email that an event would cause: in words, or the reason why there are none."""

    notice: Notice
    recipient: str
    name: str
    why: Why = Why.OWED
    mail: rendering.Rendered | None = None
    unsubscribe_url: str = ""


Plan = tuple[Planned, ...]


@dataclass(frozen=True)
class _Case:
    """What every decision about an event's emails needs to know."""

    occasion: Occasion
    account: Account
    affiliate: Affiliate | None
    values: Mapping[str, str]
    nothing_to_tell: bool = False


def cause(
    account: Account,
    occasion: Occasion,
    affiliate: Affiliate | None,
    values: Mapping[str, str],
    *,
    key: str,
    source: Source,
    now: datetime,
    nothing_to_tell: bool = False,
    planned: Plan | None = None,
) -> Caused:
    """Write down that something happened, and owe the emails it causes, within the caller's transaction.

    ``values`` are the occasion's own; names, links and the programme are added here. The same ``key``
    (of at most 200 characters) is the same event within an account. Whoever has made the ``plan`` before
    the transaction began passes it on.
    """
    go_past_session()
    ident = _new_event(account, occasion, affiliate, values, key, source, now)
    if ident is None:
        return Caused(_HAPPENED.scalar({"account": account.id, "k": key}), fresh=False)
    if planned is None:
        planned = plan(account, occasion, affiliate, values, nothing_to_tell=nothing_to_tell)
    for one in planned:
        _write_down(ident, account.id, one, now)
    return Caused(ident, fresh=True)


def plan(
    account: Account,
    occasion: Occasion,
    affiliate: Affiliate | None,
    values: Mapping[str, str],
    *,
    nothing_to_tell: bool = False,
) -> Plan:
    """Decide about each email that an occasion causes, and write it. Only reads; the affiliate may be in no table yet."""
    case = _Case(occasion, account, affiliate, values, nothing_to_tell)
    notices = notices_for(occasion)
    return tuple(_planned(case, notice, *who) for notice in notices for who in _recipients(case, notice))


def written_anew(
    event: Event, notice: Notice, recipient: str, recipient_name: str
) -> tuple[rendering.Rendered, str]:
    """Write an event's email with today's text; return it with the address where one click ends such emails.

    Raises TextRefused, and KeyError where the text asks for what this event does not tell.
    """
    account = db.session.get_one(Account, event.account_id)
    affiliate = db.session.get(Affiliate, event.affiliate_id) if event.affiliate_id else None
    case = _Case(event.type, account, affiliate, event.values)
    unsubscribe, preferences = _ways_out(case, notice, recipient)
    values = {**_common_values(case, recipient_name), **event.values}
    mail = rendering.render(notice, account, values, unsubscribe_url=unsubscribe, preferences_url=preferences)
    return mail, unsubscribe


def _new_event(
    account: Account,
    occasion: Occasion,
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
        "told": {name: value for name, value in values.items() if name not in _NEVER_KEPT},
        "source": source,
        "now": now,
    }
    ident: int | None = _happening(db.engine.dialect.name).scalar(row)
    return ident


@cache
def _happening(_dialect: str) -> Swift:
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
    return Swift(statement.returning(Event.__table__.c.id))


def _recipients(case: _Case, notice: Notice) -> Iterator[tuple[str, str]]:
    """Yield who is to be told. The end of a week is told to each affiliate, and apart from them to the owner."""
    if notice.audience is Audience.AFFILIATE:
        if case.affiliate is not None:
            yield case.affiliate.mailbox, case.affiliate.name
    elif case.occasion is not Occasion.WEEK_ENDED or case.affiliate is None:
        yield from recipients.recipients_of(case.account)


def _planned(case: _Case, notice: Notice, mailbox: str, name: str) -> Planned:
    why = _why_not(case, notice)
    if why is not Why.OWED:
        return Planned(notice, mailbox, name, why)
    unsubscribe, preferences = _ways_out(case, notice, mailbox)
    unknown = {variable.name: "" for variable in notice.variables}  # what nobody told is left blank
    values = {**unknown, **_common_values(case, name), **case.values}
    try:
        mail = rendering.render(
            notice, case.account, values, unsubscribe_url=unsubscribe, preferences_url=preferences
        )
    except rendering.TextRefused:
        return Planned(notice, mailbox, name, Why.UNRENDERABLE)
    return Planned(notice, mailbox, name, mail=mail, unsubscribe_url=unsubscribe)


def _write_down(event_id: int, account_id: int, one: Planned, now: datetime) -> None:
    """Owe a planned email, or say why not. Who is not written to is asked last: that may have changed since."""
    why, message_id = one.why, None
    if why in _MIGHT_GO and suppressions.is_suppressed(account_id, one.recipient, one.notice.category):
        why = Why.SUPPRESSED
    if why is Why.OWED and one.mail is not None:
        why, message_id = _owe(event_id, account_id, one, one.mail, now)
    row = {"event": event_id, "kind": one.notice.kind, "to": one.recipient, "message": message_id, "why": why}
    _MAIL.changes(row)


def _owe(
    event_id: int, account_id: int, one: Planned, mail: rendering.Rendered, now: datetime
) -> tuple[Why, int | None]:
    key = f"event:{event_id}:{one.notice.kind}:{_short(one.recipient)}"
    new = mail.to(one.recipient, one.name, kind=one.notice.kind, key=key, unsubscribe_url=one.unsubscribe_url)
    ident = enqueue(account_id, new, now=now)
    if ident is not None:
        return Why.OWED, ident
    return Why.DUPLICATE, _OWED_BEFORE.scalar({"k": key})


def _why_not(case: _Case, notice: Notice) -> Why:
    affiliate = case.affiliate if notice.audience is Audience.AFFILIATE else None
    if case.nothing_to_tell:
        return Why.NOTHING_TO_TELL
    if not recipients.is_on(case.account.id, notice):
        return Why.OFF
    if affiliate is not None and (standing := _stands_against(affiliate, case.occasion)):
        return standing
    if affiliate is not None and affiliate.id is not None and not suppressions.wants(affiliate.id, notice):
        return Why.OPTED_OUT
    return Why.OWED


def _stands_against(affiliate: Affiliate, occasion: Occasion) -> Why:
    """Return why where an affiliate stands forbids an email: only whoever takes part is told of sales and money."""
    match affiliate.state:
        case AffiliateState.ACTIVE:
            return Why.OWED
        case AffiliateState.UNCONFIRMED:
            return Why.NOT_CONFIRMED
        case AffiliateState.SUSPENDED:
            return Why.SUSPENDED
    return Why.OWED if occasion in STANDING else Why.NOT_ACTIVE


def _ways_out(case: _Case, notice: Notice, mailbox: str) -> tuple[str, str]:
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


def _common_values(case: _Case, recipient_name: str) -> dict[str, str]:
    """Return what every text may say, whatever happened."""
    values = {"programme": case.account.name, "owner_name": recipient_name}
    if case.affiliate is None:
        return values
    return values | affiliate_values(case.affiliate, case.account, current_config())


def _short(mailbox: str) -> str:
    return hashlib.sha256(mailbox.casefold().encode("utf-8", "replace")).hexdigest()[:16]
