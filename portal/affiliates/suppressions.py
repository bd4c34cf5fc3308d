"""Suppressed mailboxes of an account, and the kinds of email that an affiliate has opted out of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, delete, exists, null, or_, select, update

from .. import audit
from ..db import db, insert
from ..db.prepared import PreparedStatement
from ..notices.catalogue import Category, Notice
from ..state import get_state
from ..web.pagination import Page, is_in, newest_first
from . import cancel_pending, erased
from .models import Affiliate, OptOut, Suppression, SuppressionLift, SuppressionReason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from flask import Flask

# Prepared, because a sign-up runs it in a raw transaction (see enrolment/signup.py).
_FIND_REASON = PreparedStatement(
    select(Suppression.reason).where(
        Suppression.account_id == bindparam("account_id"),
        Suppression.mailbox_key.in_([bindparam("mailbox_key"), bindparam("hash")]),
    )
)
_OPTED_OUT = PreparedStatement(
    select(OptOut.kind).where(
        OptOut.affiliate_id == bindparam("affiliate_id"), OptOut.kind == bindparam("kind")
    )
)
_NOTE_CHARS, _WHY_CHARS = 200, 200
_KEYS_OF_QUERY = 500
# A reason replaces those after it and itself; the owner's decision stays. An erased person has a row of their own.
_PRECEDENCE = (
    SuppressionReason.ERASED,
    SuppressionReason.BY_OWNER,
    SuppressionReason.COMPLAINED,
    SuppressionReason.BOUNCED,
    SuppressionReason.UNSUBSCRIBED,
)


# (account id, mailbox, reason, id of the row), in the transaction that suppresses an affiliate's mailbox
Listener = Callable[[int, str, SuppressionReason, int], None]


@dataclass
class _SuppressionListeners:
    listeners: list[Listener] = field(default_factory=list)


def add_listener(app: Flask, listener: Listener) -> None:
    """Call ``listener`` when a mailbox is suppressed, also once more. It must not commit."""
    get_state(app).part(_SuppressionListeners).listeners.append(listener)


def find_suppression(account_id: int, mailbox: str) -> Suppression | None:
    """Return the suppression of a mailbox, or None if the account may write to it."""
    keys = [mailbox.casefold(), erased.hash_of(account_id, mailbox)]
    query = select(Suppression).where(Suppression.account_id == account_id, Suppression.mailbox_key.in_(keys))
    return db.session.scalars(query.order_by(Suppression.mailbox_key).limit(1)).first()


def is_suppressed(account_id: int, mailbox: str, category: Category, *, to_affiliate: bool = True) -> bool:
    """Return whether emails of this category must not be sent to a mailbox.

    An owner who was an affiliate as well, such as for a trial, is erased as that only.
    """
    rows = _FIND_REASON.all(
        account_id=account_id, mailbox_key=mailbox.casefold(), hash=erased.hash_of(account_id, mailbox)
    )
    is_transactional = category is Category.TRANSACTIONAL
    reasons = {row[0] for row in rows} - (set() if to_affiliate else {SuppressionReason.ERASED})
    return any(reason is not SuppressionReason.UNSUBSCRIBED or not is_transactional for reason in reasons)


@dataclass(frozen=True)
class SuppressionCause:
    """Why a mailbox is suppressed. ``message_id`` is that of the message that a report was about, if one is the only cause."""

    reason: SuppressionReason
    note: str = ""
    message_id: int | None = None


def suppress(
    account_id: int, mailbox: str, reason: SuppressionReason, *, note: str = "", now: datetime
) -> None:
    """Suppress a mailbox and cancel what is queued for it. The caller commits.

    A bounce replaces an unsubscription, a complaint both, and the owner's decision all; none is replaced the other way round.
    """
    suppress_because(account_id, mailbox, SuppressionCause(reason, note), now=now)


def suppress_because(account_id: int, mailbox: str, cause: SuppressionCause, *, now: datetime) -> None:
    """Suppress a mailbox as ``suppress`` does, for a cause that ``undo_reports`` can take back."""
    reason = cause.reason
    if erased.is_blank(mailbox):
        return  # a late report about an email to a person who was erased since
    cancel_pending.for_suppressed(account_id, mailbox, reason, now=now)
    values = {
        "account_id": account_id,
        "mailbox_key": mailbox.casefold(),
        "reason": reason,
        "note": cause.note[:_NOTE_CHARS],
        "message_id": cause.message_id,
        "created_at": now,
    }
    statement = insert(Suppression).values(values)
    index = ["account_id", "mailbox_key"]
    if reason is SuppressionReason.UNSUBSCRIBED:
        _tell(statement.on_conflict_do_nothing(index_elements=index), account_id, mailbox, reason)
        mine = (Suppression.account_id == account_id, Suppression.mailbox_key == mailbox.casefold())
        bounced = (*mine, Suppression.reason == SuppressionReason.BOUNCED)
        db.session.execute(update(Suppression).where(*bounced).values(was_unsubscribed=True))
        return
    is_bounced = Suppression.reason == SuppressionReason.BOUNCED
    # A server that refused the mailbox itself, or an earlier report, stays the cause.
    kept = case((is_bounced, Suppression.message_id), else_=cause.message_id)
    change = {
        "reason": reason,
        "note": values["note"],
        "message_id": null() if cause.message_id is None else kept,
        "was_unsubscribed": or_(
            Suppression.was_unsubscribed, Suppression.reason == SuppressionReason.UNSUBSCRIBED
        ),
    }
    replaced = _PRECEDENCE[_PRECEDENCE.index(reason) :]
    if reason is SuppressionReason.COMPLAINED:
        change["created_at"] = now
    statement = statement.on_conflict_do_update(
        index_elements=index, set_=change, where=Suppression.reason.in_(replaced)
    )
    _tell(statement, account_id, mailbox, reason)


def _tell(statement: Any, account_id: int, mailbox: str, reason: SuppressionReason) -> None:
    """Run the statement, and call the listeners if it changed a row."""
    row_id = db.session.execute(statement.returning(Suppression.id)).scalar_one_or_none()
    if row_id is None:
        return
    for listener in get_state().part(_SuppressionListeners).listeners:
        listener(account_id, mailbox, reason, row_id)


def undo_reports(account_id: int, messages: Mapping[int, str]) -> set[str]:
    """Take back what reports about these messages alone suppressed. The caller commits.

    ``messages`` holds the case-folded mailbox of each message id. Return the mailboxes that are not written to for another
    cause. A mailbox that had unsubscribed is unsubscribed again.
    """
    mailboxes = Suppression.account_id == account_id, Suppression.mailbox_key.in_(set(messages.values()))
    mine = (*mailboxes, Suppression.message_id.in_(messages), Suppression.reason == SuppressionReason.BOUNCED)
    again = update(Suppression).where(*mine, Suppression.was_unsubscribed)
    values = {
        "reason": SuppressionReason.UNSUBSCRIBED,
        "note": "",
        "message_id": None,
        "was_unsubscribed": False,
    }
    db.session.execute(again.values(values).execution_options(synchronize_session=False))
    db.session.execute(delete(Suppression).where(*mine).execution_options(synchronize_session=False))
    others = (*mailboxes, Suppression.reason != SuppressionReason.UNSUBSCRIBED)
    return set(db.session.scalars(select(Suppression.mailbox_key).where(*others)))


def remove_unsubscribed(account_id: int, mailbox: str) -> None:
    """Remove the suppression of a mailbox that had unsubscribed and subscribes again. The caller commits."""
    mine = (Suppression.account_id == account_id, Suppression.mailbox_key == mailbox.casefold())
    unsubscribed = Suppression.reason == SuppressionReason.UNSUBSCRIBED
    db.session.execute(delete(Suppression).where(*mine, unsubscribed))
    db.session.execute(
        update(Suppression).where(*mine, Suppression.was_unsubscribed).values(was_unsubscribed=False)
    )


def opted_out(affiliate_id: int) -> set[str]:
    """Return the kinds of email that an affiliate has opted out of."""
    return set(db.session.scalars(select(OptOut.kind).where(OptOut.affiliate_id == affiliate_id)))


def wants(affiliate_id: int, notice: Notice) -> bool:
    """Return whether an affiliate has not opted out of a notice."""
    return _OPTED_OUT.first(affiliate_id=affiliate_id, kind=notice.kind) is None


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


def list_suppressions(
    account_id: int, *, before: int | None, after: int | None, search: str = ""
) -> Page[Any]:
    """Return one page of the account's suppressed mailboxes, newest first: those that a search finds, if there is one."""
    query = select(Suppression).where(Suppression.account_id == account_id)
    if search:  # an erased person has a hash in the place of the mailbox
        query = query.where(
            is_in(search, Suppression.mailbox_key, Suppression.note),
            Suppression.reason != SuppressionReason.ERASED,
        )
    return newest_first(query, Suppression.id, before=before, after=after)


