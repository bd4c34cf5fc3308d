"""Benchmark of an idle worker: the statements it sends and the processor time it uses while no account has work."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg
from sqlalchemy import select

from benchmarks.harness import cpu_seconds, print_table, run_instance
from portal.clock import utcnow
from portal.db import db
from portal.domains.models import DomainCheck, DomainCheckState, DomainStatus
from portal.settings.models import LoginProbe, SmtpSettings
from tests import databases
from tests.storm.instance import Instance

ACCOUNTS = (200, 10_000)
WARM_UP_S = 20.0  # the first sweeps run jobs that a new instance lacks
_SETTINGS = ("shared_preload_libraries=pg_stat_statements",)
# Without what begins and ends transactions or tests a connection, and without the statements of this benchmark.
_COUNTED = """
SELECT calls, query FROM pg_stat_statements
WHERE query !~* '^(begin|commit|rollback|set |listen|unlisten|select 1$|select \\$1$)' AND query NOT LIKE '%pg_stat_%'
    AND query <> ''
ORDER BY calls DESC
"""
_LINE_CHARS = 110


def measure_idle(seconds: int = 120) -> None:
    """Count the statements of an idle worker on PostgreSQL, with few and many accounts that have live settings and no mail."""
    databases.DURABLE = (*databases.DURABLE, *_SETTINGS)
    for accounts in ACCOUNTS:
        _measure(accounts, seconds)


def _measure(accounts: int, seconds: int) -> None:
    with run_instance("postgresql", [2525]) as instance:
        instance.add_accounts([2525] * accounts)
        _record_checks(instance)
        with closing(psycopg.connect(instance.database_url, autocommit=True)) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            with instance.workers(1) as (worker,):
                time.sleep(WARM_UP_S)
                connection.execute("SELECT pg_stat_statements_reset()")
                before = cpu_seconds(worker.process.pid)
                time.sleep(seconds)
                used = cpu_seconds(worker.process.pid) - before
                found = connection.execute(_COUNTED).fetchall()
    _print(accounts, found, seconds, used)


def _record_checks(instance: Instance) -> None:
    """Record a check of each account's domain and a login probe as done, so that the worker has none to make.

    Without them each account has an incident, because no server answers, and the worker is not idle.
    """
    now = utcnow()
    with instance.app.app_context():
        for version in db.session.scalars(select(SmtpSettings)):
            names = {"account_id": version.account_id, "version_id": version.id, "domain": version.domain}
            done = {"state": DomainCheckState.DONE, "status": DomainStatus.ARRIVES, "checked_at": now}
            db.session.add(DomainCheck(**names, **done, requested_at=now))
            db.session.add(
                LoginProbe(
                    version_id=version.id,
                    account_id=version.account_id,
                    passed_at=now,
                    tried_at=now,
                    next_at=now + timedelta(days=1),
                )
            )
        db.session.commit()


def _print(accounts: int, found: list[Any], seconds: float, used: float) -> None:
    lines = [(query, calls) for calls, query in found[:15]]
    lines.append(("all", sum(calls for calls, _ in found)))
    rows = [(" ".join(query.split())[:_LINE_CHARS], f"{calls / seconds:.2f}") for query, calls in lines]
    title = (
        f"An idle worker on PostgreSQL, {accounts:,} accounts, {100 * used / seconds:.1f} % of a processor"
    )
    print_table(title, ("statement", "in a second"), rows)
