"""What becomes of a message after a failed attempt: again when, or never.

The diagnosis has judged what the failure means, so that the page and the outbox can never disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ..jobs import backoff
from ..smtp.diagnosis.diagnose import Diagnosis, RetryClass
from ..state import current_config
from .models import Outcome

GIVE_UP_AFTER = timedelta(hours=48)
_DELAYS_S = (60, 300, 900, 1800, 3600, 7200, 14400)  # before the 2nd, 3rd ... attempt; then the last
_JITTER = 0.2  # of a delay, so that a crowd does not come back at once
_AMBIGUOUS = 900  # seconds at least, when the server may already hold the message


@dataclass(frozen=True)
class Decision:
    """``pause`` stops the account's whole queue until ``again_at``; ``hold`` stops it until it is mended."""

    outcome: Outcome
    again_at: datetime | None = None
    pause: bool = False
    hold: bool = False


def decide(
    diagnosis: Diagnosis, *, attempts: int, since: datetime, now: datetime, ambiguous: bool = False
) -> Decision:
    """Judge one failed attempt, the ``attempts``-th that counts. ``since`` is when the first of them began:

    what a message spent waiting for settings to be mended is not held against it.
    """
    kind = diagnosis.retry_class
    if kind is RetryClass.SETTINGS:
        return Decision(Outcome.HELD, hold=True)
    if kind in (RetryClass.RECIPIENT, RetryClass.MESSAGE):
        return Decision(Outcome.REJECTED)
    again_at = now + delay(attempts, at_least=_AMBIGUOUS if ambiguous else 0)
    if again_at > since + GIVE_UP_AFTER:
        return Decision(Outcome.REJECTED)
    return Decision(Outcome.DEFERRED, again_at, pause=kind in (RetryClass.SERVER, RetryClass.RATE))


def delay(attempts: int, at_least: int = 0) -> timedelta:
    """Return a growing delay, spread by a fifth either way so that a crowd does not come back at once."""
    base = max(backoff.delay_after(attempts, _DELAYS_S), timedelta(seconds=at_least))
    return backoff.with_jitter(base, _JITTER) * current_config().retry_pace
