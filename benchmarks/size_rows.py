"""Writes a portal's settled messages with SQL alone: ten million of 10,000 accounts over thirteen months, bodies pruned.

Message ids are slots from 1 to the number of messages of the full size; the time of a message follows from its id, as in a
portal. The first fill takes every tenth slot (``Sizes.step``), and the second one the others, so that the grown database
has the same accounts and months. Every column is an expression of the slot and its hash, written without triggers and
mostly before the indexes are made; ``tests/deliveries/test_size_rows.py`` proves that the rows are those that the application
writes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any

import psycopg

from portal.deliveries.stats import STEPS_S

DAYS = 395  # thirteen months, fewer than messages are kept
MEDIUM, LARGEST, WITH_TEXTS, WITH_OLD = 1, 2, 3, 4  # ids of accounts
TABLES = ("outbox_message", "delivery_attempt", "delivery_log", "bounce_event", "message_outcome")
ROLLUPS = ("delivery_hour", "outcome_hour", "attempt_total", "rollup_cursor")
BUILDERS = 2  # connections that work side by side
KINDS = ("new-sign-up", "approved", "new-purchase", "commission-approved", "payout-sent")
WORDS = (
    *(
        "harvest",
        "lantern",
        "meadow",
        "copper",
        "willow",
        "ember",
        "granite",
        "orchard",
        "velvet",
        "harbour",
        "saffron",
    ),
    *("thistle", "marble", "juniper", "cobalt", "heather", "amber", "cedar", "linen", "walnut"),
)
SHARED_WORD = "lantern"  # in the subjects of all accounts but the medium one


@dataclass(frozen=True)
class Sizes:
    """How many messages and accounts there are, the time over which they are spread, and its end."""

    full: int
    step: int  # the first fill has one of so many messages
    accounts: int
    now: datetime
    days: int = DAYS

    @property
    def first(self) -> int:
        return self.full // self.step


def _picked(name: str, words: Iterable[str]) -> str:
    listed = ", ".join(f"'{word}'" for word in words)
    return f"(ARRAY[{listed}])[1 + ({name})]"


# The medium account has a tenth of the first fill and nothing of the second. Of the others, one of rank r has a share of
# about 1 / r: the largest has 7 %, and half of them have some hundred of ten million. ``h`` and ``g`` are independent hashes.
_SLOTS = """
    SELECT s AS id, hashint8extended(s, 1) & 9223372036854775807 AS h, hashint8extended(s, 2) & 9223372036854775807 AS g
    FROM generate_series({first}::bigint, {full}::bigint, {stride}::bigint) AS s WHERE {where} OFFSET 0
"""
_PICKED = f"""
    SELECT id, h, g,
        CASE WHEN id % {{step}} = 0 AND id / {{step}} % 10 = 0 THEN {MEDIUM} ELSE {MEDIUM} + least({{accounts}} - 1,
            floor(power({{accounts}} - 1, (h & 16777215) / 16777216.0)))::bigint END AS account_id,
        (ARRAY['sent', 'failed', 'suppressed', 'cancelled'])[CASE WHEN (h >> 24) % 1000 < 940 THEN 1
            WHEN (h >> 24) % 1000 < 980 THEN 2 WHEN (h >> 24) % 1000 < 990 THEN 3 ELSE 4 END] AS status,
        (g & 1023) % 100 < 3 AS was_deferred, (g >> 10) % 50000 AS person, 1 + id * 5 / ({{full}} + 1) AS version,
        '{{start}}'::timestamptz + id * '{{span_us}} microseconds'::interval AS created_at
    FROM ({_SLOTS}) AS slots OFFSET 0
