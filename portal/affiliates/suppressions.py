"""Suppressed mailboxes of an account, and the kinds of email that an affiliate has opted out of."""

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

# Prepared, because a sign-up runs it in a raw transaction (see enrolment/signup.py).
_FIND_REASON = PreparedStatement(
    select(Suppression.reason).where(
        Suppression.account_id == bindparam("account_id"), Suppression.mailbox_key == bindparam("mailbox_key")
    )
)
# RFC 3463 and RFC 7505: no such mailbox, no such host, a domain that accepts no mail. Other failures may be temporary.
_NO_SUCH_MAILBOX_CODES = frozenset({"5.1.1", "5.1.2", "5.1.10"})
_NOTE_CHARS = 200


def find_suppression(account_id: int, mailbox: str) -> Suppression | None:
    """Return the suppression of a mailbox, or None if the account may write to it."""
    query = select(Suppression).where(
        Suppression.account_id == account_id, Suppression.mailbox_key == mailbox.casefold()
    )
    return db.session.scalar(query)


def is_suppressed(account_id: int, mailbox: str, category: Category) -> bool:
    """Return whether emails of this category must not be sent to a mailbox."""
    row = _FIND_REASON.first(account_id=account_id, mailbox_key=mailbox.casefold())
    if row is None:
        return False
    return row[0] is not SuppressionReason.UNSUBSCRIBED or category is not Category.TRANSACTIONAL


def suppress(
    account_id: int, mailbox: str, reason: SuppressionReason, *, note: str = "", now: datetime
) -> None:
    """Suppress a mailbox and cancel what is queued for it. The caller commits.

    An unsubscription is replaced by the other reasons, and never replaces them.
    """
    cancel_pending.for_suppressed(account_id, mailbox, reason, now=now)
    values = {
        "account_id": account_id,
        "mailbox_key": mailbox.casefold(),
        "reason": reason,
        "note": note[:_NOTE_CHARS],
        "created_at": now,
    }
    statement = insert(Suppression).values(values)
    index = ["account_id", "mailbox_key"]
    if reason is SuppressionReason.UNSUBSCRIBED:
        db.session.execute(statement.on_conflict_do_nothing(index_elements=index))
        return
    change = {"reason": reason, "note": values["note"]}
    # A bounce does not replace the owner's decision and note.
    kept = Suppression.reason != SuppressionReason.BY_OWNER if reason is SuppressionReason.BOUNCED else None
    db.session.execute(statement.on_conflict_do_update(index_elements=index, set_=change, where=kept))


def remove_unsubscribed(account_id: int, mailbox: str) -> None:
    """Remove the suppression of a mailbox that had unsubscribed and subscribes again. The caller commits."""
    db.session.execute(
        delete(Suppression).where(
            Suppression.account_id == account_id,
            Suppression.mailbox_key == mailbox.casefold(),
            Suppression.reason == SuppressionReason.UNSUBSCRIBED,
        )
    )


def opted_out(affiliate_id: int) -> set[str]:
    """Return the kinds of email that an affiliate has opted out of."""
    return set(db.session.scalars(select(OptOut.kind).where(OptOut.affiliate_id == affiliate_id)))


def wants(affiliate_id: int, notice: Notice) -> bool:
    """Return whether an affiliate has not opted out of a notice."""
    query = select(OptOut.kind).where(OptOut.affiliate_id == affiliate_id, OptOut.kind == notice.kind)
    return current_connection().execute(query).first() is None


def opt_out(affiliate_id: int, kinds: Iterable[str], *, now: datetime) -> None:
    """Opt an affiliate out of these kinds of email. The caller commits."""
    rows = [{"affiliate_id": affiliate_id, "kind": kind, "created_at": now} for kind in kinds]
    if rows:
        db.session.execute(insert(OptOut).values(rows).on_conflict_do_nothing())


def opt_in(affiliate_id: int, kinds: Iterable[str]) -> None:
    """Opt an affiliate in to these kinds of email again. The caller commits."""
    db.session.execute(
        delete(OptOut).where(OptOut.affiliate_id == affiliate_id, OptOut.kind.in_(list(kinds)))
    )


def list_suppressions(account_id: int, *, before: int | None, after: int | None) -> Page[Any]:
    """Return one page of the account's suppressed mailboxes, newest first."""
    query = select(Suppression).where(Suppression.account_id == account_id)
    return newest_first(query, Suppression.id, before=before, after=after)


def add(account_id: int, mailbox: str, note: str, *, now: datetime) -> None:
    """Suppress a mailbox by the owner's decision. Commits."""
    suppress(account_id, mailbox, SuppressionReason.BY_OWNER, note=note, now=now)
    db.session.commit()


def remove(account_id: int, suppression_id: int) -> str:
    """Remove a suppression; return its mailbox, or an empty string if the account has no such row. Commits."""
    statement = delete(Suppression).where(
        Suppression.id == suppression_id, Suppression.account_id == account_id
    )
    found: str | None = db.session.execute(statement.returning(Suppression.mailbox_key)).scalar_one_or_none()
    db.session.commit()
    return found or ""


def on_attempt_settled(
    account_id: int | None, claim: Claim, outcome: Outcome, diagnosis: Mapping[str, Any] | None, server: str
) -> None:
    """Suppress an affiliate's mailbox if a server rejected it because it does not exist. The caller commits."""
    if account_id is None or outcome is not Outcome.REJECTED or diagnosis is None:
        return
    if diagnosis.get("retry_class") != RetryClass.RECIPIENT or claim.message.forced_version_id is not None:
        return
    row = DeliveryAttempt.__table__.c
    query = select(row.stage, row.enhanced_code, row.reply_code, row.reply_text)
    stage, enhanced, code, reply = db.session.execute(query.where(row.id == claim.attempt_id)).one()
    if stage != Stage.RCPT or enhanced not in _NO_SUCH_MAILBOX_CODES or not _is_affiliate(account_id, claim):
        return
    note = f"{server} said: {code} {enhanced} {reply}"
    suppress(account_id, claim.message.recipient, SuppressionReason.BOUNCED, note=note, now=utcnow())


def _is_affiliate(account_id: int, claim: Claim) -> bool:
    """Return whether the recipient is an affiliate. The owner's own mailbox is never suppressed."""
    mailbox_key = claim.message.recipient.casefold()
    found = exists().where(Affiliate.account_id == account_id, Affiliate.mailbox_key == mailbox_key)
    return bool(db.session.scalar(select(found)))
