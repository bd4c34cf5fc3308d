"""Benchmark of the bloat on PostgreSQL after a million messages were settled, with autovacuum as it comes.

    python -m benchmarks.size_bloat [--rows 1000000]

Enqueues messages by SQL with the triggers enabled, and claims, starts and settles them through the store in batches, with the
same UPDATEs for each message as a worker with ``SIGNET_RECORD=each``. Then it waits for autovacuum and compares tables and
indexes with their size after VACUUM FULL. Exits with 1 if a table takes more than ``MAX_RATIO`` times as much or its indexes more
than ``MAX_INDEX_RATIO``, if an index of waiting messages grew by more than ``MAX_GROWTH`` in the second half, if more than
``MAX_DEAD`` of the rows are dead, or if the last tenth was settled in more than twice the processor time of the second tenth.

Each status of a message is another version of its row, with an entry in every index, because conditions of indexes name the
status. An index page therefore splits once before vacuum empties half of it. It is not filled again, as keys ascend. Indexes of
waiting messages alone are empty at the end, so compact they take nothing. They hold the versions between two vacuums, and must
not grow with what was settled.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import text

from benchmarks.deliveries import time_s
from benchmarks.harness import print_table
from benchmarks.size import Portal, run_portal
from benchmarks.size_accounts import prepare_accounts
from benchmarks.size_items import ROUTE, acceptance
from benchmarks.size_rows import Sizes
from portal.clock import utcnow
from portal.db import db
from portal.db.transaction import db_now
from portal.outbox.store import attempts
from portal.outbox.store.leases import new_token
from portal.outbox.store.sql import get_store

MAX_RATIO = 2.0  # of the size after VACUUM FULL
MAX_INDEX_RATIO = 2.5  # of the same
MAX_GROWTH = 1.5
MAX_DEAD = 0.25  # autovacuum comes at a fifth of the rows, and needs some time
MAX_SLOWER = 2.0
TABLES = ("outbox_message", "delivery_attempt", "delivery_log")
WAITING = (
    "ix_outbox_message_due",
    "ix_outbox_message_recipient",
    "ix_outbox_message_test",
)  # of waiting messages alone
_ACCOUNTS, _BATCH = 16, 500
_PATIENCE_S = 300.0  # for autovacuum, which looks once a minute
_TRANSCRIPT = "     1 ms  C: EHLO signet.example\\n" * 10
_ENQUEUE = text(
    """
    INSERT INTO outbox_message (account_id, kind, key, recipient, recipient_name, subject, text, html, is_sealed, is_test,
        is_custom, unsubscribe_url, status, attempts, created_at, next_attempt_at)
    SELECT 1 + n % :accounts, 'new-sign-up', 'bloat:' || n, 'Person' || n || '@mail' || n % 400 || '.example', 'Person ' || n,
        'Welcome to Brightleaf, Person' || n, repeat('A text of an ordinary length, number ' || n || '. ', 30),
        repeat('<p>A text of an ordinary length, number ' || n || '.</p>', 40), false, false, false, '', 'queued', 0, now(), now()
    FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n
    """
)
_STATS = """
    SELECT n_live_tup, n_dead_tup, n_tup_upd, n_tup_hot_upd, autovacuum_count, pg_table_size(relid), (
        SELECT sum(pg_relation_size(indexrelid)) FROM pg_stat_user_indexes AS i
        WHERE i.relid = t.relid AND NOT indexrelname = ANY(%s)
    ) FROM pg_stat_user_tables AS t WHERE relname = %s
