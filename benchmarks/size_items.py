"""What ``benchmarks/size.py`` measures: claims, sweeps, pruning and figures of the whole portal, and the log of two accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, cycle
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, text

from benchmarks import log_pages
from benchmarks.log_pages import Sample, sign_in
from benchmarks.size_accounts import message
from benchmarks.size_rows import DAYS, MEDIUM, SHARED_WORD, WITH_OLD, WITH_TEXTS
from portal.bounces import cleanup
from portal.clock import utcnow
from portal.db import db
from portal.db.transaction import db_now
from portal.deliveries import message_log, retention, rollup
from portal.deliveries.filters import Filters
from portal.deliveries.models import LogRow
from portal.home import figures
from portal.incidents import monitor
from portal.jobs.heartbeat import find_due_work
from portal.monitoring import prometheus
from portal.outbox.queue import enqueue
from portal.outbox.routing import Route
from portal.outbox.store.interface import Store
from portal.outbox.store.leases import new_token
from portal.outbox.store.sql import get_store
from portal.outbox.store.types import Claim
from portal.smtp.protocol.envelope import Acceptance
from portal.smtp.protocol.reply import Reply
from portal.smtp.server import Security, Server
from portal.state import get_state

BATCH = 10  # messages of a claim
_OLD_DAYS = 250
_TEXTS = 8000  # more than all runs of a measurement remove
ROUTE = Route(
    Server("smtp.mailgun.org", 587, Security.STARTTLS),
    "info@brightleaf.example",
    "Brightleaf",
    version_number=5,
)


@dataclass(frozen=True)
class Item:
    """Something that is run and timed. ``reads``: as in a GET request. Not ``is_bounded``: its work grows with the messages."""

    name: str
    run: Callable[[], Any]
    reads: bool = True
    is_bounded: bool = True


def acceptance(number: int) -> Acceptance:
    return Acceptance(Reply(250, (f"Ok: queued as Q{number}",), "2.0.0"), f"Q{number}")


def of_portal(app: Flask, client: FlaskClient, due: list[int], now: datetime) -> Iterator[Item]:
    """Yield what concerns all accounts: claims, sweeps, figures. Nothing is changed by it."""
    accounts, numbers = cycle(due), count()

    def claim() -> tuple[Store, list[Claim]]:
        store = get_store()
        found = store.claim_batch(
            store.lock_queue(next(accounts)), new_token(), ROUTE, limit=BATCH, now=db_now()
        )
        assert len(found) == BATCH
        return store, found

    def claim_and_settle() -> None:
        store, found = claim()
        for one in found:
            store.mark_started(one, ROUTE, now=db_now())
        assert all(
            store.settle_accepted([(one, acceptance(one.message.id), "") for one in found], now=db_now())
        )

    def queue_one() -> None:
        assert enqueue(MEDIUM, message(MEDIUM, next(numbers), "new"), now=utcnow())

    def metrics() -> None:
        get_state().part(prometheus.MetricsCache).read_at = None
        prometheus.render(utcnow())

    yield Item("sweep", lambda: find_due_work(app, utcnow()))
    yield Item("sweep for urgent work", lambda: find_due_work(app, utcnow(), is_full=False))
    yield Item("watch of an incident", lambda: monitor._find_open(monitor._is_disproved()))
    yield Item(f"claim of {BATCH} messages", claim, reads=False)
    yield Item(f"claim and settlement of {BATCH} messages", claim_and_settle, reads=False)
    yield Item("enqueuing a message", queue_one, reads=False)
    yield Item("figures: metrics", metrics)
    yield Item("figures: seven days of an account", lambda: figures.read(MEDIUM, now=utcnow()))
    yield Item("figures: GET /operator/outbox", _get(client, "/operator/outbox"), reads=False)
    yield Item("figures: GET /", _get(client, "/"), reads=False)
    over = rollup._last_full_hour(now)
    yield Item("rollup of an hour", lambda: _roll_up(over), reads=False, is_bounded=False)


def of_pruning() -> Iterator[Item]:
    """Yield the removal of what is old. It is committed, so it comes last."""
    yield Item("pruning that finds nothing", lambda: retention.prune(utcnow()), reads=False)
    yield Item("cleanup of events that finds nothing", lambda: cleanup.delete_old(utcnow()), reads=False)


def of_pruning_something() -> Iterator[Item]:
    """Yield the removal of expired messages and texts, which ``expire_some`` must have made."""
    yield Item(
        f"pruning {retention.BATCH} messages and {retention.BATCH} texts",
        lambda: retention.prune(utcnow()),
        reads=False,
    )


def expire_some() -> None:
    """Give one account messages whose texts are due for removal, and another one messages that are due themselves. Commits."""
    some = select(LogRow.message_id).where(LogRow.account_id == WITH_TEXTS)
    some = (
        some.where(LogRow.settled_at < utcnow() - timedelta(days=retention.Retention().body_days))
        .order_by(LogRow.message_id.desc())
        .limit(_TEXTS)
    )
    ids = db.session.scalars(some).all()
    db.session.execute(
        text("UPDATE delivery_log SET wiped_at = NULL WHERE message_id = ANY(:ids)"), {"ids": ids}
    )
    db.session.execute(
        text("UPDATE outbox_message SET text = repeat('A text. ', 50) WHERE id = ANY(:ids)"), {"ids": ids}
    )
    chosen = {"account": WITH_OLD, "days": _OLD_DAYS}
    db.session.execute(text("INSERT INTO delivery_retention VALUES (:account, 90, :days)"), chosen)
    db.session.commit()


def expire_no_more() -> None:
    """Undo what is left of ``expire_some``. Commits."""
    db.session.execute(
        text("DELETE FROM delivery_retention WHERE account_id = :account"), {"account": WITH_OLD}
    )
    db.session.execute(
        text(
            "UPDATE delivery_log SET wiped_at = settled_at + interval '1 day'"
            " WHERE account_id = :account AND settled_at IS NOT NULL AND wiped_at IS NULL"
        ),
        {"account": WITH_TEXTS},
    )
    db.session.commit()


def of_account(app: Flask, mailbox: str, account: int, now: datetime) -> list[Item]:
    """Return the queries of the log of an account and its pages."""
    client = app.test_client()
    sign_in(client, mailbox)
    with app.app_context():
        sample = _sample(account)
        found = [Item(name, run) for name, run in log_pages.queries(sample, now)]
        filters = Filters.read({"q": SHARED_WORD, "by": "subject"})
        found.append(
            Item(
                "subject: word of other accounts",
                lambda: message_log.read_page(account, filters, before=None, after=None),
            )
        )
    return found + [Item(name, run, reads=False) for name, run in log_pages.pages(client, sample)]


def count_messages(account: int) -> int:
    return (
        db.session.scalar(select(func.count()).select_from(LogRow).where(LogRow.account_id == account)) or 0
    )


def _sample(account: int) -> Sample:
    """Find values that messages of an account have."""

    def at(place: int, *, rest: Any = True) -> LogRow:
        own = select(LogRow).where(LogRow.account_id == account, rest)
        return db.session.scalars(own.order_by(LogRow.message_id).offset(place).limit(1)).one()

    total = count_messages(account)
    middle = at(total // 3, rest=LogRow.status == "sent")
    newest = at(total - 1)
    found = Sample(
        account=account,
        days=DAYS,
        middle=middle.message_id,
        oldest=at(51).message_id,
        recipient=middle.recipient,
        beginning=newest.recipient.partition("@")[0],
        queue_id=middle.queue_id,
        header_id=middle.reference,
    )
    db.session.rollback()
    return found


def _get(client: FlaskClient, path: str) -> Callable[[], None]:
    def get() -> None:
        with client.application.app_context():
            assert client.get(path).status_code == 200, path

    return get


def _roll_up(over: datetime) -> None:
    """Add up one hour as the rollup does, without the commit."""
    hour = timedelta(hours=1)
    rollup._roll_hours(over - hour, over)
    rollup._roll_attempts(over - hour, over)