"""
MESSAGES = f"""
    SELECT picked.*,
        {_picked("(g >> 26) % 5", KINDS)} AS kind,
        'Person' || account_id * 50000 + person || CASE WHEN (g >> 30) % 5003 = 7 THEN '@rare0.example'
            ELSE '@mail' || person % 400 || '.example' END AS recipient,
        '<' || left(md5(id::text), 24) || '@brightleaf.example>' AS header_id,
        CASE WHEN account_id = {MEDIUM} THEN 'Welcome to Brightleaf, Person' || account_id * 50000 + person
            ELSE {
    _picked(f"(g >> 40) % {len(WORDS)}", (f"Welcome to {word} Brightleaf, Person" for word in WORDS))
}
                || account_id * 50000 + person END
            || CASE WHEN (g >> 30) % 20011 = 3 THEN ' (unicorn)' ELSE '' END AS subject,
        CASE WHEN (h >> 34) % 997 = 0 THEN 552 ELSE 550 END AS refusal,
        created_at + (300 + (h >> 44) % 40000) * '1 millisecond'::interval
            + CASE WHEN was_deferred AND status = 'sent' THEN '1 minute'::interval ELSE '0'::interval END AS settled_at,
        status IN ('sent', 'failed') AS was_tried,
        status = 'sent' AND was_deferred AS has_two,
        status = 'sent' AND (account_id < 3 OR account_id % 4 = 0) AS is_reported,
        {
    _picked(
        "CASE WHEN (g >> 46) % 100 < 94 THEN 0 ELSE 1 + (g >> 46) % 4 END",
        ("delivered", "hard", "soft", "blocked", "complaint"),
    )
} AS meaning
    FROM ({_PICKED}) AS picked OFFSET 0
