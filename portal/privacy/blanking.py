"""The steps of an erasure: what is blanked in each table, a batch at a time. The caller commits.

A step gets a scope and a cursor, and returns the next cursor, None at its end. Blanking a row again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, or_, select, text, update

from ..accounts.models import Account
from ..api.models import ApiRequest
from ..arrival.models import TestEmail
from ..bounces.models import BounceEvent, EventState, MessageOutcome
from ..db import db
from ..deliveries.models import BulkAction, LogRow
from ..enrolment.dashboard_links import PORTAL_KIND
from ..events.models import EmailDecision, Event, EventMail
from ..events.types import EventType
from ..imports.models import AffiliateImport
from ..incidents.models import Incident, IncidentEvent, WebhookDelivery
from ..money.models import Commission
from ..notices.catalogue import CATALOGUE, Audience
from ..notices.recipients import recipients_of
from ..outbox import cancellations
from ..outbox.models import OPEN, DeliveryAttempt, OutboxMessage, Queue, Status

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from .person import Person

BATCH = 200
_WAITING = (Status.QUEUED, Status.HELD)
_CANCELLED = "The person whom it is about was erased while it waited."
# What remains of an event: amounts, dates and the shop's number of the order. A week's figures are numbers only.
_KEPT_VALUES = frozenset(
    {
        "order",
        "amount",
        "currency",
        "commission",
        "week_start",
        "week_end",
        "occurred_at",
        "period",
        "settled",
    }
)
_KEPT_DIAGNOSIS = ("code", "kind", "whose_move", "retry_class")
_SENTENCES = ("cause", "fixes", "evidence")  # of a diagnosis; the rest are values of enumerations
SUBJECT = "Erased"
_API = "api:"  # begins the key of an event that came by the API; the rest is that of the request


@dataclass(frozen=True)
class Traces:
    """Whose traces are blanked, in which account."""

    account_id: int
    person: Person
    now: datetime


@dataclass(frozen=True)
class Batch:
    """How many rows were blanked. ``waits``: a message of the person is being submitted, so blank again later."""

    blanked: int
    cursor: int | None
    waits: bool = False


def cancel_owner_mail(affiliate_id: int, account_id: int, *, now: datetime) -> None:
    """Cancel waiting emails to the owner about a person, and take their events out of waiting digests.

    The other events of a digest that was queued already wait for the next one.
    """
    of_person = select(Event.id).where(Event.affiliate_id == affiliate_id)
    waiting = update(EventMail).where(EventMail.event_id.in_(of_person), EventMail.digest_at.is_not(None))
    _run(waiting.values(digest_at=None, decision=EmailDecision.SUPPRESSED))
    mails = select(EventMail.message_id).where(EventMail.event_id.in_(of_person))
    statement = (
        update(OutboxMessage)
        .where(
            OutboxMessage.account_id == account_id,
            text(OPEN),
            OutboxMessage.status.in_(_WAITING),
            OutboxMessage.lease_token.is_(None),
            OutboxMessage.id.in_(mails),
        )
        .values(status=Status.CANCELLED, settled_at=now)
        .returning(OutboxMessage.id)
    )
    ids = list(db.session.scalars(statement.execution_options(synchronize_session=False)))
    cancellations.record_reason(ids, _CANCELLED, now=now)
    others = update(EventMail).where(
        EventMail.message_id.in_(ids),
        EventMail.event_id.not_in(of_person),
        EventMail.decision == EmailDecision.IN_DIGEST,
        EventMail.digest_account_id == account_id,
    )
    _run(others.values(digest_at=now, message_id=None))


# -- the steps


def events(scope: Traces, cursor: int) -> Batch:
    """Blank the events, the recipients of their emails, and these emails: those to the owner name the person."""
    person = scope.person
    query = select(Event).where(Event.affiliate_id == person.affiliate_id, Event.id > cursor)
    rows = list(db.session.scalars(query.order_by(Event.id).limit(BATCH)))
    keys = [row.key.removeprefix(_API) for row in rows if row.key.startswith(_API)]
    for row in rows:
        if row.type is not EventType.WEEK_ENDED:
            kept = {name: value for name, value in row.values.items() if name in _KEPT_VALUES}
            if "order" in kept:  # the only free text of them
                kept["order"] = person.without(kept["order"])
            row.values = kept
        if person.is_mentioned(row.key):
            row.key = f"erased:{row.id}"
    ids = [row.id for row in rows]
    mails = db.session.execute(
        select(EventMail.id, EventMail.recipient, EventMail.message_id).where(EventMail.event_id.in_(ids))
    ).all()
    own = [mail.id for mail in mails if person.is_mailbox(mail.recipient)]
    _run(update(EventMail).where(EventMail.id.in_(own)).values(recipient=person.blank))
    db.session.flush()
    _blank_requests(scope, ApiRequest.key.in_(keys))
    message_ids = [mail.message_id for mail in mails if mail.message_id is not None]
    for start in range(0, len(message_ids), BATCH):
        blank_messages(scope, message_ids[start : start + BATCH])
    return Batch(len(rows), ids[-1] if len(rows) == BATCH else None)


def _blank_requests(scope: Traces, condition: Any) -> None:
    query = select(ApiRequest).where(ApiRequest.account_id == scope.account_id, condition)
    for request in db.session.scalars(query):
        if scope.person.is_mentioned(request.key):
            request.key = f"erased:{request.id}"


def own_messages(scope: Traces, cursor: int) -> Batch:
    """Blank every message to the person, also those of no event: confirmations and copies."""
    query = select(LogRow.message_id).where(*_is_to_person(scope), LogRow.message_id > cursor)
    ids = list(db.session.scalars(query.order_by(LogRow.message_id).limit(BATCH)))
    blank_messages(scope, ids)
    return Batch(len(ids), ids[-1] if len(ids) == BATCH else None)


def portal_messages(scope: Traces, cursor: int) -> Batch:
    """Blank the portal's own emails that listed the person's private pages. They belong to no account and no log."""
    query = select(OutboxMessage.id).where(*_is_from_portal(scope), OutboxMessage.id > cursor)
    ids = list(db.session.scalars(query.order_by(OutboxMessage.id).limit(BATCH)))
    blank_messages(scope, ids, of_portal=True)
    return Batch(len(ids), ids[-1] if len(ids) == BATCH else None)


def test_messages(scope: Traces, cursor: int) -> Batch:
    """Blank test emails that were rendered for the person."""
    query = select(TestEmail).where(TestEmail.account_id == scope.account_id, TestEmail.id > cursor)
    tests = list(db.session.scalars(query.order_by(TestEmail.id).limit(BATCH)))
    by_message = {one.message_id: one for one in tests}
    texts = select(OutboxMessage.id, OutboxMessage.recipient, OutboxMessage.subject, OutboxMessage.text)
    found = [
        row.id
        for row in db.session.execute(texts.where(OutboxMessage.id.in_(list(by_message))))
        if scope.person.is_mentioned(f"{row.recipient}\n{row.subject}\n{row.text}")
    ]
    blank_messages(scope, found)
    for one in tests:
        if scope.person.is_mailbox(one.recipient):
            one.recipient = scope.person.blank
    return Batch(len(found), tests[-1].id if len(tests) == BATCH else None)


def unmatched_reports(scope: Traces, cursor: int) -> Batch:
    """Blank reports of providers that name the person and belong to no message."""
    row = BounceEvent
    query = select(row.id, row.recipient, row.raw, row.reason).where(
        row.account_id == scope.account_id, row.state != EventState.MATCHED, row.id > cursor
    )
    rows = db.session.execute(query.order_by(row.id).limit(BATCH)).all()
    found = [one.id for one in rows if scope.person.is_addressed(f"{one.recipient}\n{one.raw}\n{one.reason}")]
    blank_reports(row.id.in_(found), scope.person.blank)
    return Batch(len(found), rows[-1].id if len(rows) == BATCH else None)


def webhooks(scope: Traces, cursor: int) -> Batch:
    """Delete the deliveries of webhooks, waiting or settled, that name the person by the code."""
    row = WebhookDelivery
    query = select(row.id, row.body).where(row.account_id == scope.account_id, row.id > cursor)
    rows = db.session.execute(query.order_by(row.id).limit(BATCH)).all()
    found = [one.id for one in rows if scope.person.is_in_payload(one.body)]
    _run(delete(row).where(row.id.in_(found)))
    return Batch(len(found), rows[-1].id if len(rows) == BATCH else None)


def few_rows(scope: Traces, _cursor: int) -> Batch:
    """Blank the tables with few rows of an account: incidents, the queue, bulk actions, and reasons of declines."""
    person, account = scope.person, scope.account_id
    reasons = update(Commission).where(Commission.affiliate_id == person.affiliate_id)
    _run(reasons.values(reason=""))
    _blank_requests(scope, ApiRequest.affiliate_id == person.affiliate_id)
    for incident in db.session.scalars(select(Incident).where(Incident.account_id == account)):
        incident.last_reply = person.without(incident.last_reply)
        if (changed := _without_person(incident.diagnosis, person)) != incident.diagnosis:
            incident.diagnosis = changed
    lines = select(IncidentEvent).join(Incident, Incident.id == IncidentEvent.incident_id)
    for line in db.session.scalars(lines.where(Incident.account_id == account)):
        line.text = person.without(line.text)
    of_account = select(AffiliateImport).where(
        AffiliateImport.account_id == account, AffiliateImport.text != ""
    )
    for one in db.session.scalars(of_account):
        one.text = _without_lines_of(one.text, person)
    queue = db.session.get(Queue, account)
    if queue is not None and queue.hold_diagnosis:
        changed = _without_person(queue.hold_diagnosis, person)
        if changed != queue.hold_diagnosis:
            queue.hold_diagnosis = changed
    for action in db.session.scalars(select(BulkAction).where(BulkAction.account_id == account)):
        typed = action.filters.get("q", "")
        if (kept := person.without(typed)) != typed:
            action.filters = {**action.filters, "q": kept}
    return Batch(0, None)


def _without_person(diagnosis: dict[str, Any], person: Person) -> dict[str, Any]:
    return {name: person.without(one) if name in _SENTENCES else one for name, one in diagnosis.items()}


def _without_lines_of(text: str, person: Person) -> str:
    """Replace the lines of a CSV file that hold the person's mailbox. Other lines stay as they are, and each in its place."""
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        if person.is_addressed(line):
            end = line[len(line.rstrip("\r\n")) :]
            # A line break within a quoted cell: without its other line, the rest of the file would not be readable.
            lines[index] = person.without(line) if line.count('"') % 2 else f"[erased]{end}"
    return "".join(lines)


