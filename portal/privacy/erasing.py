"""Erasing a person: at once what opens a page or sends an email, then in a job everything else, in batches.

The first transaction blanks the affiliate's row, cancels what waits, closes the pages and stores the hash. The job blanks
the rows of other tables; each batch is one commit together with its cursor, so another worker continues where one was killed.
Amounts, dates, numbers of orders and counts stay.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from .. import audit
from ..affiliates import cancel_pending, erased, page_keys, suppressions
from ..affiliates.consent import AgreementWay
from ..affiliates.models import ActionToken, Affiliate, AffiliateState, FormerCode, OptOut, TokenPurpose
from ..clock import utcnow
from ..db import db
from ..enrolment.dashboard_links import PORTAL_KIND
from ..events.models import Event, EventMail
from ..jobs import notify
from ..notices.catalogue import CATALOGUE, Audience
from ..outbox.models import OutboxMessage
from ..outbox.sending.deliver import stopping
from ..state import vault
from . import blanking
from .models import IS_RUNNING, Erasure
from .person import Person

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

JOB = "erase"
_JOBS_PER_SWEEP = 50
_CODE_BYTES = 12


@dataclass(frozen=True)
class ErasureResult:
    """The erasure of an affiliate. ``is_new`` is False at a second click."""

    erasure: Erasure
    is_new: bool


def erase(account_id: int, affiliate_id: int, *, by: str, now: datetime) -> ErasureResult | None:
    """Erase an affiliate. Returns None for another account's. A second time changes nothing. Commits."""
    erased.ensure_key()
    query = select(Affiliate).where(Affiliate.id == affiliate_id, Affiliate.account_id == account_id)
    affiliate = db.session.scalar(query.with_for_update().execution_options(populate_existing=True))
    if affiliate is None:
        db.session.rollback()
        return None
    if affiliate.state is AffiliateState.ERASED:
        known = db.session.scalars(select(Erasure).where(Erasure.affiliate_id == affiliate_id)).one()
        return ErasureResult(known, is_new=False)
    row = Erasure(account_id=account_id, affiliate_id=affiliate_id, erased_by=by, started_at=now)
    person = _person(affiliate)
    row.sealed_person = vault().seal(person.dump(), binding(row))
    db.session.add(row)
    for mailbox in (
        person.mailboxes
    ):  # first, as the operator's commands lock the portal's queue before those of accounts
        cancel_pending.portal_mail(PORTAL_KIND, mailbox, now=now)
    blanking.cancel_owner_mail(affiliate.id, account_id, now=now)
    never_theirs = _withdrawn_only(affiliate, person)
    for mailbox in person.mailboxes:
        cancel_pending.for_erased(account_id, mailbox, now=now)
        if mailbox.casefold() not in never_theirs:
            suppressions.add_erased(account_id, mailbox, now=now)
    for table in (ActionToken, OptOut, FormerCode):
        db.session.execute(delete(table).where(table.affiliate_id == affiliate.id))
    _blank(affiliate, now)
    db.session.flush()
    notify.push_after_commit(JOB, row.id)
    target = audit.AuditTarget("affiliate", affiliate_id)
    audit.record(audit.Activity.AFFILIATE_ERASED, account_id, target=target)
    db.session.commit()
    return ErasureResult(row, is_new=True)


def erase_by_api(account_id: int, affiliate_id: int, by: str, now: datetime) -> bool:
    """Erase an affiliate for the API; return whether the account has one with this id. Commits."""
    return erase(account_id, affiliate_id, by=by, now=now) is not None


def find(account_id: int, affiliate_id: int) -> Erasure | None:
    """Return the erasure of an affiliate of this account."""
    query = select(Erasure).where(Erasure.affiliate_id == affiliate_id, Erasure.account_id == account_id)
    return db.session.scalar(query)


def binding(row: Erasure) -> Mapping[str, str | int]:
    """Return the values that the person is sealed with."""
    return {"kind": "erasure", "account": row.account_id, "affiliate": row.affiliate_id}


