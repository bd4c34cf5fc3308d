"""Writes thirty days of delivery log for one account, in bulk and through the triggers of the log.

Each accepted message has an event of its provider, and the outcome that follows from it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, text

from portal.affiliates.models import Affiliate
from portal.affiliates.search_text import search_text
from portal.bounces.models import BounceEvent, MessageOutcome
from portal.db import db
from portal.outbox.models import DeliveryAttempt, OutboxMessage

DAYS = 30
KINDS = ("new-sign-up", "approved", "new-purchase", "commission-approved", "payout-sent")
STATUSES = ("sent",) * 94 + ("failed",) * 4 + ("held", "cancelled")
BATCH_SIZE = 5000
MEANINGS = ("delivered",) * 94 + ("hard",) * 3 + ("soft", "blocked", "complaint")
AFFILIATE_STATES = ("active",) * 90 + ("pending",) * 4 + ("unconfirmed",) * 5 + ("declined",)
FIRST_NAMES = ("Ada", "Grace", "Katherine", "Mary", "Hedy", "Radia", "Joan", "Lynn")
# As deliveries/message_outcomes.py does for each outcome.
COPY_OUTCOMES = text(
    "UPDATE delivery_log SET outcome = (SELECT meaning FROM message_outcome o WHERE o.message_id = delivery_log.message_id)"
    " WHERE message_id IN (SELECT message_id FROM message_outcome WHERE message_id BETWEEN :first AND :last)"
)
UNMATCHED = 20_000  # events without a message, more than are kept


def message(number: int, total: int, account: int, now: datetime) -> dict[str, Any]:
    status = STATUSES[number * 7919 % 100]
    created_at = now - timedelta(days=DAYS) * (1 - number / total) - timedelta(seconds=30)
    settled_at = created_at + timedelta(seconds=(number * 31 % 400) / 10) if status not in ("held",) else None
    person = number * 104_729 % total
    return {
        "id": number + 1,
        "account_id": account,
        "kind": KINDS[number % len(KINDS)],
        "key": f"bench:{number}",
        "message_id": f"<{number}@brightleaf.example>",
        "recipient": f"Person{person}@{'rare' if number % 5000 == 0 else 'mail'}{number % 40}.example",
        "recipient_name": "",
        "subject": f"Welcome to Brightleaf, Person{person}{' (unicorn)' if number == total // 3 else ''}",
        "text": "A text of an ordinary length. " * 12,
        "html": "<p>A text of an ordinary length.</p>" * 12,
        "is_sealed": False,
        "is_test": False,
        "status": status,
        "attempts": 1,
        "created_at": created_at,
        "next_attempt_at": created_at,
        "settled_at": settled_at,
        "unsubscribe_url": "",
    }


def attempt(row: dict[str, Any], number: int, total: int) -> dict[str, Any]:
    sent = row["status"] == "sent"
    return {
        "message_id": row["id"],
        "number": 1,
        "version_number": 1 + number * 5 // total,
        "server": "smtp.mailgun.org:587",
        "sender": "Brightleaf <info@brightleaf.example>",
        "started_at": row["created_at"],
        "ended_at": row["settled_at"],
        "outcome": "accepted" if sent else "rejected",
        "stage": "data",
        "reply_code": 250 if sent else (552 if number % 997 == 0 else 550),
        "reply_text": "2.0.0 Ok" if sent else "5.1.1 No such user",
        "queue_id": f"Q{number}" if sent else "",
        "transcript": "     1 ms  C: EHLO signet.example\n" * 10,
        "ambiguous": False,
        "enhanced_code": "2.0.0" if sent else "5.1.1",
    }


def bounce_event(row: dict[str, Any], number: int) -> dict[str, Any]:
    at = row["settled_at"] or row["created_at"]
    meaning = MEANINGS[number * 6007 % 100]
    return {
        "account_id": row["account_id"],
        "source": "mailgun",
        "key": f"{number:064x}",
        "proof": "",
        "state": "matched",
        "meaning": meaning,
        "kind": meaning,
        "recipient": row["recipient"],
        "occurred_at": at,
        "status": "" if meaning == "delivered" else "5.1.1",
        "reply_code": 250 if meaning == "delivered" else 550,
        "reason": "" if meaning == "delivered" else "5.1.1 No such user",
        "reference": f"{number:032x}",
        "queue_id": "",
        "header_id": "",
        "is_listed": False,
        "raw": '{"event": "' + "x" * 600 + '"}',
        "message_id": row["id"],
        "received_at": at + timedelta(seconds=20),
        "next_at": None,
        "tries": 0,
    }


def bounce_outcome(event: dict[str, Any]) -> dict[str, Any]:
    mailbox = event["recipient"].casefold()
    kept = (
        "account_id",
        "meaning",
        "source",
        "occurred_at",
        "status",
        "reply_code",
        "reason",
        "is_listed",
        "message_id",
    )
    return {
        **{name: event[name] for name in kept},
        "event_key": event["key"],
        "mailbox_key": mailbox,
        "domain": mailbox.rpartition("@")[2],
        "noted_at": event["received_at"],
        "sent_at": event["occurred_at"],
        "effect": "",
    }


def unmatched(event: dict[str, Any], number: int) -> dict[str, Any]:
    return {**event, "key": f"u{number:063x}", "state": "unmatched", "message_id": None}


def affiliate(number: int, total: int, account: int, now: datetime) -> dict[str, Any]:
    name = f"{FIRST_NAMES[number % 8]} {'Unicorn' if number == total // 3 else 'Fairweather'}"
    mailbox, code = f"partner{number}@mail{number % 400}.example", f"C{account}{number:07d}"
    return {
        "account_id": account,
        "name": name,
        "mailbox": mailbox,
        "mailbox_key": mailbox,
        "code": code,
        "sealed_page_keys": b"x" * 120,
        "dashboard_key_hash": f"d{account}:{number}",
        "preferences_key_hash": f"p{account}:{number}",
        "state": AFFILIATE_STATES[number * 7919 % 100],
        "search_text": search_text(name, mailbox, code),
        "consented_at": now,
        "consent_way": "sign-up",
        "consent_words": "I agree to receive emails about my affiliate account.",
        "email_pace": "at-once",
        "notes": "",
        "website": "",
        "created_at": now,
    }


def fill_affiliates(total: int, account: int, now: datetime) -> None:
    """Write affiliates. Commits."""
    for start in range(0, total, BATCH_SIZE):
        write(
            Affiliate,
            [affiliate(n, total, account, now) for n in range(start, min(total, start + BATCH_SIZE))],
        )
        db.session.commit()


def fill(total: int, account: int, now: datetime) -> None:
    """Write messages and attempts with the triggers enabled. A large cache shortens it to minutes. Commits."""
    set_pragmas("PRAGMA cache_size = -600000", "PRAGMA synchronous = OFF")
    for start in range(0, total, BATCH_SIZE):
        rows = [message(n, total, account, now) for n in range(start, min(total, start + BATCH_SIZE))]
        write(OutboxMessage, rows)
        write(
            DeliveryAttempt, [attempt(row, row["id"] - 1, total) for row in rows if row["status"] != "held"]
        )
        events = [bounce_event(row, row["id"] - 1) for row in rows if row["status"] == "sent"]
        write(BounceEvent, events)
        write(MessageOutcome, [bounce_outcome(event) for event in events])
        db.session.execute(COPY_OUTCOMES, {"first": rows[0]["id"], "last": rows[-1]["id"]})
        share = UNMATCHED * len(rows) // total
        write(BounceEvent, [unmatched(event, start + n) for n, event in enumerate(events[:share])])
        db.session.commit()
        if start % 100_000 == 0:
            print(f"  {start:,} messages written", file=sys.stderr, flush=True)
    if db.engine.dialect.name == "postgresql":
        # COPY wrote the ids, so the sequence is still at its start; the portal's own mail would collide.
        db.session.execute(
            text("SELECT setval(pg_get_serial_sequence('outbox_message', 'id'), :last)"), {"last": total}
        )
        db.session.commit()
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(
                "SET statement_timeout = 0"
            )  # a page's limit is too short for all of it
            connection.exec_driver_sql("VACUUM ANALYZE")


def write(model: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows by the fastest method of the database: COPY in PostgreSQL."""
    if db.engine.dialect.name != "postgresql":
        db.session.execute(insert(model), rows)
        return
    cursor = db.session.connection().connection.cursor()
    with cursor.copy(f"COPY {model.__tablename__} ({', '.join(rows[0])}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(list(row.values()))


def set_pragmas(*statements: str) -> None:
    """Execute PRAGMA statements on SQLite's connection."""
    if db.engine.dialect.name == "sqlite":
        db.session.commit()  # returns the connection to the pool, which gives out the same one
        with closing(db.engine.raw_connection()) as connection:
            for statement in statements:
                connection.cursor().execute(statement)
