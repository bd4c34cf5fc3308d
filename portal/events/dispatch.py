"""Turns an event into emails: each one is queued, or the reason why it is not is stored.

The work has two halves. ``plan_emails`` decides and renders, and only reads. ``record_event`` writes, in the caller's
transaction. A caller whose transaction must be short, as that of a sign-up, plans before it begins. The statements of
the second half are prepared statements because a sign-up runs them in a raw transaction (see enrolment/signup.py).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import bindparam, select

from ..accounts.models import Account
from ..accounts.standing import is_limited
from ..affiliates import links, owner_unsubscribe, suppressions
from ..affiliates.models import Affiliate, AffiliateState, EmailPace, mailbox_digest
from ..affiliates.template_values import affiliate_values
from ..db import db, insert
from ..db.prepared import PreparedStatement
from ..db.transaction import current_dialect, flush_session
from ..notices import branding, recipients, rendering
from ..notices.catalogue import Audience, Notice, notices_for
from ..outbox.models import OutboxMessage
from ..outbox.queue import enqueue, own_server_key
from ..state import current_config
from ..web.translations import speaking_to
from .email_limits import Budget, budget_of, wait_for_digest
from .models import EmailDecision, Event, EventMail
from .pace import COLLECTED, next_digest
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
        decision=bindparam("decided"),
        digest_at=bindparam("digest_at"),
        digest_account_id=bindparam("digest_account"),
    )
)
_FIND_EVENT = PreparedStatement(
    select(Event.id).where(Event.account_id == bindparam("account"), Event.key == bindparam("k"))
)
_FIND_MESSAGE = PreparedStatement(select(OutboxMessage.id).where(OutboxMessage.key == bindparam("k")))
_NEEDS_SUPPRESSION_CHECK = (EmailDecision.QUEUED, EmailDecision.UNRENDERABLE)
# Opening this link accepts in the affiliate's name. It goes into the email and is not stored with the event.
_NOT_STORED = {"join_link"}


@dataclass(frozen=True)
class NewEvent:
    """Something that happened in a programme.

    ``values`` are those of the event's type; names, links and the programme are added when an email is rendered.
    ``withheld``: why none of its emails is sent; with ``emails_owner``, those to the owner leave all the same.
    """

    account: Account
    type: EventType
    affiliate: Affiliate | None
    values: Mapping[str, str]
    withheld: EmailDecision = EmailDecision.QUEUED
    emails_owner: bool = False

    @property
    def chosen_language(self) -> str:
        return self.affiliate.language or "" if self.affiliate else ""


@dataclass(frozen=True)
class RecordedEvent:
    """A stored event. ``is_new`` is False where its key was known already; then no email is queued."""

    event_id: int
    is_new: bool

    @property
    def event(self) -> Event:
        return db.session.get_one(Event, self.event_id)


@dataclass(frozen=True)
class PlannedEmail:
    """One email of an event: rendered, or the decision not to send it."""

    notice: Notice
    recipient: str
    name: str
    decision: EmailDecision = EmailDecision.QUEUED
    rendered: rendering.RenderedEmail | None = None
    unsubscribe_url: str = ""
    budget: Budget = Budget.NONE
    own_server_only: bool = False
    pace: EmailPace = EmailPace.AT_ONCE
    time_zone: str = "UTC"  # of the programme


EmailPlan = tuple[PlannedEmail, ...]


def record_event(
    new: NewEvent, *, key: str, source: Source, now: datetime, plan: EmailPlan | None = None
) -> RecordedEvent:
    """Store an event and queue its emails. The caller commits.

    Args:
        key: Identifies the event within the account, at most 200 characters. A known key changes nothing.
        plan: What ``plan_emails`` returned for this event; planned here if missing.
    """
    flush_session()
    event_id = _insert_event(new, key, source, now)
    if event_id is None:
        return RecordedEvent(_FIND_EVENT.scalar(account=new.account.id, k=key), is_new=False)
    for planned in plan_emails(new) if plan is None else plan:
        _record_email(event_id, new.account.id, planned, now)
    return RecordedEvent(event_id, is_new=True)


def plan_emails(new: NewEvent) -> EmailPlan:
    """Decide about each email of an event and render it. Only reads; the affiliate may not be stored yet."""
    return tuple(
        _plan_email(new, notice, recipient)
        for notice in notices_for(new.type)
        for recipient in _recipients(new, notice)
    )


def render_again(
    event: Event, notice: Notice, recipient: str, recipient_name: str
) -> tuple[rendering.RenderedEmail, str]:
    """Render an event's email with the current text; return it with its one-click unsubscribe address.

    Raises:
        UnrenderableText: The text cannot be rendered.
        KeyError: The text uses a variable that the event does not have.
    """
    account = db.session.get_one(Account, event.account_id)
    affiliate = db.session.get(Affiliate, event.affiliate_id) if event.affiliate_id else None
    known = NewEvent(account, event.type, affiliate, event.values)
    values = {**common_values(known, recipient_name), **event.values}
    with speaking_to_owner(notice, account):
        return _render(known, notice, recipient, values)


def _render(
    new: NewEvent, notice: Notice, mailbox: str, values: Mapping[str, str]
) -> tuple[rendering.RenderedEmail, str]:
    unsubscribe, preferences = unsubscribe_urls(new, notice, mailbox)
    links = rendering.FooterLinks(unsubscribe_url=unsubscribe, preferences_url=preferences)
    return rendering.render(notice, new.account, values, language=new.chosen_language, **links), unsubscribe


def speaking_to_owner(notice: Notice, account: Account, language: str = "") -> AbstractContextManager[None]:
    """Return a block that writes a notice to the owner in the owner's language: the code, or, if empty, the contact's.

    It changes nothing for a notice to affiliates.
    """
    if notice.audience is Audience.AFFILIATE:
        return nullcontext()
    return speaking_to(language or recipients.owner_language(account))


def find_event_id(account_id: int, key: str) -> int | None:
    """Return the id of the account's event with this key."""
    found: int | None = _FIND_EVENT.scalar(account=account_id, k=key)
    return found


