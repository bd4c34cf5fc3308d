"""The emails of an import: a welcome for those who agreed elsewhere, if the owner wants it, and a confirmation for the others.

They are queued some at a time over the hours that the owner chose, only while the account's own server sends, and marked
so that the platform's sender never carries them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import exists, select

from ..accounts.models import Account
from ..affiliates import directory
from ..affiliates.models import Affiliate, AffiliateState, Suppression
from ..clock import utcnow
from ..db import db
from ..enrolment import confirmation_links
from ..events import dispatch
from ..events.types import EventType, Source
from ..notices.catalogue import Audience
from ..outbox.sending.deliver import stopping
from ..settings.routing import sends_by_own_server
from . import uploads
from .columns import Choices
from .models import AffiliateImport, ImportState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

JOB = "import-emails"
BATCH = 100  # in one transaction
_WITHOUT_SERVER = timedelta(minutes=10)  # until the own server is looked for again
_JOBS_PER_SWEEP = 20


def find_work(now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of the imports whose next emails are due."""
    query = select(AffiliateImport.id).where(
        AffiliateImport.state == ImportState.MAILING, AffiliateImport.next_mail_at <= now
    )
    return [(JOB, id_) for id_ in db.session.scalars(query.limit(_JOBS_PER_SWEEP))]


def run(import_id: int) -> None:
    """Queue the emails that are due. Commits each batch."""
    now, left = utcnow(), None
    while not stopping.is_set():
        left = _queue_batch(import_id, left, now)
        if not left:
            break


def _queue_batch(import_id: int, left: int | None, now: datetime) -> int:
    """Queue one batch; return how many more are due now. ``left`` None: this is the first batch. Commits."""
    row = db.session.get(AffiliateImport, import_id, with_for_update=True, populate_existing=True)
    is_due = row is not None and row.state is ImportState.MAILING and row.next_mail_at is not None
    if row is None or not is_due or (left is None and row.next_mail_at and row.next_mail_at > now):
        db.session.rollback()
        return 0
    if not sends_by_own_server(row.account_id):
        row.next_mail_at = now + _WITHOUT_SERVER
        db.session.commit()
        return 0
    if left is None:
        left = uploads.emails_per_step(row.emails, Choices.load(row.choices).hours)
        row.next_mail_at = now + uploads.STEP
    found = _next(row, min(left, BATCH))
    account = db.session.get_one(Account, row.account_id)
    for affiliate in directory.keep(found):
        _write_to(account, affiliate, now)
    row.queued += len(found)
    row.mail_cursor = found[-1].id if found else row.mail_cursor
    if len(found) < min(left, BATCH):
        row.state, row.ended_at, row.next_mail_at, left = ImportState.DONE, now, None, len(found)
    db.session.commit()
    return left - len(found)


def _next(row: AffiliateImport, count: int) -> Sequence[Affiliate]:
    """Return the next affiliates to write to, without those who have been suspended, confirmed or suppressed since."""
    states = [AffiliateState.UNCONFIRMED]
    if Choices.load(row.choices).welcome:
        states.append(AffiliateState.ACTIVE)
    query = select(Affiliate).where(
        Affiliate.import_id == row.id,
        Affiliate.id > row.mail_cursor,
        Affiliate.state.in_(states),
        Affiliate.confirmed_at.is_(None),
        ~exists().where(
            Suppression.account_id == Affiliate.account_id,
            Suppression.mailbox_key == Affiliate.mailbox_key,
        ),
    )
    return db.session.scalars(query.order_by(Affiliate.id).limit(count)).all()


def _write_to(account: Account, affiliate: Affiliate, now: datetime) -> None:
    if affiliate.state is AffiliateState.UNCONFIRMED:
        rendered = replace(confirmation_links.render_confirmation(account), own_server_only=True)
        confirmation_links.enqueue_confirmation(rendered, affiliate, now=now)
        return
    new = dispatch.NewEvent(account, EventType.SIGNED_UP, affiliate, {})
    plan = tuple(
        replace(one, own_server_only=True)
        for one in dispatch.plan_emails(new)
        if one.notice.audience is Audience.AFFILIATE
    )
    key = f"{new.type}:{affiliate.id}"
    dispatch.record_event(new, key=key, source=Source.IMPORT, now=now, plan=plan)
