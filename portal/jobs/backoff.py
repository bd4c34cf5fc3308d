"""Backoff: growing delays before another attempt, with jitter so that many accounts do not retry at once."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def delay_after(failures: int, delays_s: Sequence[float]) -> timedelta:
    """Return the delay after the first, second, ... failure in a row; the last one repeats."""
    return timedelta(seconds=delays_s[min(failures, len(delays_s)) - 1])


def with_jitter(delay: timedelta, fraction: float) -> timedelta:
    """Return the delay changed at random by up to ``fraction`` of it either way."""
    return delay * random.uniform(1 - fraction, 1 + fraction)  # noqa: S311 - jitter, not secrecy


def random_delay(longest: timedelta) -> timedelta:
    """Return a random delay of up to ``longest``."""
    return longest * random.random()  # noqa: S311 - jitter, not secrecy