def add(account_id: int, mailbox: str, note: str, *, now: datetime) -> None:
    """Suppress a mailbox by the owner's decision. Commits."""
    suppress(account_id, mailbox, SuppressionReason.BY_OWNER, note=note, now=now)
    audit.record(audit.Activity.MAILBOX_SUPPRESSED, account_id)
    db.session.commit()


def add_erased(account_id: int, mailbox: str, *, now: datetime) -> None:
    """Suppress an erased person by a hash, in place of every other row about the mailbox. The caller commits."""
    for table in (Suppression, SuppressionLift):
        db.session.execute(
            delete(table).where(table.account_id == account_id, table.mailbox_key == mailbox.casefold())
        )
    key = erased.hash_of(account_id, mailbox)
    values = {"mailbox_key": key, "reason": SuppressionReason.ERASED, "note": "", "created_at": now}
    statement = insert(Suppression).values(account_id=account_id, **values)
    db.session.execute(statement.on_conflict_do_nothing(index_elements=["account_id", "mailbox_key"]))


def find_erased(account_id: int, mailbox: str) -> Suppression | None:
    """Return the row of an erased person, found by the mailbox that the owner enters."""
    key = erased.hash_of(account_id, mailbox)
    query = select(Suppression).where(Suppression.account_id == account_id, Suppression.mailbox_key == key)
    return db.session.scalar(query) if key else None


