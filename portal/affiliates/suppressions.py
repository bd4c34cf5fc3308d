"""Whom an account does not write to, and what an affiliate does not want to hear of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, exists, select

from ..clock import utcnow
from ..db import db, insert
from ..db.prepared import PreparedStatement
from ..db.transaction import current_connection
from ..notices.catalogue import Category, Notice
from ..outbox.models import DeliveryAttempt, Outcome
from ..smtp.diagnosis.diagnose import RetryClass
from ..smtp.failure import Stage
from ..web.pagination import Page, newest_first
from . import cancel_pending
from .models import Affiliate, OptOut, Suppression, SuppressionReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from ..outbox.store.types import Claim

_LISTED = Suppression.__table__.c
_REASON = PreparedStatement(
    select(_LISTED.reason).where(
        _LISTED.account_id == bindparam("account_id"), _LISTED.mailbox_key == bindparam("mailbox_key")
    )
)
# RFC 3463 and RFC 7505: no such mailbox, no such host, a domain that takes no mail at all. Others may pass.
_NO_SUCH_MAILBOX = frozenset({"5.1.1", "5.1.2", "5.1.10"})
_SOFT = {Category.SUMMARY, Category.PROMOTIONAL}  # what somebody who unsubscribed is spared


def find_suppression(account_id: int, mailbox: str) -> Suppression | None:
    """Return why this account does not write to a mailbox, if so."""
    query = select(Suppression).where(
        Suppression.account_id == account_id, Suppression.mailbox_key == mailbox.casefold()
    )
    return db.session.scalar(query)


def is_suppressed(account_id: int, mailbox: str, category: Category) -> bool:
    """Return whether an email of this category may not go to a mailbox."""
    row = _REASON.first(account_id=account_id, mailbox_key=mailbox.casefold())
    return row is not None and (row[0] is not SuppressionReason.UNSUBSCRIBED or category in _SOFT)


def suppress(
    account_id: int, mailbox: str, reason: SuppressionReason, *, note: str = "", now: datetime
) -> None:
    """Write to a mailbox no more, not even what waits. The caller commits.

    A stronger reason replaces that somebody unsubscribed.
    """
    cancel_pending.for_suppressed(account_id, mailbox, reason, now=now)
    values = {
        "account_id": account_id,
        "mailbox_key": mailbox.casefold(),
        "reason": reason,
        "note": note[:200],
        "created_at": now,
    }
    statement = insert(Suppression).values(values)
    index = ["account_id", "mailbox_key"]
    if reason is SuppressionReason.UNSUBSCRIBED:
        db.session.execute(statement.on_conflict_do_nothing(index_elements=index))
        return
    change = {"reason": reason, "note": values["note"]}
    # What the owner has decided, and the note with it, is not replaced by what a server said.
    kept = Suppression.reason != SuppressionReason.BY_OWNER if reason is SuppressionReason.BOUNCED else None
    db.session.execute(statement.on_conflict_do_update(index_elements=index, set_=change, where=kept))


def remove_unsubscribed(account_id: int, mailbox: str) -> None:
    """Forget that somebody unsubscribed, who now says otherwise. The caller commits."""
    db.session.execute(
        delete(Suppression).where(
            Suppression.account_id == account_id,
            Suppression.mailbox_key == mailbox.casefold(),
            Suppression.reason == SuppressionReason.UNSUBSCRIBED,
        )
    )


def opted_out(affiliate_id: int) -> set[str]:
    """Return the kinds of email an affiliate does not want."""
    return set(db.session.scalars(select(OptOut.kind).where(OptOut.affiliate_id == affiliate_id)))


def wants(affiliate_id: int, notice: Notice) -> bool:
    """Return whether an affiliate has not opted out of a notice."""
    query = select(OptOut.kind).where(OptOut.affiliate_id == affiliate_id, OptOut.kind == notice.kind)
    return current_connection().execute(query).first() is None


def opt_out(affiliate_id: int, kinds: Iterable[str], *, now: datetime) -> None:
    """Send an affiliate no more of these. The caller commits."""
    rows = [{"affiliate_id": affiliate_id, "kind": kind, "created_at": now} for kind in kinds]
    if rows:
        db.session.execute(insert(OptOut).values(rows).on_conflict_do_nothing())


def opt_in(affiliate_id: int, kinds: Iterable[str]) -> None:
    """Send an affiliate these again. The caller commits."""
    db.session.execute(
        delete(OptOut).where(OptOut.affiliate_id == affiliate_id, OptOut.kind.in_(list(kinds)))
    )


def list_suppressions(account_id: int, *, before: int | None, after: int | None) -> Page[Any]:
    """Return one page of the account's suppressed mailboxes, newest first."""
    query = select(Suppression).where(Suppression.account_id == account_id)
    return newest_first(query, Suppression.id, before=before, after=after)


def add(account_id: int, mailbox: str, note: str, *, now: datetime) -> None:
    """Put a mailbox on the list, in the owner's name. Commits."""
    suppress(account_id, mailbox, SuppressionReason.BY_OWNER, note=note, now=now)
    db.session.commit()


def remove(account_id: int, ident: int) -> str:
    """Take a mailbox off the list and return it, or nothing if it is not there. Commits."""
    statement = delete(Suppression).where(Suppression.id == ident, Suppression.account_id == account_id)
    found: str | None = db.session.execute(statement.returning(Suppression.mailbox_key)).scalar_one_or_none()
    db.session.commit()
    return found or ""


def on_attempt_settled(
    account_id: int | None, claim: Claim, outcome: Outcome, diagnosis: Mapping[str, Any] | None, server: str
) -> None:
    """Put an affiliate's mailbox on the list when a server says that there is none. The caller commits."""
    if account_id is None or outcome is not Outcome.REJECTED or diagnosis is None:
        return
    if diagnosis.get("retry_class") != RetryClass.RECIPIENT or claim.message.forced_version_id is not None:
        return
    row = DeliveryAttempt.__table__.c
    query = select(row.stage, row.enhanced_code, row.reply_code, row.reply_text)
    stage, enhanced, code, words = db.session.execute(query.where(row.id == claim.attempt_id)).one()
    if stage != Stage.RCPT or enhanced not in _NO_SUCH_MAILBOX or not _is_affiliate(account_id, claim):
        return
    note = f"{server} said: {code} {enhanced} {words}"
    suppress(account_id, claim.message.recipient, SuppressionReason.BOUNCED, note=note, now=utcnow())


def _is_affiliate(account_id: int, claim: Claim) -> bool:
    """Whether it is an affiliate's: the owner's own mailbox is never put on the list."""
    key = claim.message.recipient.casefold()
    mine = exists().where(Affiliate.account_id == account_id, Affiliate.mailbox_key == key)
    return bool(db.session.scalar(select(mine)))