def _insert_event(new: NewEvent, key: str, source: Source, now: datetime) -> int | None:
    """Insert the event; return its id, or None if the account has an event with this key."""
    row = {
        "account": new.account.id,
        "affiliate": new.affiliate.id if new.affiliate else None,
        "type": new.type,
        "k": key,
        "stored": {name: value for name, value in new.values.items() if name not in _NOT_STORED},
        "source": source,
        "now": now,
    }
    event_id: int | None = _event_insert(current_dialect()).scalar(**row)
    return event_id


@cache
def _event_insert(_dialect: str) -> PreparedStatement:
    row: dict[str, Any] = {
        "account_id": bindparam("account"),
        "affiliate_id": bindparam("affiliate"),
        "type": bindparam("type"),
        "key": bindparam("k"),
        "values": bindparam("stored"),
        "source": bindparam("source"),
        "created_at": bindparam("now"),
    }
    statement = insert(Event).values(row).on_conflict_do_nothing(index_elements=["account_id", "key"])
    return PreparedStatement(statement.returning(Event.__table__.c.id))


def _recipients(new: NewEvent, notice: Notice) -> Iterator[recipients.Recipient]:
    """Yield each recipient. An affiliate's week is not reported to the owner."""
    if notice.audience is Audience.AFFILIATE:
        if new.affiliate is not None:
            yield recipients.Recipient(new.affiliate.mailbox, new.affiliate.name, new.account.language)
    elif new.type is not EventType.WEEK_ENDED or new.affiliate is None:
        yield from recipients.recipients_of(new.account)


def _plan_email(new: NewEvent, notice: Notice, recipient: recipients.Recipient) -> PlannedEmail:
    mailbox, name, language = recipient
    decision = _decide(new, notice)
    if decision is not EmailDecision.QUEUED:
        return PlannedEmail(notice, mailbox, name, decision)
    blank = {variable.name: "" for variable in notice.variables}  # for optional values that are missing
    values = {**blank, **common_values(new, name), **new.values}
    try:
        with speaking_to_owner(notice, new.account, language):
            mail, unsubscribe = _render(new, notice, mailbox, values)
    except rendering.UnrenderableText:
        return PlannedEmail(notice, mailbox, name, EmailDecision.UNRENDERABLE)
    budget = budget_of(new.type, new.affiliate, notice)
    planned = PlannedEmail(notice, mailbox, name, rendered=mail, unsubscribe_url=unsubscribe, budget=budget)
    if new.affiliate is not None and notice.kind in COLLECTED:
        return replace(planned, pace=new.affiliate.email_pace, time_zone=new.account.time_zone)
    return planned


def _record_email(event_id: int, account_id: int, planned: PlannedEmail, now: datetime) -> None:
    """Queue a planned email and store the decision.

    Suppression is checked here and not in the plan, because a mailbox may be suppressed between plan and write. So is
    the recipient's budget: an email over it waits for the next digest, as does one that the affiliate wants together with others.
    """
    decision, message_id, digest_at = planned.decision, None, None
    if decision in _NEEDS_SUPPRESSION_CHECK and _is_suppressed(account_id, planned.notice, planned.recipient):
        decision = EmailDecision.SUPPRESSED
    if decision is EmailDecision.QUEUED:
        digest_at = next_digest(planned.pace, now, planned.time_zone)
        if digest_at is None:
            wait = wait_for_digest(planned.budget, account_id, planned.recipient, now)
            digest_at = now + wait if wait else None
    if digest_at is not None:
        decision = EmailDecision.IN_DIGEST
    elif decision is EmailDecision.QUEUED and planned.rendered is not None:
        decision, message_id = _enqueue(event_id, account_id, planned, planned.rendered, now)
    row = {
        "event": event_id,
        "kind": planned.notice.kind,
        "to": planned.recipient,
        "message": message_id,
        "decided": decision,
        "digest_at": digest_at,
        "digest_account": account_id if digest_at else None,
    }
    _INSERT_EMAIL.rowcount(**row)


