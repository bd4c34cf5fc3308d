"""The guarantees of incidents, checked by comparing the faults of the mail servers with the incidents of the portal.

The check reads two plain records and no server or table. The emails are checked as after a storm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

# The cause code of the incident for each fault.
CAUSES = {"refused": "credentials", "down": "connection-refused", "busy": "enhanced-system"}
# A fault closes the sessions that are open at its start, which may cause an incident of its own.
CLOSED_SESSION_CAUSES = frozenset({"connection-lost"})


class Guarantee(StrEnum):
    """The guarantees of incidents; each value describes its violation."""

    MISSED = "a fault without an incident"
    REPEATED = "a fault with more than one incident"
    OPENED_EARLY = "an incident that opened before its fault began"
    CLOSED_EARLY = "an incident that closed before its fault ended"
    STILL_OPEN = "an incident that is open although every server works"
    UNEXPLAINED = "an incident without a fault"


@dataclass(frozen=True)
class FaultPeriod:
    """A fault of an account's mail server. Times are Unix timestamps."""

    account: int
    fault: str
    began_at: float
    ended_at: float


@dataclass(frozen=True)
class IncidentRecord:
    """An incident as the portal stores it. Times are Unix timestamps."""

    account: int
    cause: str
    opened_at: float
    closed_at: float | None
    episodes: int = 1


@dataclass(frozen=True)
class Violation:
    guarantee: Guarantee
    detail: str

    def __str__(self) -> str:
        return f"{self.guarantee}: {self.detail}"


def find_violations(periods: Sequence[FaultPeriod], incidents: Sequence[IncidentRecord]) -> list[Violation]:
    return [*_check_faults(periods, incidents), *_check_incidents(periods, incidents)]


def incidents_for(period: FaultPeriod, incidents: Sequence[IncidentRecord]) -> list[IncidentRecord]:
    """Return the account's incidents with the cause of a fault."""
    return [one for one in incidents if one.account == period.account and one.cause == CAUSES[period.fault]]


def _check_faults(periods: Sequence[FaultPeriod], incidents: Sequence[IncidentRecord]) -> Iterator[Violation]:
    for period in periods:
        detail = f"{period.fault} of account {period.account}"
        found = incidents_for(period, incidents)
        if not found:
            yield Violation(Guarantee.MISSED, detail)
        if len(found) > 1:
            yield Violation(Guarantee.REPEATED, f"{detail}: {len(found)}")
        for one in found:
            if one.opened_at < period.began_at:
                yield Violation(
                    Guarantee.OPENED_EARLY, f"{detail}, by {period.began_at - one.opened_at:.2f} s"
                )
            if one.closed_at is not None and one.closed_at < period.ended_at:
                yield Violation(
                    Guarantee.CLOSED_EARLY, f"{detail}, by {period.ended_at - one.closed_at:.2f} s"
                )


def _check_incidents(
    periods: Sequence[FaultPeriod], incidents: Sequence[IncidentRecord]
) -> Iterator[Violation]:
    for one in incidents:
        detail = f"{one.cause} of account {one.account}"
        faults = [period for period in periods if period.account == one.account]
        if one.closed_at is None:
            yield Violation(Guarantee.STILL_OPEN, detail)
        if any(CAUSES[period.fault] == one.cause for period in faults):
            continue
        closed_session = one.cause in CLOSED_SESSION_CAUSES
        if not closed_session or not any(period.began_at <= one.opened_at for period in faults):
            yield Violation(Guarantee.UNEXPLAINED, detail)
