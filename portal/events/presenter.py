"""Events as the pages show them: what happened, which emails were queued, and why one was not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _
from sqlalchemy import select

from ..affiliates.directory import joined_by_invitation
from ..affiliates.models import Affiliate
from ..amounts import format_money, parse_amount
from ..db import db
from ..languages import write_iso_day
from ..notices.catalogue import CATALOGUE, Audience
from ..outbox.models import OutboxMessage, Status
from ..web.translations import current_language
from .event_log import emails_by_event
from .models import EmailDecision, Event, EventMail
from .types import EVENT_LABELS, EventType, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SOURCE_LABELS: Mapping[Source, str] = {
    Source.PORTAL: _("By you, in this portal"),
    Source.API: _("Reported by your shop"),
    Source.SIMULATED: _("Test event of yours"),
    Source.PLANNER: _("By schedule"),
    Source.IMPORT: _("By your import"),
}


@dataclass(frozen=True)
class NotSentReason:
    """Why an email was not sent, in a sentence for the owner.

    ``in_simulator`` is the sentence of the event simulator, where the event is new and the owner has chosen the affiliate.
    ``action`` is the label of the link to the page where the owner can change the reason, if there is one.
    """

    sentence: str
    in_simulator: str
    action: str = ""


NOT_SENT_REASONS: Mapping[EmailDecision, NotSentReason] = {
    EmailDecision.OFF: NotSentReason(
        _("This email is switched off."), _("This email is switched off."), action=_("Switch it on")
    ),
    EmailDecision.OPTED_OUT: NotSentReason(
        _("The affiliate does not want this email."), _("This affiliate chose not to get this kind of email.")
    ),
    EmailDecision.SUPPRESSED: NotSentReason(
        _("This address is blocked."),
        _("This address is on your list of blocked addresses."),
        action=_("See why"),
    ),
    EmailDecision.NOT_CONFIRMED: NotSentReason(
        _("The affiliate has not confirmed the address yet."),
        _("This affiliate has not confirmed the email address yet."),
    ),
    EmailDecision.DUPLICATE: NotSentReason(
        _("The same email is already queued. Signet does not send it twice."),
        _("This email is already queued."),
    ),
    EmailDecision.IN_DIGEST: NotSentReason(
        _(
            "This is sent together with others in one email, because the address gets many or the affiliate "
            "chose this."
        ),
        _(
            "This is sent later in one email with others, because the address gets many or the affiliate "
            "chose this."
        ),
    ),
    EmailDecision.SUSPENDED: NotSentReason(
        _("The affiliate is suspended and gets no emails."),
        _("This affiliate is suspended."),
        action=_("See the affiliate"),
    ),
    EmailDecision.NOT_APPROVED: NotSentReason(
        _("Your account was not approved yet, and the affiliate had not confirmed the address."),
        _("Your account is not approved yet, and this affiliate has not confirmed the email address."),
    ),
    EmailDecision.NO_ADDRESS: NotSentReason(
        _("Your postal address was missing. Many laws require it in such an email."),
        _("Your postal address is missing. Many laws require it in such an email."),
        action=_("Enter it"),
    ),
    EmailDecision.NOT_ACTIVE: NotSentReason(
        _("The affiliate was not active at that time."),
        _("This affiliate is not active. Approve them first, or wait until they join."),
        action=_("See the affiliate"),
    ),
    EmailDecision.UNRENDERABLE: NotSentReason(
        _("Your text for this email could not be read."),
        _("Your own text for this email cannot be used. Open it and fix it."),
        action=_("Fix the text"),
    ),
    EmailDecision.NOTHING_TO_TELL: NotSentReason(
        _("There was nothing to report for that week."), _("There was nothing to report.")
    ),
    EmailDecision.TOO_OLD: NotSentReason(
        _("It happened more than 30 days before it was recorded, so no email was sent."),
        _("It happened more than 30 days ago."),
    ),
    EmailDecision.SAME_ORDER: NotSentReason(
        _("This order was already reported. It counts once, unless you decide that it is a second purchase."),
        _("This order was already reported."),
        action=_("Decide"),
    ),
    EmailDecision.NO_CHANGE: NotSentReason(
        _("It changed nothing, so the affiliate gets no email about it."),
        _("It changed nothing."),
    ),
}


@dataclass(frozen=True)
class EmailView:
    """One email of an event. ``status`` is None if it was not queued or the outbox has pruned it."""

    name: str
    addressee: str
    is_to_affiliate: bool
    recipient: str
    message_id: int | None
    status: Status | None
    reason: str
    action: str
    url: str


@dataclass(frozen=True)
class EventView:
    """One event with its emails."""

    event: Event
    label: str
    details: str
    source: str
    affiliate: Affiliate | None
    emails: list[EmailView]


def describe_events(events: Sequence[Event]) -> list[EventView]:
    """Return the views of these events. The number of queries does not depend on the number of events."""
    emails = emails_by_event(event.id for event in events)
    affiliates = _affiliates_by_id({event.affiliate_id for event in events if event.affiliate_id is not None})
    sources = source_labels(events)
    statuses = _status_by_message(
        {mail.message_id for some in emails.values() for mail in some if mail.message_id is not None}
    )
    return [
        EventView(
            event=event,
            label=str(EVENT_LABELS[event.type]),
            details=event_details(event),
            source=sources[event.id],
            affiliate=affiliates.get(event.affiliate_id or 0),
            emails=[_email_view(mail, event, statuses) for mail in emails.get(event.id, [])],
        )
        for event in events
    ]


def source_labels(events: Iterable[Event]) -> dict[int, str]:
    """Return the label of each event's source, by event id. Accepted invitations are labelled apart from sign-ups."""
    events = list(events)
    sign_ups = [event for event in events if _is_sign_up(event)]
    joined = [event.affiliate_id for event in sign_ups if event.affiliate_id]
    invited = joined_by_invitation(joined) if joined else set()
    labels = {event.id: _SOURCE_LABELS[event.source] for event in events}
    for event in sign_ups:
        is_invited = event.affiliate_id in invited
        labels[event.id] = _("By your invitation") if is_invited else _("On your sign-up page")
    return labels