def check(scope: Traces, _cursor: int) -> Batch:
    """Report whether a message to the person is left, because it was just being submitted."""
    queries = (
        select(LogRow.message_id).where(*_is_to_person(scope)),
        select(OutboxMessage.id).where(*_is_from_portal(scope)),
    )
    left = any(db.session.scalars(query.limit(1)).first() is not None for query in queries)
    return Batch(0, None, waits=left)


def _is_to_person(scope: Traces) -> list[Any]:
    """Return the conditions of messages to the person. An owner who was an affiliate as well keeps what owners get."""
    person, account = scope.person, db.session.get_one(Account, scope.account_id)
    conditions = [
        LogRow.account_id == scope.account_id,
        LogRow.recipient.in_([mailbox.lower() for mailbox in person.mailboxes]),
    ]
    if any(person.is_mailbox(mailbox) for mailbox, *_ in recipients_of(account)):
        kinds = [notice.kind for notice in CATALOGUE.values() if notice.audience is Audience.AFFILIATE]
        conditions.append(LogRow.kind.in_(kinds))
    return conditions


def _is_from_portal(scope: Traces) -> list[Any]:
    """Return the conditions of the portal's own emails about the person's private pages."""
    mailboxes = [mailbox.lower() for mailbox in scope.person.mailboxes]
    return [
        OutboxMessage.account_id.is_(None),
        OutboxMessage.kind == PORTAL_KIND,
        func.lower(OutboxMessage.recipient).in_(mailboxes),
    ]


