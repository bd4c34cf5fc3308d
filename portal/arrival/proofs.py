"""Test emails and the link *It arrived* in them: created with the message, completed when a server accepts it.

Only a hash of the link's token is stored. Scanners of mail servers open links, so a GET changes nothing: the page has a
button.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, or_, select, update

from ..accounts.tokens import hash_token, new_token
from ..clock import utcnow
from ..db import db
from ..outbox.models import DeliveryAttempt, OutboxMessage, Outcome
from ..outbox.reference import read_reference, reference_of
from ..outbox.routing import NoRoute, route_for
from ..state import current_config
from .models import FromOutcome, TestEmail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Row

    from ..outbox.store.types import Claim

LINK_LIFETIME = timedelta(days=7)
LISTED = 10  # on the page
_UNUSED_FOR = timedelta(days=30)


@dataclass(frozen=True)
class ArrivalLink:
    """The link of a test email that is to be rendered. Its token is stored as a hash, by ``add``."""

    token: str

    @property
    def url(self) -> str:
        return f"{current_config().base_url}/arrived/{self.token}"


@dataclass(frozen=True)
class Proof:
    """What is known of the emails of one settings version: whether one was received, and how its From was.

    ``outcome`` is that of the headers pasted last, ``at`` when they were pasted.
    """

    received_at: datetime | None = None
    outcome: FromOutcome | None = None
    at: datetime | None = None


def new_link() -> ArrivalLink:
    """Return a new link. It does nothing until ``add`` stores it."""
    return ArrivalLink(new_token())


def add(link: ArrivalLink, message: OutboxMessage, *, now: datetime) -> None:
    """Store the link of a message. The caller commits."""
    row = TestEmail(account_id=message.account_id, message_id=message.id, recipient=message.recipient)
    row.token_hash, row.created_at, row.expires_at = hash_token(link.token), now, now + LINK_LIFETIME
    db.session.add(row)


def concerns_acceptance(_account_id: int | None, claim: Claim) -> bool:
    """Whether a message may be a test email."""
    return claim.message.is_test or claim.message.forced_version_id is not None


def on_attempt_settled(
    account_id: int | None,
    claim: Claim,
    outcome: Outcome,
    _diagnosis: Mapping[str, Any] | None,
    _server: str,
) -> None:
    """Record what an accepted test email was sent as: its From, envelope sender, Reply-To and identifiers."""
    message = claim.message
    if outcome is not Outcome.ACCEPTED or not concerns_acceptance(account_id, claim):
        return
    row = db.session.scalar(select(TestEmail).where(TestEmail.message_id == message.id))
    if row is None:
        return
    accepted = (DeliveryAttempt.message_id == message.id, DeliveryAttempt.outcome == Outcome.ACCEPTED)
    attempt = db.session.scalar(select(DeliveryAttempt).where(*accepted))
    if attempt is None:
        return
    row.sent_at, row.version_number, row.sender = utcnow(), attempt.version_number, attempt.sender
    row.queue_id, row.header_id = attempt.queue_id, message.message_id or ""
    try:
        route = route_for(account_id, message.forced_version_id)
    except NoRoute:
        return
    if route.version_number == attempt.version_number:  # not changed since it was sent
        row.return_path, row.reply_to = route.return_path(reference_of(message.id)), route.reply_to or ""


def find(token: str) -> TestEmail | None:
    """Return the test email of a link, expired or not."""
    return db.session.scalar(select(TestEmail).where(TestEmail.token_hash == hash_token(token)))


def is_expired(row: TestEmail, now: datetime) -> bool:
    """Return whether the link of a test email no longer works. One that was used is shown as used."""
    return row.received_at is None and row.expires_at <= now


def mark_received(token: str, *, now: datetime) -> bool:
    """Mark the test email of a link as received; return whether it is. Commits. A repeat keeps the first time."""
    statement = (
        update(TestEmail)
        .where(
            TestEmail.token_hash == hash_token(token),
            TestEmail.received_at.is_(None),
            TestEmail.expires_at > now,
        )
        .values(received_at=now)
    )
    db.session.execute(statement.execution_options(synchronize_session=False))
    db.session.commit()
    row = find(token)
    return row is not None and row.received_at is not None


def list_latest(account_id: int) -> Sequence[TestEmail]:
    """Return the test emails that a server accepted, newest first."""
    query = select(TestEmail).where(TestEmail.account_id == account_id, TestEmail.sent_at.is_not(None))
    return db.session.scalars(query.order_by(TestEmail.id.desc()).limit(LISTED)).all()


def awaits_headers(account_id: int, *, now: datetime) -> bool:
    """Return whether a test email of the last days was sent of which no headers are known yet."""
    query = select(TestEmail.id).where(
        TestEmail.account_id == account_id, TestEmail.sent_at > now - LINK_LIFETIME, TestEmail.outcome == ""
    )
    return db.session.scalar(query.limit(1)) is not None


def find_by_headers(account_id: int, identifiers: Sequence[str], reference: str) -> TestEmail | None:
    """Return the account's test email with this reference, its Message-ID, or the id in the server's reply among these.

    Amazon SES and others replace the Message-ID; theirs begins with the id that they returned at the acceptance.
    """
    ids, message_id = list(identifiers[:10]), read_reference(reference)
    known = [one.strip("<>").partition("@")[0] for one in ids]
    query = select(TestEmail).where(
        TestEmail.account_id == account_id,
        TestEmail.sent_at.is_not(None),
        or_(
            TestEmail.message_id == (message_id or 0),
            TestEmail.header_id.in_(ids),
            (TestEmail.queue_id != "") & TestEmail.queue_id.in_(known),
        ),
    )
    return db.session.scalar(query.order_by(TestEmail.id.desc()).limit(1))


def proof_of(account_id: int, version_number: int) -> Proof:
    """Return what is known of the test emails of one version of the settings."""
    return make_proof(db.session.execute(select(*proof_columns(account_id, version_number))).one())


def proof_columns(
    account_id: int | ColumnElement[int], version_number: int | ColumnElement[int]
) -> tuple[ColumnElement[Any], ...]:
    """Return the columns of which ``make_proof`` makes the proof of a version: ``received_at``, ``outcome``, ``pasted_at``.

    Account and version may be columns of the query that they are added to.
    """
    row = TestEmail
    of_version = (
        row.account_id == account_id,
        row.version_number == version_number,
        row.sent_at.is_not(None),
    )
    received = select(func.max(row.received_at)).where(*of_version).correlate_except(row)
    pasted = [
        select(column)
        .where(*of_version, row.outcome != "")
        .order_by(row.pasted_at.desc(), row.id.desc())
        .limit(1)
        .correlate_except(row)
        for column in (row.outcome, row.pasted_at)
    ]
    outcome, pasted_at = (one.scalar_subquery() for one in pasted)
    return (
        received.scalar_subquery().label("received_at"),
        outcome.label("outcome"),
        pasted_at.label("pasted_at"),
    )


def make_proof(row: Row[Any]) -> Proof:
    """Return the proof that a row with the ``proof_columns`` states."""
    return Proof(row.received_at, FromOutcome(row.outcome) if row.outcome else None, row.pasted_at)


def received_versions(account_id: int) -> set[int]:
    """Return the numbers of the versions of which a test email was received."""
    query = select(TestEmail.version_number).where(
        TestEmail.account_id == account_id,
        TestEmail.version_number.is_not(None),
        or_(TestEmail.received_at.is_not(None), TestEmail.outcome != ""),
    )
    return {number for number in db.session.scalars(query.distinct()) if number is not None}


def delete_unused(now: datetime) -> None:
    """Delete month-old test emails that were neither confirmed nor compared with pasted headers. Commits."""
    unused = (TestEmail.received_at.is_(None), TestEmail.outcome == "")
    db.session.execute(delete(TestEmail).where(TestEmail.created_at < now - _UNUSED_FOR, *unused))
    db.session.commit()