def _is_sign_up(event: Event) -> bool:
    return event.source is Source.PORTAL and event.type in (EventType.SIGNED_UP, EventType.APPLIED)


def event_details(event: Event) -> str:
    """Return the values of an event in half a line, such as its order and amount."""
    values = {name: str(value) for name, value in event.values.items() if value}
    money = _money(values, "amount")
    parts: list[str]
    match event.type:
        case EventType.LEAD:
            parts = [values.get("lead_name", "")]
        case EventType.PURCHASE | EventType.ORDER_REPEATED:
            parts = [_order(values), values.get("product", ""), money, _commission(values)]
        case EventType.COMMISSION_APPROVED | EventType.COMMISSION_DECLINED | EventType.REFUND:
            parts = [_order(values), _commission(values), values.get("reason", "")]
        case EventType.PAYOUT:
            parts = [money, _order(values), values.get("method", ""), values.get("period", "")]
        case EventType.CORRECTION:
            parts = [money, values.get("reason", "")]
        case EventType.WEEK_ENDED:
            first, last = (_day(values, name) for name in ("week_start", "week_end"))
            parts = [gettext("%(first)s to %(last)s", first=first, last=last)]
        case _:
            parts = [values.get("reason", "")]
    return ", ".join(part for part in parts if part)


def _order(values: Mapping[str, str]) -> str:
    return gettext("order %(order)s", order=values["order"]) if "order" in values else ""


def _day(values: Mapping[str, str], name: str) -> str:
    return write_iso_day(values.get(name, ""), current_language())


def _money(values: Mapping[str, str], name: str) -> str:
    amount = parse_amount(values.get(name, ""))
    if amount is None:
        return ""
    return format_money(amount, values.get("currency", ""), current_language().locale)


def _commission(values: Mapping[str, str]) -> str:
    money = _money(values, "commission")
    return gettext("commission %(amount)s", amount=money) if money else ""


def _email_view(mail: EventMail, event: Event, statuses: Mapping[int, Status]) -> EmailView:
    notice = CATALOGUE.get(mail.kind)
    reason = NOT_SENT_REASONS.get(mail.decision)
    if mail.decision is EmailDecision.IN_DIGEST and mail.digest_at is None:
        reason = None  # the digest has left
    url = _action_url(mail, event) if reason and reason.action else ""
    return EmailView(
        name=gettext(notice.name) if notice else mail.kind,
        addressee=notice.addressee if notice else "",
        is_to_affiliate=notice is not None and notice.audience is Audience.AFFILIATE,
        recipient=mail.recipient,
        message_id=mail.message_id if mail.message_id in statuses else None,
        status=statuses.get(mail.message_id or 0),
        reason=reason.sentence if reason else "",
        action=reason.action if reason and url else "",
        url=url,
    )


def _action_url(mail: EventMail, event: Event) -> str:
    """Return the page where the owner can change the reason why an email was not sent."""
    if mail.decision in (EmailDecision.OFF, EmailDecision.UNRENDERABLE):
        return url_for("notices.show", kind=mail.kind)
    if mail.decision is EmailDecision.NO_ADDRESS:
        return url_for("notices.branding_page")
    if mail.decision is EmailDecision.SAME_ORDER:
        return url_for("money.index", state="repeated")
    if mail.decision is EmailDecision.SUPPRESSED:
        return url_for("affiliates.suppressions")
    return url_for("affiliates.show", id_=event.affiliate_id) if event.affiliate_id else ""


def _affiliates_by_id(affiliate_ids: set[int]) -> Mapping[int, Affiliate]:
    query = select(Affiliate).where(Affiliate.id.in_(affiliate_ids))
    return {row.id: row for row in db.session.scalars(query)}


def _status_by_message(message_ids: set[int]) -> Mapping[int, Status]:
    query = select(OutboxMessage.id, OutboxMessage.status).where(OutboxMessage.id.in_(message_ids))
    return {row[0]: row[1] for row in db.session.execute(query)}
