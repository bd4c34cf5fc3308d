"""From what happened to the emails it causes: for each, one is owed or it is written down why not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from ..accounts.models import Account
from ..affiliates import links, suppressions
from ..affiliates.models import Affiliate, State
from ..config import current_config
from ..db import db, insert
from ..notices import rendering, switches, unsubscribing
from ..notices.catalogue import Audience, Notice, caused_by
from ..notices.greeting import first_name_of
from ..outbox.models import OutboxMessage
from ..outbox.queue import enqueue
from .models import Event, EventMail, Why
from .occasions import STANDING, Occasion, Source

_NEVER_KEPT = {"join_link"}  # whoever has it acts for the affiliate; it stands in the email alone


@dataclass(frozen=True)
class Caused:
    """The event as it stands, and whether it is new; an old one owes nothing again."""

    event: Event
    fresh: bool


@dataclass(frozen=True)
class _Case:
    """What every decision about an event's emails needs to know."""

    event: Event
    account: Account
    affiliate: Affiliate | None
    values: Mapping[str, str]
    nothing_to_tell: bool
    now: datetime


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
) -> Caused:
    """Write down that something happened, and owe the emails it causes, within the caller's transaction.

    ``values`` are the occasion's own; names, links and the programme are added here. The same ``key``
    (of at most 200 characters) is the same event within an account.
    """
    event = _new_event(account, occasion, affiliate, values, key, source, now)
    if event is None:
        query = select(Event).where(Event.account_id == account.id, Event.key == key)
        return Caused(db.session.scalars(query).one(), fresh=False)
    case = _Case(event, account, affiliate, values, nothing_to_tell, now)
    for notice in caused_by(occasion):
        for mailbox, name in _recipients(case, notice):
            db.session.add(_mail(case, notice, mailbox, name))
    db.session.flush()
    return Caused(event, fresh=True)


def written_anew(
    event: Event, notice: Notice, recipient: str, recipient_name: str
) -> tuple[rendering.Rendered, str]:
    """Write an event's email with today's text; return it with the address where one click ends such emails.

    Raises TextRefused, and KeyError where the text asks for what this event does not tell.
    """
    account = db.session.get_one(Account, event.account_id)
    affiliate = db.session.get(Affiliate, event.affiliate_id) if event.affiliate_id else None
    case = _Case(event, account, affiliate, event.values, False, event.created_at)
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
) -> Event | None:
    row = {
        "account_id": account.id,
        "affiliate_id": affiliate.id if affiliate else None,
        "occasion": occasion,
        "key": key,
        "values": {name: value for name, value in values.items() if name not in _NEVER_KEPT},
        "source": source,
        "created_at": now,
    }
    statement = insert(Event).values(row).on_conflict_do_nothing(index_elements=["account_id", "key"])
    ident = db.session.execute(statement.returning(Event.id)).scalar_one_or_none()
    return db.session.get_one(Event, ident) if ident is not None else None


def _recipients(case: _Case, notice: Notice) -> Iterator[tuple[str, str]]:
    """Yield who is to be told. The end of a week is told to each affiliate, and apart from them to the owner."""
    if notice.audience is Audience.AFFILIATE:
        if case.affiliate is not None:
            yield case.affiliate.mailbox, case.affiliate.name
    elif case.event.occasion is not Occasion.WEEK_ENDED or case.affiliate is None:
        yield from switches.recipients_of(case.account)


def _mail(case: _Case, notice: Notice, mailbox: str, name: str) -> EventMail:
    """Decide about one email: owe it, or say why not."""
    row = EventMail(event_id=case.event.id, kind=notice.kind, recipient=mailbox)
    row.why = _why_not(case, notice, mailbox)
    if row.why is Why.OWED:
        _owe(case, notice, row, name)
    return row


def _why_not(case: _Case, notice: Notice, mailbox: str) -> Why:
    affiliate = case.affiliate if notice.audience is Audience.AFFILIATE else None
    if case.nothing_to_tell:
        return Why.NOTHING_TO_TELL
    if not switches.is_on(case.account.id, notice):
        return Why.OFF
    if affiliate is not None and (standing := _stands_against(affiliate, case.event.occasion)):
        return standing
    if affiliate is not None and not suppressions.wants(affiliate.id, notice):
        return Why.OPTED_OUT
    if suppressions.is_suppressed(case.account.id, mailbox, notice.category):
        return Why.SUPPRESSED
    return Why.OWED


def _stands_against(affiliate: Affiliate, occasion: Occasion) -> Why:
    """Return why where an affiliate stands forbids an email: only whoever takes part is told of sales and money."""
    match affiliate.state:
        case State.ACTIVE:
            return Why.OWED
        case State.UNCONFIRMED:
            return Why.NOT_CONFIRMED
        case State.SUSPENDED:
            return Why.SUSPENDED
    return Why.OWED if occasion in STANDING else Why.NOT_ACTIVE


def _owe(case: _Case, notice: Notice, row: EventMail, name: str) -> None:
    unsubscribe, preferences = _ways_out(case, notice, row.recipient)
    unknown = {variable.name: "" for variable in notice.variables}  # what nobody told is left blank
    values = {**unknown, **_common_values(case, name), **case.values}
    try:
        mail = rendering.render(
            notice, case.account, values, unsubscribe_url=unsubscribe, preferences_url=preferences
        )
    except rendering.TextRefused:
        row.why = Why.UNRENDERABLE
        return
    key = f"event:{case.event.id}:{notice.kind}:{_short(row.recipient)}"
    new = mail.to(row.recipient, name, kind=notice.kind, key=key, unsubscribe_url=unsubscribe)
    message = enqueue(case.account.id, new, now=case.now)
    if message is None:
        row.why = Why.DUPLICATE
        row.message_id = db.session.scalar(select(OutboxMessage.id).where(OutboxMessage.key == key))
    else:
        row.message_id = message.id


def _ways_out(case: _Case, notice: Notice, mailbox: str) -> tuple[str, str]:
    """Return where one click ends such emails, and where affiliates choose everything."""
    config, one_click = current_config(), ""
    if notice.audience is Audience.OWNER:
        if notice.optional_mail:
            one_click = unsubscribing.address_of(case.account, notice, mailbox, config)
        return one_click, ""
    if case.affiliate is None:
        return "", ""
    if notice.optional_mail:
        one_click = links.unsubscribe_of(case.affiliate, notice.kind, config)
    return one_click, links.preferences_of(case.affiliate, config)


def _common_values(case: _Case, recipient_name: str) -> dict[str, str]:
    """Return what every text may say, whatever happened."""
    values = {"programme": case.account.name, "owner_name": recipient_name}
    if case.affiliate is None:
        return values
    config, affiliate = current_config(), case.affiliate
    first = first_name_of(affiliate.name)
    return values | {
        "first_name": first,
        "last_name": affiliate.name.removeprefix(first).strip(),
        "name": affiliate.name,
        "email": affiliate.mailbox,
        "code": affiliate.code,
        "link": links.link_of(affiliate, case.account, config),
        "dashboard": links.dashboard_of(affiliate, config),
        "affiliate_name": affiliate.name,
        "affiliate_email": affiliate.mailbox,
        "affiliate_page": links.page_of(affiliate, config),
    }


def _short(mailbox: str) -> str:
    return hashlib.sha256(mailbox.casefold().encode("utf-8", "replace")).hexdigest()[:16]
