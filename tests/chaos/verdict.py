"""The verdict on incidents: the faults that were played, beside what the portal says was wrong.

It knows neither servers nor tables, only two plain records. What became of the emails is judged as after a storm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

# What the portal calls each fault.
CAUSES = {"refused": "credentials", "down": "connection-refused", "busy": "enhanced-system"}
# A conversation that was open when its server broke ends in the middle; that may be an incident of its own.
CUT_OFF = frozenset({"connection-lost"})


class Promise(StrEnum):
    """What incidents promise, in the words of its breach."""

    MISSED = "a fault without its incident"
    TWICE = "a fault with more than one incident"
    TOO_SOON = "an incident older than its fault"
    CLOSED_EARLY = "an incident that ended before its fault did"
    STILL_OPEN = "an incident that is open although all works"
    UNEXPLAINED = "an incident without any fault"


@dataclass(frozen=True)
class Phase:
    """A fault an account's server played, from when to when."""

    account: int
    fault: str
    began: float
    ended: float


@dataclass(frozen=True)
class Told:
    """An incident as the portal tells it."""

    account: int
    cause: str
    opened: float
    closed: float | None
    episodes: int = 1


@dataclass(frozen=True)
class Breach:
    promise: Promise
    what: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}"


def judge(phases: Sequence[Phase], told: Sequence[Told]) -> list[Breach]:
    """Return every broken promise about incidents."""
    return [*_faults(phases, told), *_incidents(phases, told)]


def of_phase(phase: Phase, told: Sequence[Told]) -> list[Told]:
    """The incidents of an account that bear the name of a fault."""
    return [one for one in told if one.account == phase.account and one.cause == CAUSES[phase.fault]]


def _faults(phases: Sequence[Phase], told: Sequence[Told]) -> Iterator[Breach]:
    for phase in phases:
        what = f"{phase.fault} of account {phase.account}"
        found = of_phase(phase, told)
        if not found:
            yield Breach(Promise.MISSED, what)
        if len(found) > 1:
            yield Breach(Promise.TWICE, f"{what}: {len(found)}")
        for one in found:
            if one.opened < phase.began:
                yield Breach(Promise.TOO_SOON, f"{what}, by {phase.began - one.opened:.2f} s")
            if one.closed is not None and one.closed < phase.ended:
                yield Breach(Promise.CLOSED_EARLY, f"{what}, by {phase.ended - one.closed:.2f} s")


def _incidents(phases: Sequence[Phase], told: Sequence[Told]) -> Iterator[Breach]:
    for one in told:
        what = f"{one.cause} of account {one.account}"
        mine = [phase for phase in phases if phase.account == one.account]
        if one.closed is None:
            yield Breach(Promise.STILL_OPEN, what)
        if any(CAUSES[phase.fault] == one.cause for phase in mine):
            continue
        if one.cause not in CUT_OFF or not any(phase.began <= one.opened for phase in mine):
            yield Breach(Promise.UNEXPLAINED, what)