def has_erased(account_id: int) -> bool:
    """Return whether the account has erased anyone."""
    found = exists().where(
        Suppression.account_id == account_id, Suppression.reason == SuppressionReason.ERASED
    )
    return bool(db.session.scalar(select(found)))


def erased_among(account_id: int, mailboxes: Collection[str]) -> set[str]:
    """Return which of these mailboxes are those of persons whom the account has erased."""
    by_hash = {erased.hash_of(account_id, mailbox): mailbox for mailbox in mailboxes}
    hashes, found = list(by_hash), set[str]()
    for start in range(0, len(hashes), _KEYS_OF_QUERY):
        keys = Suppression.mailbox_key.in_(hashes[start : start + _KEYS_OF_QUERY])
        query = select(Suppression.mailbox_key).where(Suppression.account_id == account_id, keys)
        found.update(by_hash[key] for key in db.session.scalars(query))
    return found


def find_by_id(account_id: int, suppression_id: int) -> Suppression | None:
    """Return a suppression of this account, or None."""
    query = select(Suppression).where(Suppression.id == suppression_id, Suppression.account_id == account_id)
    return db.session.scalar(query)


def lift(account_id: int, suppression_id: int, *, why: str, by: str, now: datetime) -> str:
    """End a suppression and record why; return its mailbox, or an empty text if the account has no such row. Commits."""
    statement = delete(Suppression).where(
        Suppression.id == suppression_id, Suppression.account_id == account_id
    )
    returned = statement.returning(Suppression.mailbox_key, Suppression.reason, Suppression.note)
    row = db.session.execute(returned).one_or_none()
    if row is None:
        db.session.rollback()
        return ""
    mailbox: str = row.mailbox_key
    lifted = SuppressionLift(account_id=account_id, mailbox_key=mailbox, reason=row.reason, note=row.note)
    lifted.why, lifted.lifted_by, lifted.lifted_at = why[:_WHY_CHARS], by, now
    db.session.add(lifted)
    db.session.flush()
    target, before = audit.AuditTarget("suppression", suppression_id), {"reason": row.reason.value}
    audit.record(audit.Activity.MAILBOX_LIFTED, account_id, target=target, before=before)
    db.session.commit()
    return mailbox


def list_lifts(account_id: int, mailbox: str, limit: int = 10) -> list[SuppressionLift]:
    """Return the suppressions of a mailbox that the owner ended, newest first."""
    row = SuppressionLift
    query = select(row).where(row.account_id == account_id, row.mailbox_key == mailbox.casefold())
    return list(db.session.scalars(query.order_by(row.lifted_at.desc()).limit(limit)))


def last_lifted_at(account_id: int, mailbox: str) -> datetime | None:
    """Return when the owner last ended a suppression of a mailbox."""
    lifts = list_lifts(account_id, mailbox, limit=1)
    return lifts[0].lifted_at if lifts else None


def was_lifted_since(account_id: int, mailbox: str, at: datetime) -> bool:
    """Return whether the owner ended a suppression of a mailbox after this time."""
    lifted = last_lifted_at(account_id, mailbox)
    return lifted is not None and lifted > at


def is_affiliate(account_id: int, mailbox: str) -> bool:
    """Return whether a mailbox is an affiliate's."""
    found = exists().where(Affiliate.account_id == account_id, Affiliate.mailbox_key == mailbox.casefold())
    return bool(db.session.scalar(select(found)))