def _enqueue(
    event_id: int, account_id: int, planned: PlannedEmail, mail: rendering.RenderedEmail, now: datetime
) -> tuple[EmailDecision, int | None]:
    kind = planned.notice.kind
    key = f"event:{event_id}:{kind}:{mailbox_digest(planned.recipient)}"
    key = own_server_key(key) if planned.own_server_only else key
    new = mail.to(
        planned.recipient, planned.name, kind=kind, key=key, unsubscribe_url=planned.unsubscribe_url
    )
    message_id = enqueue(account_id, new, now=now)
    if message_id is not None:
        return EmailDecision.QUEUED, message_id
    return EmailDecision.DUPLICATE, _FIND_MESSAGE.scalar(k=key)


def decide(new: NewEvent, notice: Notice, mailbox: str) -> EmailDecision:
    """Return whether an email of a stored event may be sent at present."""
    decision = _decide(new, notice)
    is_suppressed = _is_suppressed(new.account.id, notice, mailbox)
    return EmailDecision.SUPPRESSED if is_suppressed and decision in _NEEDS_SUPPRESSION_CHECK else decision


def _is_suppressed(account_id: int, notice: Notice, mailbox: str) -> bool:
    to_affiliate = notice.audience is Audience.AFFILIATE
    return suppressions.is_suppressed(account_id, mailbox, notice.category, to_affiliate=to_affiliate)


def _decide(new: NewEvent, notice: Notice) -> EmailDecision:
    affiliate = new.affiliate if notice.audience is Audience.AFFILIATE else None
    if new.withheld is not EmailDecision.QUEUED and not (new.emails_owner and affiliate is None):
        return new.withheld
    if not recipients.is_enabled(new.account.id, notice):
        return EmailDecision.OFF
    needs_address = affiliate is not None and notice.can_be_unsubscribed
    if needs_address and not branding.is_address_settled(new.account.id):
        return EmailDecision.NO_ADDRESS
    if affiliate is not None and (decision := _decide_by_state(affiliate, new.type)):
        return decision
    if affiliate is not None and affiliate.confirmed_at is None and is_limited(new.account):
        return EmailDecision.NOT_APPROVED
    if affiliate is not None and affiliate.id is not None and not suppressions.wants(affiliate.id, notice):
        return EmailDecision.OPTED_OUT
    return EmailDecision.QUEUED


def _decide_by_state(affiliate: Affiliate, type_: EventType) -> EmailDecision:
    """Return whether the affiliate's state allows the email: sales and money are for active affiliates only."""
    match affiliate.state:
        case AffiliateState.ACTIVE:
            return EmailDecision.QUEUED
        case AffiliateState.UNCONFIRMED:
            return EmailDecision.NOT_CONFIRMED
        case AffiliateState.ERASED:
            return EmailDecision.NOT_ACTIVE
        case AffiliateState.SUSPENDED:
            return EmailDecision.SUSPENDED
    return EmailDecision.QUEUED if type_ in STATUS_EVENTS else EmailDecision.NOT_ACTIVE


def unsubscribe_urls(new: NewEvent, notice: Notice, mailbox: str) -> tuple[str, str]:
    """Return the one-click unsubscribe address and that of the preferences page, each empty if there is none."""
    config, one_click = current_config(), ""
    if notice.audience is Audience.OWNER:
        if notice.can_be_unsubscribed:
            one_click = owner_unsubscribe.unsubscribe_url(new.account, notice, mailbox, config)
        return one_click, ""
    if new.affiliate is None:
        return "", ""
    if notice.can_be_unsubscribed:
        one_click = links.unsubscribe_url(new.affiliate, notice.kind, config)
    return one_click, links.preferences_url(new.affiliate, config)


def common_values(new: NewEvent, recipient_name: str) -> dict[str, str]:
    """Return the variables that the texts of every event have."""
    values = {
        "programme": new.account.name,
        "owner_name": recipient_name,
        "commissions_page": f"{current_config().base_url}/commissions",
    }
    if new.affiliate is None:
        return values
    return values | affiliate_values(new.affiliate, new.account, current_config())
