"""Leases when a clock is set: a step of the database's clock must not make anybody's claim look forsaken.

Leases are moments of the database's clock. Set forward by an hour, it passes the end of each of them at once; set
back, each ends further ahead than any is given for. Every process knows how much time has truly passed, so it sees a
step, and for as long as a lease lasts it judges by the clock as it was and as it is: within that time whoever lives
has renewed what is its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ...state import current_config, get_state

_STEP = 20.0  # seconds; less than that is no step


@dataclass
class ClockSteps:
    """How far the clock was ahead of the time that passed -> the last time it was found so."""

    seen: dict[int, tuple[float, float]] = field(default_factory=dict)


def bounds(now: datetime) -> tuple[datetime, datetime]:
    """Return when a lease is over: if it ends before the first moment, or after the second.

    One that ends too late was given before the clock was set back.
    """
    lease, passed = current_config().lease, time.monotonic()
    offset = now.timestamp() - passed
    seen = get_state().part(ClockSteps).seen
    seen[round(offset / _STEP)] = (offset, passed)
    for key, (_, at) in list(seen.items()):
        if not 0 <= passed - at < lease:
            seen.pop(key, None)
    offsets = [one for one, _ in list(seen.values())] or [offset]
    over = now - timedelta(seconds=offset - min(offsets))
    never = now + timedelta(seconds=max(offsets) - offset + 2 * lease)
    return over, never
