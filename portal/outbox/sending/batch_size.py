"""How a drain gets on: the size of its batches, whether a second connection is of use, and when to make room."""

from __future__ import annotations

import time

_SPELL = (
    5.0  # seconds after which an account with very many leaves its connection to others that wait for one
)
_BATCH = 200  # messages claimed at once at most
_FIRST_BATCH = 4
_GROWTH = 8  # times as large is the next at most, where the server is fast enough
_LONG = 0.5  # seconds a batch may take: with a slow server the next is smaller, or others could do the rest
_BUSY = 0.6  # of a processor's time: this process has enough to do without a second connection
_WORTH_HELP = 0.001  # seconds a message takes at least, for a second connection to be of use


class Pace:
    """Judged batch by batch."""

    def __init__(self) -> None:
        self.size = _FIRST_BATCH  # of the next batch
        self.is_slow = False  # the server takes its time, so that a second connection is of use
        self.is_busy = False  # this process has enough to do
        self._began = time.monotonic()
        self._batch_at = self._worked = 0.0
        self._tried = 0
        self._asked_for_help = False

    def begin_batch(self, tried: int) -> bool:
        """Judge the batch before, and begin another; whether to wish for company now, which happens once.

        ``tried`` is how many messages were tried so far.
        """
        asks = self._judge(tried - self._tried) if self._batch_at else False
        self._batch_at, self._worked, self._tried = time.monotonic(), time.process_time(), tried
        return asks

    def rest(self, tried: int) -> None:
        """Nothing is to be done for a while. What comes then may leave in a larger batch, if this one went fast."""
        if self._batch_at:
            self._grow(tried - self._tried, time.monotonic() - self._batch_at)
        self._batch_at = 0.0

    def go_on(self) -> None:
        """There is something to do again; how long that took says nothing about the server."""
        self._began = time.monotonic()

    def had_a_spell(self) -> bool:
        """Whether the connection was had for long; then another spell begins."""
        if time.monotonic() - self._began < _SPELL:
            return False
        self._began = time.monotonic()
        return True

    def _judge(self, sent: int) -> bool:
        took = time.monotonic() - self._batch_at
        self._grow(sent, took)
        if took > _LONG:
            self.size = max(1, self.size // 2)
        self.is_busy = time.process_time() - self._worked > _BUSY * took
        self.is_slow = took > sent * _WORTH_HELP and not self.is_busy
        if self._asked_for_help or not self.is_slow:
            return False
        self._asked_for_help = True  # one each: whoever comes may ask for the next
        return True

    def _grow(self, sent: int, took: float) -> None:
        """Make the next batch larger, if so many would not take too long at the pace of the last ones."""
        fitting = int(sent * _LONG / max(took, 0.001))
        if fitting >= 2 * self.size:
            self.size = min(_BATCH, _GROWTH * self.size, fitting)