"""
_WAITING_SIZE = (
    "SELECT sum(pg_relation_size(indexrelid)) FROM pg_stat_user_indexes WHERE indexrelname = ANY(%s)"
)


@dataclass(frozen=True)
class Stats:
    """What PostgreSQL counts about a table; sizes in bytes, of indexes without those of waiting messages."""

    live: int
    dead: int
    updates: int
    hot: int
    vacuums: int
    table: int
    indexes: int

    @property
    def dead_share(self) -> float:
        return self.dead / max(1, self.live + self.dead)


def settle_all(first_row: int, rows: int) -> list[float]:
    """Enqueue and settle messages of these numbers in rounds; return the seconds of the processor for each round."""
    each_round = _ACCOUNTS * _BATCH
    times: list[float] = []
    for first in range(first_row, rows + 1, each_round):
        last = min(rows, first + each_round - 1)
        times.append(time_s(lambda first=first, last=last: _settle_round(first, last)))
        if len(times) % 10 == 0:
            print(f"  {last:,} messages settled", file=sys.stderr, flush=True)
    return times


def _settle_round(first: int, last: int) -> None:
    db.session.execute(_ENQUEUE, {"accounts": _ACCOUNTS, "first": first, "last": last})
    db.session.commit()
    for account in range(1, _ACCOUNTS + 1):
        _settle_batch(account)


def _settle_batch(account: int) -> None:
    """Settle the messages of one account as a drain that records each does, but many by one statement."""
    store = get_store()
    queue = store.lock_queue(account)
    claims = store.claim_batch(queue, new_token(), ROUTE, limit=_BATCH, now=db_now())
    generation, now = queue.generation, db_now()
    for claim in claims:
        store.mark_started(claim, ROUTE, now=now)
    started = claims[:-1]
    if started:
        rows = [{"message_id": one.message.id, "started_at": now, **one.route} for one in started]
        ids = attempts.insert_attempts(rows)
        for one in started:
            one.started_attempt_id = ids[one.message.id]
    db.session.commit()
    if started:
        accepted = [(one, acceptance(one.message.id), _TRANSCRIPT) for one in started]
        assert store.settle_and_start(accepted, claims[-1], ROUTE, generation=generation)
    assert all(
        store.settle_accepted(
            [(one, acceptance(one.message.id), _TRANSCRIPT) for one in claims[-1:]], now=db_now()
        )
    )
    db.session.commit()


def read_stats(portal: Portal) -> dict[str, Stats]:
    with closing(portal.connect()) as connection:
        found = {table: connection.execute(_STATS, [list(WAITING), table]).fetchone() for table in TABLES}
        return {table: Stats(*map(int, row)) for table, row in found.items() if row}


def waiting_size(portal: Portal) -> int:
    """Return how many bytes the indexes of waiting messages take."""
    with closing(portal.connect()) as connection:
        row = connection.execute(_WAITING_SIZE, [list(WAITING)]).fetchone()
        return int(row[0]) if row else 0


def wait_for_autovacuum(portal: Portal) -> dict[str, Stats]:
    """Wait until autovacuum has nothing left to do, or for ``_PATIENCE_S``."""
    end = time.monotonic() + _PATIENCE_S
    found = read_stats(portal)
    while time.monotonic() < end and any(one.dead > 50 + 0.2 * one.live for one in found.values()):
        time.sleep(5)
        found = read_stats(portal)
    return found


def measure(rows: int) -> int:
    """Settle messages, print the tables, return how many bounds are broken."""
    each_round = _ACCOUNTS * _BATCH
    half = rows // 2 // each_round * each_round
    with run_portal(Sizes(rows, 10, _ACCOUNTS, utcnow()), None) as portal:
        with portal.app.app_context():
            prepare_accounts(portal.sizes)
            times = settle_all(1, half)
            waiting = [waiting_size(portal)]
            times += settle_all(half + 1, rows)
        waiting.append(waiting_size(portal))
        at_end = read_stats(portal)
        settled = wait_for_autovacuum(portal)
        with closing(portal.connect()) as connection:
            for table in TABLES:
                connection.execute(f"VACUUM (FULL, ANALYZE) {table}")
        compact = read_stats(portal)
    broken = _print(at_end, settled, compact, rows) + _print_waiting(*waiting)
    return broken + _print_times(times, rows)


def _print(at_end: dict[str, Stats], settled: dict[str, Stats], compact: dict[str, Stats], rows: int) -> int:
    lines, broken = [], 0
    for table, one in settled.items():
        least = compact[table]
        sizes = (one.table, least.table), (one.indexes, least.indexes)
        ratios = [size / max(1, other) for size, other in sizes]
        exceeds = ratios[0] > MAX_RATIO or ratios[1] > MAX_INDEX_RATIO or one.dead_share > MAX_DEAD
        broken += exceeds
        lines.append(
            (
                table,
                f"{one.updates:,}",
                f"{100 * one.hot / max(1, one.updates):.0f} %",
                f"{at_end[table].dead:,}",
                f"{one.dead:,}",
                one.vacuums,
                *(f"{size / 2**20:,.0f}" for pair in sizes for size in pair),
                *(f"{one:.2f}" for one in ratios),
                "TOO MUCH" if exceeds else "",
            )
        )
    heads = ("table", "updates", "HOT", "dead at the end", "dead later", "autovacuums")
    heads += ("table, MiB", "compact", "indexes, MiB", "compact", "table, times", "indexes, times", "")
    print_table(f"Bloat after {rows:,} settled messages", heads, lines)
    return broken


def _print_waiting(at_half: int, at_end: int) -> int:
    growth = at_end / max(1, at_half)
    exceeds = growth > MAX_GROWTH
    sizes = [f"{size / 2**20:,.1f}" for size in (at_half, at_end)]
    line = ("indexes of waiting messages, MiB", *sizes, f"{growth:.2f}", "TOO MUCH" if exceeds else "")
    print_table("Of waiting messages alone", ("", "at half", "at the end", "times", ""), [line])
    return int(exceeds)


def _print_times(times: list[float], rows: int) -> int:
    tenth = max(1, len(times) // 10)
    early, late = (sum(part) / len(part) for part in (times[tenth : 2 * tenth] or times, times[-tenth:]))
    exceeds = late > MAX_SLOWER * early
    each = [f"{1000 * seconds / (_ACCOUNTS * _BATCH):.3f}" for seconds in (early, late)]
    line = ("of the processor for a message, ms", *each, f"{late / early:.2f}", "TOO SLOW" if exceeds else "")
    print_table(f"Settling {rows:,} messages", ("", "second tenth", "last tenth", "times", ""), [line])
    return int(exceeds)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="messages that are settled")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    broken = measure(options.rows)
    print(f"\n{broken} bounds broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
