"""Prometheus metrics, read from the tables, so that every process returns the same values.

Label values come from fixed lists (states, outcomes, stages, providers of the catalogue), never from user input. The worker's
rollup has summed up the older attempts, so a scrape counts only those since the last rollup.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from ..bounces.meaning import RANKS
from ..bounces.models import BounceEvent, BounceHook, OutcomeHour
from ..db import db, read_only
from ..deliveries import rollup
from ..deliveries.models import AttemptTotal, RollupCursor
from ..deliveries.stats import ATTEMPTS, NO_STEP, STEPS_S
from ..jobs import heartbeat, refusals
from ..outbox.models import OutboxMessage, Outcome, Queue, Status
from ..smtp.failure import Stage
from ..state import get_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONTENT_TYPE = CONTENT_TYPE_LATEST
_CACHE_LIFETIME = timedelta(seconds=5)
_UNSETTLED = (Status.QUEUED, Status.SENDING, Status.HELD)
_STAGES = {stage.value for stage in Stage}
_lock = Lock()


@dataclass
class MetricsCache:
    """The last response, so that several scrapers read the tables once."""

    read_at: datetime | None = None
    text: bytes = b""


def render(now: datetime) -> bytes:
    """Return the metrics in Prometheus' text format, at most a few seconds old."""
    with _lock:
        cache = get_state().part(MetricsCache)
        if cache.read_at is None or not timedelta(0) <= now - cache.read_at < _CACHE_LIFETIME:
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_DatabaseCollector(now))
            cache.read_at, cache.text = now, generate_latest(registry)
        return cache.text


class _DatabaseCollector(Collector):
    """Reads all metrics in one short transaction."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def describe(self) -> Iterable[Metric]:
        return ()  # so that registering does not query the database

    def collect(self) -> Iterator[Metric]:
        with read_only():
            found = [
                *_queue_metrics(self.now),
                *_attempt_metrics(),
                *_outcome_metrics(self.now),
                _worker_metric(self.now),
                _refused_metric(self.now),
            ]
            db.session.rollback()
        yield from found


def _queue_metrics(now: datetime) -> Iterator[Metric]:
    depth = GaugeMetricFamily("signet_queue_depth", "Emails in the queue, by state.", labels=["state"])
    row = OutboxMessage
    counted = select(row.status, func.count(), func.min(row.created_at)).where(row.status.in_(_UNSETTLED))
    found = {
        status: (number, first) for status, number, first in db.session.execute(counted.group_by(row.status))
    }
    for status in _UNSETTLED:
        depth.add_metric([status.value], found.get(status, (0, None))[0])
    yield depth
    oldest = min((first for _, first in found.values() if first is not None), default=now)
    yield GaugeMetricFamily(
        "signet_oldest_waiting_seconds",
        "How long the oldest email in the queue has waited.",
        value=max((now - oldest).total_seconds(), 0.0),
    )
    held = db.session.scalar(select(func.count()).select_from(Queue).where(Queue.held_at.is_not(None))) or 0
    yield GaugeMetricFamily("signet_queues_held", "Accounts whose queue is on hold.", value=held)


def _attempt_metrics() -> Iterator[Metric]:
    total = CounterMetricFamily(
        "signet_attempts", "Attempts that ended.", labels=["provider", "outcome", "stage"]
    )
    counts: Counter[tuple[str, str, str]] = Counter()
    steps: dict[str, Counter[int]] = {}
    seconds: Counter[str] = Counter()
    for provider, outcome, stage, step, count, spent in _attempt_counts():
        counts[provider, outcome, stage if stage in _STAGES else ""] += count
        if outcome == Outcome.ACCEPTED and step != NO_STEP:
            steps.setdefault(provider, Counter())[step] += count
            seconds[provider] += spent  # type: ignore[assignment]
    for labels, count in sorted(counts.items()):
        total.add_metric(list(labels), count)
    yield total
    took = HistogramMetricFamily(
        "signet_acceptance_seconds",
        "From the event to acceptance by the submission server.",
        labels=["provider"],
    )
    for provider, here in sorted(steps.items()):
        took.add_metric([provider], _buckets(here), seconds[provider])
    yield took


def _outcome_metrics(now: datetime) -> Iterator[Metric]:
    """Yield gauges: an outcome may change from delivered to complaint, so its number may fall."""
    found = GaugeMetricFamily(
        "signet_message_outcomes",
        "Emails of the last 24 hours by what was reported after their acceptance.",
        labels=["outcome"],
    )
    query = select(OutcomeHour.meaning, func.sum(OutcomeHour.count)).where(
        OutcomeHour.hour > now - timedelta(hours=24)
    )
    counts = {
        meaning: int(count) for meaning, count in db.session.execute(query.group_by(OutcomeHour.meaning))
    }
    for meaning in RANKS:
        found.add_metric([meaning.value], counts.get(meaning, 0))
    yield found
    waiting = select(func.count()).where(BounceEvent.next_at.is_not(None))
    yield GaugeMetricFamily(
        "signet_bounce_events_waiting",
        "Events of providers that are not assigned to a message yet.",
        value=db.session.scalar(waiting) or 0,
    )
    yield GaugeMetricFamily(
        "signet_hook_calls_refused",
        "Calls to the hooks of providers with a wrong signature.",
        value=int(db.session.scalar(select(func.sum(BounceHook.refused))) or 0),
    )


def _attempt_counts() -> Iterator[tuple[str, str, str, int, int, float]]:
    mark = db.session.get(RollupCursor, ATTEMPTS)
    for row in db.session.scalars(select(AttemptTotal)):
        yield row.provider, row.outcome, row.stage, row.step, row.count, row.seconds
    for one in rollup.count_attempts(mark.until if mark else None, None):
        yield one["provider"], one["outcome"], one["stage"], one["step"], one["count"], one["seconds"]


def _buckets(counts: Counter[int]) -> list[tuple[str, float]]:
    found, seen = [], 0
    for step, bound in enumerate(STEPS_S):
        seen += counts[step]
        found.append((str(float(bound)), float(seen)))
    return [*found, ("+Inf", float(seen + counts[len(STEPS_S)]))]


def _worker_metric(now: datetime) -> Metric:
    alive = len(heartbeat.live_workers(now))
    return GaugeMetricFamily("signet_workers", "Workers seen within the last minute.", value=alive)


def _refused_metric(now: datetime) -> Metric:
    return GaugeMetricFamily(
        "signet_jobs_refused",
        "Rows of the job queues that were refused within the last day.",
        value=refusals.count(now),
    )