"""
_WIPED_AFTER = "'1 day'::interval"
_FILLS = {
    "outbox_message": """
        (id, account_id, kind, key, message_id, recipient, recipient_name, subject, text, html, is_sealed, is_test, is_custom,
        unsubscribe_url, status, attempts, created_at, next_attempt_at, settled_at)
        SELECT id, account_id, kind, 'bench:' || id, CASE WHEN was_tried THEN header_id END, recipient, '', subject, '', '',
        false, false, false, '', status, CASE WHEN has_two THEN 2 WHEN was_tried THEN 1 ELSE 0 END, created_at,
        created_at + CASE WHEN has_two THEN '1 minute'::interval ELSE '0'::interval END, settled_at
        FROM messages
    """,
    "delivery_attempt": """
        (message_id, number, version_number, server, sender, started_at, ended_at, outcome, ambiguous, stage, reply_code,
        enhanced_code, reply_text, queue_id, diagnosis, transcript, traceback)
        SELECT id, number, version, 'smtp.mailgun.org:587', 'Brightleaf <info@brightleaf.example>',
        CASE WHEN number < tries THEN created_at ELSE settled_at - '200 milliseconds'::interval END,
        CASE WHEN number < tries THEN created_at + '200 milliseconds'::interval ELSE settled_at END,
        CASE WHEN number < tries THEN 'deferred' WHEN status = 'sent' THEN 'accepted' ELSE 'rejected' END, false,
        CASE WHEN number = tries AND status = 'sent' THEN 'data' ELSE 'rcpt' END,
        CASE WHEN number < tries THEN 451 WHEN status = 'sent' THEN 250 ELSE refusal END,
        CASE WHEN number < tries THEN '4.7.1' WHEN status = 'sent' THEN '2.0.0' ELSE '5.1.1' END,
        CASE WHEN number < tries THEN '4.7.1 Try again later' WHEN status = 'sent' THEN '2.0.0 Ok: queued as Q' || id
            ELSE '5.1.1 No such user' END,
        CASE WHEN number = tries AND status = 'sent' THEN 'Q' || id ELSE '' END,
        CASE WHEN number < tries THEN '{"cause": "The server asks to try again later.", "retry_class": "later"}'::json
            WHEN status = 'failed' THEN '{"cause": "There is no such mailbox.", "retry_class": "recipient"}'::json END,
        '', ''
        FROM (SELECT *, CASE WHEN has_two THEN 2 ELSE 1 END AS tries FROM messages WHERE was_tried) AS tried,
        generate_series(1, tries) AS number
    """,
    "delivery_log": f"""
        (message_id, account_id, created_at, status, kind, recipient, domain, subject, reference, attempt, version, code,
        queue_id, settled_at, seconds, wiped_at, outcome)
        SELECT id, account_id, created_at, status, kind, lower(recipient), split_part(lower(recipient), '@', 2), subject,
        CASE WHEN was_tried THEN header_id ELSE '' END, CASE WHEN has_two THEN 2 WHEN was_tried THEN 1 ELSE 0 END,
        CASE WHEN was_tried THEN version END, CASE WHEN status = 'sent' THEN 250 WHEN was_tried THEN refusal END,
        CASE WHEN status = 'sent' THEN 'Q' || id ELSE '' END, settled_at,
        CASE WHEN status = 'sent' THEN extract(epoch FROM settled_at - created_at) END, settled_at + {_WIPED_AFTER},
        CASE WHEN is_reported THEN meaning ELSE '' END
        FROM messages
    """,
    "bounce_event": """
        (account_id, source, key, proof, state, meaning, kind, recipient, occurred_at, status, reply_code, reason, reference,
        queue_id, header_id, is_listed, raw, message_id, received_at, tries)
        SELECT account_id, 'mailgun', md5('e' || id) || md5(id || 'e'), '', 'matched', meaning, meaning, lower(recipient),
        settled_at, CASE WHEN meaning = 'delivered' THEN '' ELSE '5.1.1' END,
        CASE WHEN meaning = 'delivered' THEN 250 ELSE 550 END,
        CASE WHEN meaning = 'delivered' THEN '' ELSE '5.1.1 No such user' END, md5('r' || id), '', '', false, '', id,
        settled_at + '20 seconds'::interval, 0
        FROM messages WHERE is_reported
    """,
    "message_outcome": """
        (message_id, account_id, mailbox_key, domain, meaning, source, event_key, occurred_at, noted_at, status, reply_code,
        reason, is_listed, sent_at, effect)
        SELECT id, account_id, lower(recipient), split_part(lower(recipient), '@', 2), meaning, 'mailgun',
        md5('e' || id) || md5(id || 'e'), settled_at, settled_at + '20 seconds'::interval,
        CASE WHEN meaning = 'delivered' THEN '' ELSE '5.1.1' END, CASE WHEN meaning = 'delivered' THEN 250 ELSE 550 END,
        CASE WHEN meaning = 'delivered' THEN '' ELSE '5.1.1 No such user' END, false, settled_at, ''
        FROM messages WHERE is_reported
    """,
}


def messages_sql(sizes: Sizes, *, is_first: bool) -> str:
    """Return the SELECT of the messages of the first fill, or of all others."""
    step, start = sizes.step, sizes.now - timedelta(days=sizes.days)
    span_us = (timedelta(days=sizes.days) - timedelta(minutes=2)) / timedelta(microseconds=1) / sizes.full
    return MESSAGES.format(
        first=step if is_first else 1,
        stride=step if is_first else 1,
        where="true" if is_first else f"s % {step} <> 0",
        full=sizes.full,
        step=step,
        accounts=sizes.accounts,
        start=start.isoformat(),
        span_us=f"{span_us:.6f}",
    )


def fill(connect: Callable[[], psycopg.Connection[Any]], sizes: Sizes, *, is_first: bool) -> None:
    """Write the messages of the first fill, or all others, their rows in all tables, and the indexes anew."""
    source = messages_sql(sizes, is_first=is_first)
    with closing(connect()) as connection:
        indexes = _drop_indexes(connection)
    rows = [_statement(f"INSERT INTO {table} {sql.replace('FROM messages', f'FROM ({source}) AS messages')}")
            for table, sql in _FILLS.items()]  # fmt: skip
    timed("rows", lambda: run_side_by_side(connect, rows))
    timed("indexes", lambda: run_side_by_side(connect, [_statement(one) for one in indexes]))
    timed("vacuum", lambda: run_side_by_side(connect, [f"VACUUM (ANALYZE) {table}" for table in TABLES]))
    with closing(connect()) as connection:
        # The slots of the second fill stay free, and what the portal enqueues comes after them.
        connection.execute(
            "SELECT setval(pg_get_serial_sequence('outbox_message', 'id'),"
            " greatest(%s, (SELECT max(id) FROM outbox_message)))",
            [sizes.full],
        )


def fill_rollups(connect: Callable[[], psycopg.Connection[Any]], over: datetime) -> None:
    """Write the counts of full hours and merged days before ``over``, which is a full hour, and the cursors."""
    merged = (over - timedelta(days=1)).replace(hour=0)
    bounds = " ".join(f"WHEN seconds <= {bound} THEN {step}" for step, bound in enumerate(STEPS_S))
    step = f"CASE WHEN seconds IS NULL THEN -1 {bounds} ELSE {len(STEPS_S)} END"
    with closing(connect()) as connection, connection.transaction():
        connection.execute("SET LOCAL TIME ZONE 'UTC'; SET LOCAL work_mem = '512MB'")
        connection.execute(f"TRUNCATE {', '.join(ROLLUPS)}")
        connection.execute(
            f"""
            INSERT INTO delivery_hour (account_id, hour, status, step, count)
            SELECT account_id,
                date_trunc(CASE WHEN settled_at < '{merged.isoformat()}' THEN 'day' ELSE 'hour' END, settled_at),
                status, {step}, count(*)
            FROM delivery_log WHERE status IN ('sent', 'failed') AND settled_at < '{over.isoformat()}' GROUP BY 1, 2, 3, 4
            """
        )
        connection.execute(
            """
            INSERT INTO outcome_hour (account_id, hour, meaning, count)
            SELECT account_id, date_trunc('hour', sent_at), meaning, count(*) FROM message_outcome GROUP BY 1, 2, 3
            """
        )
        accepted = "outcome = 'accepted'"
        connection.execute(
            f"""
            INSERT INTO attempt_total (provider, outcome, stage, step, count, seconds)
            SELECT 'mailgun', one.outcome, stage, CASE WHEN one.{accepted} THEN {step} ELSE -1 END, count(*),
                coalesce(sum(seconds) FILTER (WHERE one.{accepted}), 0)
            FROM delivery_attempt one JOIN delivery_log USING (message_id)
            WHERE started_at < '{over.isoformat()}' GROUP BY 2, 3, 4
            """
        )
        for name, until in (("hours", over), ("days", merged), ("attempts", over)):
            connection.execute("INSERT INTO rollup_cursor (name, until) VALUES (%s, %s)", [name, until])
    with closing(connect()) as connection:
        for table in ROLLUPS:
            connection.execute(f"VACUUM (ANALYZE) {table}")


def _drop_indexes(connection: psycopg.Connection[Any]) -> list[str]:
    """Drop the indexes and unique constraints of the tables, except primary keys; return the statements that make them."""
    among = "(SELECT oid FROM pg_class WHERE relname = ANY(%s) AND relnamespace = 'public'::regnamespace)"
    unique = connection.execute(
        f"SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        f" WHERE contype = 'u' AND conrelid IN {among}",
        [list(TABLES)],
    ).fetchall()
    for table, name, _ in unique:
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    plain = connection.execute(
        f"SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), pg_relation_size(indexrelid) FROM pg_index"
        f" WHERE indrelid IN {among} AND NOT indisprimary ORDER BY 3 DESC",
        [list(TABLES)],
    ).fetchall()
    for name, _, _ in plain:
        connection.execute(f"DROP INDEX {name}")
    made = [f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}" for table, name, definition in unique]
    return [
        *(one[1] for one in plain if " gin " in one[1]),
        *made,
        *(one[1] for one in plain if " gin " not in one[1]),
    ]


def _statement(sql: str) -> str:
    """Return the statement with what makes a bulk load fast: no triggers, much memory for sorting, no waiting for the disk."""
    return (
        "SET session_replication_role = replica; SET synchronous_commit = off; SET maintenance_work_mem = '1GB';"
        f" SET max_parallel_maintenance_workers = 0; {sql}"
    )


def run_side_by_side(connect: Callable[[], psycopg.Connection[Any]], statements: Iterable[str]) -> None:
    """Run statements on ``BUILDERS`` connections, each the next one that is left."""
    left: SimpleQueue[str] = SimpleQueue()
    for one in statements:
        left.put(one)
    errors: list[BaseException] = []

    def work() -> None:
        with closing(connect()) as connection:
            while not errors:
                try:
                    connection.execute(left.get_nowait())
                except Empty:
                    return
                except psycopg.Error as error:
                    errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(BUILDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def timed(name: str, work: Callable[[], Any]) -> Any:
    """Run and print how long it took."""
    started = time.perf_counter()
    found = work()
    print(f"  {name}: {time.perf_counter() - started:.1f} s", flush=True)
    return found
