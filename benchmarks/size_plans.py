"""The plans of PostgreSQL as it runs them, from auto_explain, and how many blocks they touch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import event

from portal.db import db

_SETTINGS = {
    "session_preload_libraries": "'auto_explain'",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_level": "'notice'",
    "auto_explain.log_timing": "off",
    "auto_explain.log_triggers": "on",
}
_BUFFERS = re.compile(r"^\s*Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?", re.MULTILINE)
_PLAN_CHARS = 6000
RUNS = 12  # the driver prepares a statement at its sixth run; the server may choose its plan for any values five runs later


@contextmanager
def explaining(connect: Callable[[], psycopg.Connection[Any]], name: str) -> Iterator[list[str]]:
    """Make new connections of the app's engines report each plan; yield the list to which the plans are added."""
    plans: list[str] = []

    def connected(driver: Any, _record: object) -> None:
        driver.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))

    _set(connect, name, _SETTINGS)
    engines = list(db.engines.values())
    for engine in engines:
        engine.dispose()
        event.listen(engine, "connect", connected)
    try:
        yield plans
    finally:
        _set(connect, name, dict.fromkeys(_SETTINGS))
        for engine in engines:
            event.remove(engine, "connect", connected)
            engine.dispose()


def blocks(plans: list[str]) -> int:
    """Return how many blocks the statements touched, in memory or not: the root of a plan counts what is below it."""
    found = map(_BUFFERS.search, plans)
    return sum(int(one[1] or 0) + int(one[2] or 0) for one in found if one)


def text_of(name: str, plans: list[str]) -> str:
    """Return the plans of one measurement as text."""
    listed = "\n".join(f"{plan[:_PLAN_CHARS]}\n" for plan in plans)
    return f"== {name}: {blocks(plans)} blocks\n\n{listed}\n"


def _set(connect: Callable[[], psycopg.Connection[Any]], name: str, values: dict[str, str | None]) -> None:
    with connect() as connection:
        for setting, value in values.items():
            change = f"RESET {setting}" if value is None else f"SET {setting} = {value}"
            connection.execute(f"ALTER DATABASE {name} {change}")
    connection.close()
