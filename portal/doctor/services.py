"""What runs beside the portal: the worker, the clock, and the proxy in front. Needs the database, not the network."""

from __future__ import annotations

import ctypes
from datetime import timedelta
from typing import TYPE_CHECKING

from ..db import db, read_only
from ..db.transaction import db_now
from ..jobs import heartbeat
from ..state import current_config
from ..web import forwarded
from .findings import DoctorFinding, error, not_tried, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..config import Config

_CLOCKS_AGREE = timedelta(seconds=5)
_FORWARDED_RECENTLY = timedelta(days=1)
_TIMEX_BYTES = 512  # more than struct timex, whose size depends on the platform
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


def check(now: datetime) -> Iterator[DoctorFinding]:
    """Yield the findings. Needs an app context and a database with all tables."""
    yield check_worker(now)
    yield check_database_clock(now)
    yield check_time_service()
    yield check_proxies(current_config(), now)


def check_worker(now: datetime) -> DoctorFinding:
    """Check that a worker had a heartbeat within the last minute."""
    with read_only():
        workers = [one.name for one in heartbeat.live_workers(now)]
        db.session.rollback()
    if not workers:
        return error(
            "worker",
            "No worker had a heartbeat within the last minute, so no email leaves.",
            "Start one: flask worker, or systemctl enable --now signet-worker@1",
        )
    return ok("worker", f"Running: {', '.join(workers)}.", workers=workers)


def check_database_clock(now: datetime) -> DoctorFinding:
    """Compare this machine's clock with that of the database, which may be another machine."""
    with read_only():
        apart = abs(db_now() - now)
        db.session.rollback()
    seconds = round(apart.total_seconds())
    if apart > _CLOCKS_AGREE:
        return warning(
            "database-clock",
            f"The clocks of this machine and of the database differ by {seconds} seconds.",
            "Set both by a time service: timedatectl set-ntp true",
            seconds=seconds,
        )
    return ok("database-clock", "The clocks of this machine and of the database agree.", seconds=seconds)


def check_time_service() -> DoctorFinding:
    """Report whether a time service (NTP) keeps this machine's clock, by the kernel's own record."""
    state = _is_clock_synchronised()
    if state is None:
        return not_tried(
            "time-service", "The system does not report whether a time service sets the clock (adjtimex)."
        )
    if not state:
        return warning(
            "time-service",
            "No time service keeps this machine's clock; links then end early or late.",
            "Switch one on: timedatectl set-ntp true, or install chrony.",
        )
    return ok("time-service", "A time service keeps this machine's clock.")


def _is_clock_synchronised() -> bool | None:
    """Return the kernel's answer, None if there is none. Reading needs no privilege (adjtimex(2) with modes 0)."""
    try:
        answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (AttributeError, OSError):
        return None
    return None if answer < 0 else answer != _TIME_ERROR


def check_proxies(config: Config, now: datetime) -> DoctorFinding:
    """Report requests that arrived with the headers of a proxy that is not counted."""
    count = config.trusted_proxies
    if count:
        return ok("proxies", f"Client addresses are those that {count} trusted {_proxies(count)} report.")
    seen = forwarded.last_seen(config)
    if seen is not None and now - seen < _FORWARDED_RECENTLY:
        return warning(
            "proxies",
            "Requests arrive with X-Forwarded-For while SIGNET_TRUSTED_PROXIES is 0, so all visitors behind the proxy share "
            "one address and its limits.",
            "Set SIGNET_TRUSTED_PROXIES to the number of your proxies (usually 1) and restart; if you have none, some "
            "client sends the header by itself.",
            last_seen=seen.isoformat(),
        )
    return ok("proxies", "No request arrived through a proxy within the last day.")


def _proxies(count: int) -> str:
    return "proxy" if count == 1 else "proxies"
