"""Let a storm rage and print what came of it; leaves with 1 when a promise was broken.

    python -m tests.storm                      kills on SQLite and on PostgreSQL, then polite ends: minutes
    python -m tests.storm --short              the one the tests run: seconds
    python -m tests.storm --database sqlite    on one of them only
    python -m tests.storm --messages 12000     longer

5,000 messages over 16 accounts whose mail servers are good, slow, busy now and then, refuse some recipients,
hang up after the final dot, or are mute until they mend. Four workers; each second the longest-serving one is
killed with SIGKILL and another started. PostgreSQL is ended once as by a crash and started again. In the end
the servers' own log is compared with the tables. Retry delays are shortened (SIGNET_RETRY_PACE), leases last
6 seconds.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from tests import databases

from .report import told
from .storm import SHORT, Plan, rage

TEMPERS = (
    *("good",) * 6,
    *("slow",) * 3,
    *("busy",) * 2,
    *("refusing",) * 2,
    *("dropping",) * 2,
    "mute",
)
LONG = Plan(messages=5_000, tempers=TEMPERS, mends_after=40)
POLITE = replace(LONG, politely=True, kills=40, every=0.5, mends_after=10)


@contextmanager
def postgresql() -> Iterator[databases.Cluster]:
    found = databases.binaries()
    if found is None:
        sys.exit("PostgreSQL is not installed here; tests/postgresql.sh installs it on Debian.")
    with databases.cluster(found) as running:
        with closing(running.connect()) as connection:
            connection.execute("CREATE DATABASE storm")
        yield running


def on_sqlite(title: str, plan: Plan) -> bool:
    with tempfile.TemporaryDirectory(prefix="signet-storm-") as folder:
        return told(f"{title}, SQLite", rage(plan, Path(folder)))


def on_postgresql(title: str, plan: Plan) -> bool:
    with tempfile.TemporaryDirectory(prefix="signet-storm-") as folder, postgresql() as cluster:
        return told(f"{title}, PostgreSQL", rage(plan, Path(folder), cluster.url("storm"), cluster))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="on one database only")
    parser.add_argument("--short", action="store_true", help="900 messages, 6 accounts, 5 kills")
    parser.add_argument("--terms", action="store_true", help="40 SIGTERMs only")
    parser.add_argument("--messages", type=int, help="how many messages the long storm has")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of every block that ends its processes
    plan = SHORT if chosen.short else replace(LONG, messages=chosen.messages or LONG.messages)
    held = []
    if chosen.database != "postgresql" and not chosen.terms:
        held.append(on_sqlite("Killed workers", plan))
    if chosen.database != "sqlite" and not chosen.terms:
        half_way = plan.mends_after / 2
        held.append(on_postgresql("Killed workers", replace(plan, restart_after=half_way)))
    if chosen.terms or not (chosen.short or chosen.database):
        held.append(on_sqlite("Workers asked to end", POLITE))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
