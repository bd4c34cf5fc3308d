"""The workers with what they do now, and the refused rows of the job store, for the operator's page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..db import db, read_only
from ..jobs import heartbeat, refusals
from ..jobs.models import RefusedRow
from ..outbox import overview
from ..web.pagination import Page, newest_first

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..jobs.models import WorkerHeartbeat


@dataclass(frozen=True)
class WorkersReport:
    """Heartbeats, the last first; what is being sent; and one page of refused rows."""

    workers: Sequence[WorkerHeartbeat]
    missing_before: datetime  # a worker that was seen earlier is missing
    sending: int  # emails
    connections: int
    refused: Page[RefusedRow]
    refused_within_a_day: int


def build(*, before: int | None, after: int | None, now: datetime) -> WorkersReport:
    """Read everything in one read-only transaction, which has ended on return."""
    with read_only():
        report = WorkersReport(
            heartbeat.recent_workers(),
            now - heartbeat.missing_after(),
            overview.count_sending(),
            overview.count_connections(now),
            newest_first(refusals.listed(), RefusedRow.id, before=before, after=after),
            refusals.count(now),
        )
        db.session.expunge_all()
        db.session.rollback()
    return report
