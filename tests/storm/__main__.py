"""Run storms and print their results; exit with 1 when a guarantee was violated.

    python -m tests.storm                      all of them: about fifteen minutes
    python -m tests.storm --short              the storms that the tests run: seconds
    python -m tests.storm --kills              workers killed, on SQLite and on PostgreSQL
    python -m tests.storm --kills --database sqlite        on one database only
    python -m tests.storm --kills --record log             PostgreSQL with SIGNET_RECORD=log
    python -m tests.storm --machines           machines lost with their instance folders, by each value of SIGNET_RECORD
    python -m tests.storm --failover           a database lost for good whose standby takes over, synchronous and not
    python -m tests.storm --redis              Redis, which announces the jobs, killed again and again
    python -m tests.storm --terms              workers ended by SIGTERM
    python -m tests.storm --messages 12000     longer
    python -m tests.storm --late 240           servers that answer the final dot after four minutes: about ten minutes

5,000 messages over 16 accounts whose mail servers are good, slow, busy now and then, refuse some recipients, close
the connection after the final dot, or are silent until they recover. Four workers; each second the oldest one is
killed with SIGKILL and another started. At the end the servers' own log is compared with the tables. Retry delays are
shortened (SIGNET_RETRY_PACE), leases last 6 seconds.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from tests import databases

from .disasters import Disaster, database_crash, machine_losses
from .redis_server import RedisServer, redis_losses
from .replication import failover, replicated
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
LOSSES = 5  # of machines, or of Redis, in one storm
# With several machines, one that other work keeps busy must be able to renew its leases, as nothing else tells the others
# that it runs.
LONGER_LEASES = {"SIGNET_LEASE_SECONDS": "20"}
AWAY_S = 25.0  # of a database whose standby is promoted later than these end
BEHIND_S = 0.2  # of an asynchronous standby
GRACEFUL = replace(LONG, graceful=True, max_stops=40, interval_s=0.5, recover_after_s=10)


def binaries() -> Path:
    found = databases.binaries()
    if found is None:
        sys.exit("PostgreSQL is not installed here; tests/postgresql.sh installs it on Debian.")
    return found


@contextmanager
def postgresql() -> Iterator[databases.Cluster]:
    with databases.cluster(binaries()) as running:
        with closing(running.connect()) as connection:
            connection.execute("CREATE DATABASE storm")
        yield running


def run(title: str, plan: Plan, url: str = "", disasters: Sequence[Disaster] = (), **variables: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="signet-storm-") as folder:
        return print_report(title, run_storm(plan, Path(folder), url, disasters, variables))


def kills(plan: Plan, database: str | None) -> Iterator[bool]:
    """Kill single workers; PostgreSQL crashes once and is started again."""
    if database != "postgresql":
        yield run("Workers killed, SQLite", replace(plan, record=""))
    if database != "sqlite":
        for record in [plan.record] if plan.record else ["each", "log"]:
            with postgresql() as cluster:
                yield run(
                    f"Workers killed, PostgreSQL, SIGNET_RECORD={record}",
                    replace(plan, record=record),
                    cluster.url("storm"),
                    [database_crash(cluster, at=0.4)],
                )


def machines(plan: Plan) -> Iterator[bool]:
    """Lose machines with their instance folders, and kill single workers on another one."""
    for record in [plan.record] if plan.record else ["each", "log"]:
        with postgresql() as cluster:
            title = f"Machines lost, PostgreSQL, SIGNET_RECORD={record}"
            losing = replace(plan, record=record, machines=2)
            yield run(title, losing, cluster.url("storm"), machine_losses(LOSSES), **LONGER_LEASES)


def failovers(plan: Plan) -> Iterator[bool]:
    """Lose the database for good while messages arrive; its standby takes over.

    In one of the storms there are two machines on which no worker is killed, and the database is away for longer than a
    lease lasts.
    """
    arriving = replace(plan, arriving=True)
    late = replace(arriving, machines=2, min_stops=0, max_stops=0)
    kinds: tuple[tuple[str, Plan, float | None, float, dict[str, str]], ...] = (
        ("synchronous standby", arriving, None, 0.0, {}),
        (
            f"synchronous standby after {AWAY_S:g} s, two machines",
            late,
            None,
            AWAY_S,
            LONGER_LEASES,
        ),
        ("asynchronous standby", arriving, 0.0, 0.0, {}),
        (f"asynchronous standby, {BEHIND_S:g} s behind", arriving, BEHIND_S, 0.0, {}),
    )
    for title, losing, delay_s, away_s, variables in kinds:
        with replicated(binaries(), delay_s=delay_s) as pair:
            with closing(pair.primary.connect()) as connection:
                connection.execute("CREATE DATABASE storm")
            title = f"Database lost, {title}, SIGNET_RECORD={plan.record or 'each'}"
            yield run(title, losing, pair.url("storm"), [failover(pair, at=0.3, away_s=away_s)], **variables)


def redis(plan: Plan) -> Iterator[bool]:
    """Kill Redis again and again, and start it empty; it announces the jobs."""
    with tempfile.TemporaryDirectory(prefix="signet-redis-") as folder:
        server = RedisServer(Path(folder))
        try:
            yield run(
                "Redis killed, SQLite",
                replace(plan, record=""),
                "",
                redis_losses(server, LOSSES),
                REDIS_URL=server.url,
            )
        finally:
            server.kill()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ("kills", "machines", "failover", "redis", "terms")
    for kind in kinds:
        parser.add_argument(
            f"--{kind}", action="store_true", help="this storm, and others only if they are named"
        )
    parser.add_argument(
        "--database", choices=("sqlite", "postgresql"), help="kill workers on one database only"
    )
    parser.add_argument(
        "--record", choices=("each", "log"), help="SIGNET_RECORD on PostgreSQL; without it, both"
    )
    parser.add_argument("--short", action="store_true", help="900 messages or more, 6 accounts, 3 to 5 kills")
    parser.add_argument("--messages", type=int, help="number of messages of each long storm")
    parser.add_argument("--late", type=int, metavar="SECONDS", help="servers that answer so late, on SQLite")
    options = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # runs the finally blocks, which end the processes
    if options.late:
        return 0 if run("Late answers, SQLite", late_plan(options.late)) else 1
    plan = SHORT if options.short else replace(LONG, messages=options.messages or LONG.messages)
    plan = replace(plan, record=options.record or "")
    chosen = {kind for kind in kinds if getattr(options, kind)}
    if not chosen:
        chosen = {"kills"} if options.database or options.short else set(kinds)
    results: list[bool] = []
    if "kills" in chosen:
        results += kills(plan, options.database)
    if "machines" in chosen:
        results += machines(plan)
    if "failover" in chosen:
        results += failovers(plan)
    if "redis" in chosen:
        if RedisServer.binary() is None:
            print("\nredis-server is not installed here: no storm with Redis.")
        else:
            results += redis(plan)
    if "terms" in chosen:
        results.append(run("Workers ended by SIGTERM, SQLite", GRACEFUL))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