# -- messages


def blank_messages(scope: Traces, message_ids: Collection[int], *, of_portal: bool = False) -> None:
    """Blank messages with their copies, attempts, rows of the log and reports, except those being submitted.

    ``of_portal``: they are the portal's own, not the account's.
    """
    person = scope.person
    query = select(OutboxMessage.id, OutboxMessage.recipient).where(
        or_(OutboxMessage.id.in_(message_ids), OutboxMessage.copy_of_id.in_(message_ids)),
        OutboxMessage.account_id == (None if of_portal else scope.account_id),
        OutboxMessage.lease_token.is_(None),
        OutboxMessage.status != Status.SENDING,
    )
    rows = db.session.execute(query).all()
    ids = [row.id for row in rows]
    own = [row.id for row in rows if person.is_mailbox(row.recipient)]
    for id_ in ids:
        values: dict[str, Any] = {"key": f"erased:{id_}", "subject": SUBJECT, "text": "", "html": ""}
        values["unsubscribe_url"] = ""
        if id_ in own:
            values |= {"recipient": person.blank, "recipient_name": "", "message_id": None}
        _run(update(OutboxMessage).where(OutboxMessage.id == id_).values(values))
    _blank_attempts(ids)
    _blank_log(ids, set(own), person.blank, scope.now)
    blank_reports(BounceEvent.message_id.in_(own), person.blank)
    outcomes = update(MessageOutcome).where(MessageOutcome.message_id.in_(own))
    _run(outcomes.values(mailbox_key=person.blank, domain=_domain(person.blank), reason=""))


