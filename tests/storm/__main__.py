"""Run storms and print their results; exit with 1 when a guarantee was violated.

    python -m tests.storm                      SIGKILL on SQLite and on PostgreSQL, then SIGTERM: minutes
    python -m tests.storm --short              the storm that the tests run: seconds
    python -m tests.storm --database sqlite    on one database only
    python -m tests.storm --messages 12000     longer
    python -m tests.storm --late 240           servers that answer the final dot after four minutes: about ten minutes

5,000 messages over 16 accounts whose mail servers are good, slow, busy now and then, refuse some recipients, close
the connection after the final dot, or are silent until they recover. Four workers; each second the oldest one is
killed with SIGKILL and another started. PostgreSQL crashes once and is started again. At the end the servers' own
log is compared with the tables. Retry delays are shortened (SIGNET_RETRY_PACE), leases last 6 seconds.
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

from .report import print_report
from .storm import SHORT, Plan, late_plan, run_storm

BEHAVIOURS = (
    *("good",) * 6,
    *("slow",) * 3,
    *("busy",) * 2,
    *("refusing",) * 2,
    *("closing",) * 2,
    "silent",
)
LONG = Plan(messages=5_000, behaviours=BEHAVIOURS, recover_after_s=40)
GRACEFUL = replace(LONG, graceful=True, max_stops=40, interval_s=0.5, recover_after_s=10)


@contextmanager
def postgresql() -> Iterator[databases.Cluster]:
    binaries = databases.binaries()
    if binaries is None:
        sys.exit("PostgreSQL is not installed here; tests/postgresql.sh installs it on Debian.")
    with databases.cluster(binaries) as running:
        with closing(running.connect()) as connection:
            connection.execute("CREATE DATABASE storm")
        yield running


def on_sqlite(title: str, plan: Plan) -> bool:
    with tempfile.TemporaryDirectory(prefix="signet-storm-") as folder:
        return print_report(f"{title}, SQLite", run_storm(plan, Path(folder)))


def on_postgresql(title: str, plan: Plan) -> bool:
    with tempfile.TemporaryDirectory(prefix="signet-storm-") as folder, postgresql() as cluster:
        report = run_storm(plan, Path(folder), cluster.url("storm"), cluster)
        return print_report(f"{title}, PostgreSQL", report)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="on one database only")
    parser.add_argument("--short", action="store_true", help="900 messages or more, 6 accounts, 3 to 5 kills")
    parser.add_argument("--terms", action="store_true", help="40 SIGTERMs only")
    parser.add_argument("--messages", type=int, help="number of messages of the long storm")
    parser.add_argument("--late", type=int, metavar="SECONDS", help="servers that answer so late, on SQLite")
    options = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # runs the finally blocks, which end the processes
    if options.late:
        return 0 if on_sqlite("Late answers", late_plan(options.late)) else 1
    plan = SHORT if options.short else replace(LONG, messages=options.messages or LONG.messages)
    results = []
    if options.database != "postgresql" and not options.terms:
        results.append(on_sqlite("Workers killed", plan))
    if options.database != "sqlite" and not options.terms:
        crash_after_s = plan.recover_after_s / 2
        results.append(on_postgresql("Workers killed", replace(plan, crash_after_s=crash_after_s)))
    if options.terms or not (options.short or options.database):
        results.append(on_sqlite("Workers ended by SIGTERM", GRACEFUL))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
