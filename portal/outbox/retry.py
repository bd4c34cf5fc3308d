"""The retry policy: whether and when a failed attempt is repeated.

The diagnosis decides what a failure means, so that pages and outbox agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ..jobs import backoff
from ..smtp.diagnosis.diagnose import Diagnosis, RetryClass
from ..state import current_config
from .models import Outcome


@dataclass(frozen=True)
class RetryDecision:
    """``pause`` stops the account's whole queue for a time; ``hold`` stops it until its settings are fixed."""

    outcome: Outcome
    retry_at: datetime | None = None
    pause: bool = False
    hold: bool = False


def decide(
    diagnosis: Diagnosis, *, attempts: int, since: datetime, now: datetime, ambiguous: bool = False
) -> RetryDecision:
    """Return what follows a failed attempt.

    ``attempts`` is the number of counted attempts, including this one. ``since`` is the start of the first counted
    attempt: time on hold does not count towards the 48-hour limit. ``ambiguous``: the server may have the message.
    """
    retry_class = diagnosis.retry_class
    if retry_class is RetryClass.SETTINGS:
        return RetryDecision(Outcome.HELD, hold=True)
    if retry_class in (RetryClass.RECIPIENT, RetryClass.MESSAGE):
        return RetryDecision(Outcome.REJECTED)
    at_least_s = current_config().tuning.retry_ambiguous_min_s if ambiguous else 0
    retry_at = now + delay(attempts, at_least_s=at_least_s)
    if retry_at > since + give_up_after():
        return RetryDecision(Outcome.REJECTED)
    pause = retry_class in (RetryClass.SERVER, RetryClass.RATE)
    return RetryDecision(Outcome.DEFERRED, retry_at, pause=pause)


def delay(attempts: int, *, at_least_s: float = 0) -> timedelta:
    """Return the backoff delay after so many attempts, with jitter, so that messages do not all retry at once."""
    config = current_config()
    base = max(backoff.delay_after(attempts, config.tuning.retry_delays_s), timedelta(seconds=at_least_s))
    return backoff.with_jitter(base, config.tuning.retry_jitter_fraction) * config.retry_pace


def give_up_after() -> timedelta:
    """Return how long after the first counted attempt the last one may be made."""
    return timedelta(seconds=current_config().tuning.retry_give_up_after_s)
