"""Adaptive batch size: how many messages a drain claims at once, when it needs another connection, and when it yields.

Each batch is assessed by how long its messages took and by how busy this process was at that time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...tuning import Tuning


class BatchSizer:
    """Measures the speed of one connection and derives the size of its next batch from it."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self.size = tuning.batch_first  # of the next batch
        self.is_slow = False  # the server is the bottleneck, so a second connection helps
        self.is_saturated = False  # this process is the bottleneck, so a helper takes time from the others
        self.is_helper = False  # this is a further connection of an account in the same process
        self.yields = False  # the connection is released for other accounts
        self._turn_began_at = time.monotonic()
        self._batch_began_at = self._cpu_began_at = 0.0
        self._tried = 0
        self._help_requested_at: float | None = None

    def begin_batch(self, tried: int) -> bool:
        """Assess the previous batch and begin the next; return whether to request a further connection.

        A connection requests one more from time to time, so they are added one by one, and again after one was released.

        ``tried`` is how many messages the drain has tried so far.
        """
        wants_help = self._assess(tried - self._tried) if self._batch_began_at else False
        self._batch_began_at, self._cpu_began_at = time.monotonic(), time.process_time()
        self._tried = tried
        return wants_help

    def pause(self, tried: int) -> None:
        """End the measurement while there is nothing to send; a fast batch so far makes the next one larger."""
        if self._batch_began_at:
            self._grow(tried - self._tried, *self._measure())
        self._batch_began_at = 0.0

    def resume(self) -> None:
        """Begin a new turn after a pause; the length of the pause does not measure the server."""
        self._turn_began_at = time.monotonic()

    def should_yield(self, others_wait: Callable[[], bool]) -> bool:
        """Whether to release the connection for others.

        A helper yields if this process is saturated; any drain yields after its turn if others wait for a connection.
        """
        if self.is_helper and self.is_saturated:
            self.yields = True
        elif not self.yields and self.held_long_enough():
            self.yields = others_wait()
        return self.yields

    def held_long_enough(self) -> bool:
        """Whether the turn is over; then the next one begins."""
        if time.monotonic() - self._turn_began_at < self._tuning.connection_turn_s:
            return False
        self._turn_began_at = time.monotonic()
        return True

    def _assess(self, sent: int) -> bool:
        tuning = self._tuning
        took_s, cpu_fraction = self._measure()
        self._grow(sent, took_s, cpu_fraction)
        if took_s > self._target_s(cpu_fraction):
            self.size = max(1, self.size // 2)
        self.is_saturated = cpu_fraction > tuning.saturated_cpu_fraction
        self.is_slow = (
            took_s > sent * tuning.second_connection_min_s and cpu_fraction < tuning.busy_cpu_fraction
        )
        if not self.is_slow or self._requested_help_recently():
            return False
        self._help_requested_at = time.monotonic()
        return True

    def _requested_help_recently(self) -> bool:
        at = self._help_requested_at
        return at is not None and time.monotonic() - at < self._tuning.help_interval_s

    def _measure(self) -> tuple[float, float]:
        """Return how long the batch took and how much of one processor this process used, all its threads together."""
        took_s = time.monotonic() - self._batch_began_at
        return took_s, (time.process_time() - self._cpu_began_at) / max(took_s, 0.001)

    def _target_s(self, cpu_fraction: float) -> float:
        """Return how long a batch may take. In a busy process, smaller ones would only add claims to its work."""
        is_busy = cpu_fraction >= self._tuning.busy_cpu_fraction
        return self._tuning.batch_target_s * (self._tuning.batch_busy_factor if is_busy else 1.0)

    def _grow(self, sent: int, took_s: float, cpu_fraction: float) -> None:
        """Enlarge the next batch if so many messages would not take too long at the present speed."""
        tuning = self._tuning
        fitting = int(sent * self._target_s(cpu_fraction) / max(took_s, 0.001))
        if fitting >= 2 * self.size:
            self.size = min(tuning.batch_max, tuning.batch_growth_factor * self.size, fitting)