def find_work(_now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of the erasures that are not complete."""
    query = select(Erasure.id).where(IS_RUNNING).order_by(Erasure.id).limit(_JOBS_PER_SWEEP)
    return [(JOB, id_) for id_ in db.session.scalars(query)]


def run(erasure_id: int) -> None:
    """Blank batch by batch, until all is blank, an email is just being sent, or the worker stops. Commits each batch."""
    while not stopping.is_set() and _run_batch(erasure_id, utcnow()):
        pass


def _run_batch(erasure_id: int, now: datetime) -> bool:
    row = db.session.get(Erasure, erasure_id, with_for_update=True, populate_existing=True)
    if row is None or row.done_at is not None or row.sealed_person is None:
        db.session.rollback()
        return False
    person = Person.load(vault().open(row.sealed_person, binding(row)))
    batch = _STEPS[row.step](blanking.Traces(row.account_id, person, now), row.cursor)
    row.blanked += batch.blanked
    if batch.cursor is not None:
        row.cursor = batch.cursor
    elif row.step + 1 < len(_STEPS):
        row.step, row.cursor = row.step + 1, 0
    elif batch.waits:  # one message is being submitted at this moment: begin again at a later sweep
        row.step = row.cursor = 0
        db.session.commit()
        return False
    else:
        row.done_at, row.sealed_person = now, None
    has_more = row.done_at is None
    db.session.commit()
    return has_more


_STEPS: tuple[Callable[[blanking.Traces, int], blanking.Batch], ...] = (
    blanking.events,
    blanking.own_messages,
    blanking.test_messages,
    blanking.unmatched_reports,
    blanking.webhooks,
    blanking.few_rows,
    blanking.portal_messages,
    blanking.check,
)


def _person(affiliate: Affiliate) -> Person:
    """Return the person with every mailbox and code that rows of other tables may hold.

    A former or new mailbox that is another affiliate's by now stays theirs.
    """
    kinds = [notice.kind for notice in CATALOGUE.values() if notice.audience is Audience.AFFILIATE]
    own_mail = select(EventMail.recipient).join(Event, Event.id == EventMail.event_id)
    queries = (
        own_mail.where(Event.affiliate_id == affiliate.id, EventMail.kind.in_(kinds)),
        select(ActionToken.mailbox).where(
            ActionToken.affiliate_id == affiliate.id, ActionToken.mailbox.is_not(None)
        ),
        select(OutboxMessage.recipient)  # of confirmations, which belong to no event
        .join(ActionToken, ActionToken.message_id == OutboxMessage.id)
        .where(
            ActionToken.affiliate_id == affiliate.id,
            OutboxMessage.account_id == affiliate.account_id,
            OutboxMessage.kind.in_(kinds),
        ),
    )
    mailboxes = {str(one): None for query in queries for one in db.session.scalars(query.distinct())}
    keys = [mailbox.casefold() for mailbox in mailboxes]
    others = select(Affiliate.mailbox_key).where(
        Affiliate.account_id == affiliate.account_id,
        Affiliate.id != affiliate.id,
        Affiliate.mailbox_key.in_(keys),
    )
    taken = set(db.session.scalars(others))
    former = [mailbox for mailbox in mailboxes if mailbox.casefold() not in taken]
    codes = db.session.scalars(select(FormerCode.code).where(FormerCode.affiliate_id == affiliate.id))
    return Person(
        affiliate.id,
        affiliate.name,
        list(dict.fromkeys([affiliate.mailbox, *former])),
        [affiliate.code, *codes],
    )


def _withdrawn_only(affiliate: Affiliate, person: Person) -> set[str]:
    """Return the new mailboxes that were only asked and then withdrawn: a mistyped one may be a stranger's, who may join."""
    tokens = select(ActionToken.mailbox, ActionToken.purpose).where(
        ActionToken.affiliate_id == affiliate.id, ActionToken.mailbox.is_not(None)
    )
    found = [(str(row.mailbox).casefold(), row.purpose) for row in db.session.execute(tokens)]
    withdrawn = {key for key, purpose in found if purpose is TokenPurpose.WITHDRAWN}
    withdrawn -= {key for key, purpose in found if purpose is not TokenPurpose.WITHDRAWN}
    mails = select(EventMail.recipient).join(Event, Event.id == EventMail.event_id)
    written = mails.where(Event.affiliate_id == affiliate.id, EventMail.recipient.in_(person.mailboxes))
    withdrawn -= {recipient.casefold() for recipient in db.session.scalars(written.distinct())}
    return withdrawn - {affiliate.mailbox_key}


def _blank(affiliate: Affiliate, now: datetime) -> None:
    affiliate.name, affiliate.mailbox = erased.NAME, erased.blank_mailbox(affiliate.id)
    affiliate.mailbox_key, affiliate.code = affiliate.mailbox, secrets.token_hex(_CODE_BYTES)
    affiliate.external_id = affiliate.import_id = None
    affiliate.search_text = affiliate.notes = affiliate.website = affiliate.language = ""
    affiliate.consent_way = AgreementWay.UNKNOWN
    affiliate.consent_words = affiliate.consent_network = affiliate.consent_source = ""
    affiliate.confirmed_network, affiliate.erasure_asked_at = "", None
    affiliate.consented_at = affiliate.confirmed_at = None
    affiliate.state, affiliate.state_since = AffiliateState.ERASED, now
    page_keys.assign(affiliate)
