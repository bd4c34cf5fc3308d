"""The worker's job for calls whose signature needs a fetched certificate: those of Amazon SNS.

A call is stored as it came. Once its signature fits, its events are recorded like all others, and the stored call is deleted.
A call about another topic than the one that was subscribed first counts as one with a wrong signature, and so does one whose
certificate the provider does not have at several tries: it must not take the place of other calls for a day.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from ..clock import utcnow
from ..db import db, insert
from ..jobs import notify
from ..security_log import SecurityEvent, record
from ..state import current_config
from . import hooks
from .meaning import Meaning
from .models import BounceEvent, BounceHook, EventState
from .providers import sns
from .providers.adapter import Call, Forged, Unreadable, decode_item
from .providers.catalogue import ADAPTERS
from .recording import event_key, read_call, record_events

if TYPE_CHECKING:
    from .providers.adapter import Item

JOB = "bounce-verify"
MAX_CALL_BYTES = 256 * 1024  # SNS publishes no larger message
_MAX_WAITING = 1_000  # calls of one account
_LEASE = timedelta(minutes=2)
_RETRY_DELAYS = tuple(timedelta(seconds=s) for s in (10, 60, 300, 900, 1800, 3600))
_GIVE_UP_AFTER = timedelta(hours=24)
_TRIES_OF_MISSING = 4  # within some minutes
_TRIES_OF_STUCK = 2  # the first has failed, and the second has as well or is running
_JOBS_PER_SWEEP = 50


def store(hook: BounceHook, body: bytes, *, now: datetime) -> bool:
    """Store a call for the worker; False if too many wait. A repeated one is stored once. Commits."""
    waiting = select(func.count()).where(
        BounceEvent.account_id == hook.account_id, BounceEvent.state == EventState.UNVERIFIED
    )
    if (db.session.scalar(waiting) or 0) >= _MAX_WAITING:
        db.session.rollback()
        return False
    text = body.decode("utf-8", "replace").replace("\x00", "\ufffd")
    values = {
        "account_id": hook.account_id,
        "source": hook.provider,
        "key": event_key("call", text),
        "state": EventState.UNVERIFIED,
        "meaning": Meaning.UNKNOWN,
        "raw": text,
        "occurred_at": now,
        "received_at": now,
        "next_at": now,
    }
    statement = insert(BounceEvent).values(values).on_conflict_do_nothing().returning(BounceEvent.id)
    event_id = db.session.execute(statement).scalar_one_or_none()
    if event_id is not None:
        notify.push_after_commit(JOB, event_id)
    db.session.commit()
    return True


def find_due_work(now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of the calls that are due."""
    query = select(BounceEvent.id).where(
        BounceEvent.next_at <= now, BounceEvent.state == EventState.UNVERIFIED
    )
    query = query.order_by(BounceEvent.next_at, BounceEvent.id).limit(_JOBS_PER_SWEEP)
    return [(JOB, event_id) for event_id in db.session.scalars(query)]


def is_stuck(hook: BounceHook) -> bool:
    """Return whether a call to a hook waits because Amazon's server was not reached."""
    query = select(BounceEvent.id).where(
        BounceEvent.account_id == hook.account_id,
        BounceEvent.state == EventState.UNVERIFIED,
        BounceEvent.source == hook.provider,
        BounceEvent.tries >= _TRIES_OF_STUCK,
    )
    return db.session.scalar(query.limit(1)) is not None


def account_of(event_id: int) -> int | None:
    """Return the account of a stored call, or None if there is none."""
    return db.session.scalar(select(BounceEvent.account_id).where(BounceEvent.id == event_id))


def run(event_id: int) -> None:
    """Verify one stored call and record its events. Commits. No transaction is open while a server is waited for."""
    now = utcnow()
    body, hook = _claim(event_id, now)
    if hook is None:
        return
    try:
        message = decode_item(body.encode())
        _check_topic(hook, message)
        sns.verify(message, current_config().webhook_policy, now=now)
        _confirm(hook, message)
    except (Forged, Unreadable):
        _delete(event_id)
        hooks.count_refused(hook.id, now=now)
        return
    except sns.Unreachable as error:
        if not _retry(event_id, now, is_missing=isinstance(error, sns.Missing)):
            hooks.count_refused(hook.id, now=now)
        return
    reports = read_call(ADAPTERS[hook.provider], Call(body.encode(), {}, "", now))
    new = record_events(hook.account_id, hook.provider, reports, now=now)
    hooks.count_events(hook.id, new, now=now)
    _delete(event_id)


def _claim(event_id: int, now: datetime) -> tuple[str, BounceHook | None]:
    """Lease a due call; return it with its hook, detached. Commits."""
    due = (BounceEvent.id == event_id, BounceEvent.state == EventState.UNVERIFIED, BounceEvent.next_at <= now)
    claimed = db.session.execute(
        update(BounceEvent)
        .where(*due)
        .values(next_at=now + _LEASE, tries=BounceEvent.tries + 1)
        .returning(BounceEvent.account_id, BounceEvent.source, BounceEvent.raw)
    ).one_or_none()
    hook = hooks.find(claimed.account_id, claimed.source) if claimed is not None else None
    if hook is not None:
        db.session.expunge(hook)
    db.session.commit()
    if claimed is not None and hook is None:  # the owner has removed it meanwhile
        _delete(event_id)
    return (claimed.raw if claimed is not None else ""), hook


def _check_topic(hook: BounceHook, message: Item) -> None:
    """Raise Forged for another topic than the subscribed one. Before a topic is, the first may ask for it."""
    if message.text("TopicArn") != hook.topic and not (_asks(message) and hook.topic == ""):
        raise Forged


def _asks(message: Item) -> bool:
    return message.text("Type") == "SubscriptionConfirmation"


def _confirm(hook: BounceHook, message: Item) -> None:
    """Confirm the subscription of the first topic that asks for it. Raises Unreachable. Commits."""
    topic = message.text("TopicArn")
    if not _asks(message):
        return
    sns.confirm(message, current_config().webhook_policy)
    first = update(BounceHook).where(BounceHook.id == hook.id, BounceHook.topic.in_(("", topic)))
    db.session.execute(first.values(topic=topic).execution_options(synchronize_session=False))
    db.session.commit()
    record(SecurityEvent.WEBHOOK_SAVED, account=hook.account_id)


def _delete(event_id: int) -> None:
    row = db.session.get(BounceEvent, event_id)
    if row is not None:
        db.session.delete(row)
    db.session.commit()


def _retry(event_id: int, now: datetime, *, is_missing: bool) -> bool:
    """Try again later; return False if it is deleted: after a day, or at once if the certificate is still missing. Commits."""
    row = db.session.get(BounceEvent, event_id, with_for_update=True, populate_existing=True)
    is_over = row is not None and (
        now > row.received_at + _GIVE_UP_AFTER or (is_missing and row.tries >= _TRIES_OF_MISSING)
    )
    if row is not None and is_over:
        db.session.delete(row)
    elif row is not None:
        row.next_at = now + _RETRY_DELAYS[min(row.tries, len(_RETRY_DELAYS)) - 1]
    db.session.commit()
    return not is_over