def blank_reports(condition: Any, mailbox: str) -> None:
    """Blank reports of providers: what came, and whom it names."""
    values = {"recipient": mailbox, "raw": "", "reason": "", "header_id": "", "queue_id": "", "reference": ""}
    _run(update(BounceEvent).where(condition).values(values))


def _blank_attempts(message_ids: Collection[int]) -> None:
    query = select(DeliveryAttempt).where(DeliveryAttempt.message_id.in_(message_ids))
    for attempt in db.session.scalars(query):
        attempt.reply_text = attempt.transcript = attempt.traceback = attempt.queue_id = ""
        if attempt.diagnosis is not None:
            attempt.diagnosis = {
                name: attempt.diagnosis[name] for name in _KEPT_DIAGNOSIS if name in attempt.diagnosis
            }
    db.session.flush()


def _blank_log(message_ids: Collection[int], own: set[int], mailbox: str, now: datetime) -> None:
    """Replace rows of the log. The triggers keep the words of subjects for inserted and deleted rows only."""
    table = LogRow.__table__
    rows = db.session.execute(select(table).where(table.c.message_id.in_(message_ids))).mappings().all()
    if not rows:
        return
    _run(delete(LogRow).where(LogRow.message_id.in_([row["message_id"] for row in rows])))
    blanked = [dict(row) | {"subject": SUBJECT, "queue_id": "", "wiped_at": now} for row in rows]
    for row in blanked:
        if row["message_id"] in own:
            row |= {"recipient": mailbox, "domain": _domain(mailbox), "reference": ""}
    db.session.execute(insert(LogRow), blanked)


def _domain(mailbox: str) -> str:
    return mailbox.rpartition("@")[2]


def _run(statement: Any) -> None:
    db.session.execute(statement.execution_options(synchronize_session=False))
