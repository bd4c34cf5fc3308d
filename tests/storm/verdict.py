"""The verdict of a storm: what the mail servers were given, beside what the tables say.

It knows neither of them, only two plain records of the same events, and names every promise that was broken.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

# Seconds a worker may need from reading a reply to having taken it down: a thread that other threads, and a
# machine with much else to do, keep waiting.
AT_HAND = 0.25


class Promise(StrEnum):
    """What the outbox promises, in the words of its breach."""

    LOST = "lost"
    STUCK = "not settled at the end"
    FALSELY_SENT = "called sent, yet no server said so"
    FALSELY_FAILED = "called failed without a refusal"
    UNFLAGGED = "a twin that no attempt admits"
    OTHER_MESSAGE_ID = "a twin with another Message-ID"
    NO_CAUSE = "a twin although nobody was killed"
    TOO_MANY = "more than one twin for a connection of a killed worker"
    AVOIDABLE = "a twin although the 250 had been read and could have been taken down"
    ORDER = "overtaken by a later message to the same recipient"
    UNOWED = "accepted, but never owed"


@dataclass(frozen=True)
class Taken:
    """A body that a mail server took. ``replied`` is when its 250 left, None when it never did."""

    key: str
    message_id: str
    recipient: str
    connection: int
    worker: str
    taken: float
    replied: float | None


@dataclass(frozen=True)
class Log:
    """What the mail servers saw."""

    taken: Sequence[Taken]
    refused: frozenset[str] = frozenset()  # recipients that were refused for good
    ended: Mapping[int, str] = field(default_factory=dict)  # connection: "eof" or "reset"


@dataclass(frozen=True)
class Row:
    """A message as the tables have it. ``admitted`` counts attempts flagged as possibly delivered."""

    id: int
    key: str
    recipient: str
    account: int
    status: str
    message_id: str | None
    admitted: int
    reason: str  # why the last attempt failed, empty if it did not


@dataclass(frozen=True)
class Breach:
    promise: Promise
    what: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}"


@dataclass(frozen=True)
class Storm:
    """Everything a verdict is made from. ``kills`` says when each killed worker died, by its name."""

    owed: Sequence[str]  # the keys
    rows: Sequence[Row]
    log: Log
    kills: Mapping[str, float]

    @cached_property
    def by_key(self) -> dict[str, list[Taken]]:
        """What was taken, by message, in the order in which it came."""
        found: dict[str, list[Taken]] = defaultdict(list)
        for one in sorted(self.log.taken, key=lambda one: one.taken):
            found[one.key].append(one)
        return found

    @cached_property
    def repeated(self) -> list[Taken]:
        """Acceptances after which the same message came again."""
        return [one for taken in self.by_key.values() for one in taken[:-1]]

    def confirmed(self, key: str) -> float | None:
        """When a server first said that it has the message, or None if it never did."""
        return min((one.replied for one in self.by_key.get(key, ()) if one.replied), default=None)

    def was_killed(self, one: Taken) -> bool:
        return one.worker.partition(".")[0] in self.kills

    def was_read(self, one: Taken, *, before: float = 0.0) -> bool:
        """Whether the worker had read the 250, sent so long before it was killed.

        What reached it dead was not read, however orderly its connection had ended.
        """
        killed = self.kills.get(one.worker.partition(".")[0])
        if killed is None or one.replied is None or one.replied >= killed - before:
            return False
        return self.log.ended.get(one.connection) == "eof"


def judge(storm: Storm) -> list[Breach]:
    """Return every broken promise."""
    return [breach for rule in _RULES for breach in rule(storm)]


def _settled(storm: Storm) -> Iterator[Breach]:
    there = {row.key for row in storm.rows}
    for key in storm.owed:
        if key not in there:
            yield Breach(Promise.LOST, f"{key} is in no table any more")
    for row in storm.rows:
        if row.status in ("queued", "sending", "held"):
            yield Breach(Promise.STUCK, f"{row.key} is {row.status}")
        elif row.status not in ("sent", "failed"):
            yield Breach(Promise.LOST, f"{row.key} is {row.status}")


def _truthful(storm: Storm) -> Iterator[Breach]:
    for row in storm.rows:
        if row.status == "sent" and storm.confirmed(row.key) is None:
            yield Breach(Promise.FALSELY_SENT, row.key)
        if row.status == "failed" and (not row.reason or row.recipient not in storm.log.refused):
            yield Breach(Promise.FALSELY_FAILED, f"{row.key}, {row.reason or 'without any reason'}")


def _owed(storm: Storm) -> Iterator[Breach]:
    for key in storm.by_key.keys() - set(storm.owed):
        yield Breach(Promise.UNOWED, key or "a message without a key")


def _twins(storm: Storm) -> Iterator[Breach]:
    rows = {row.key: row for row in storm.rows}
    for key, taken in storm.by_key.items():
        row = rows.get(key)
        if row is None:
            continue
        if len(taken) - 1 > row.admitted:
            what = f"{key} was taken {len(taken)} times, and {row.admitted} attempts are flagged"
            yield Breach(Promise.UNFLAGGED, what)
        if any(one.message_id != taken[0].message_id for one in taken):
            yield Breach(Promise.OTHER_MESSAGE_ID, f"{key}: {' '.join(one.message_id for one in taken)}")


def _within_bounds(storm: Storm) -> Iterator[Breach]:
    """A server that said nothing after the final dot may get its message again: it is not counted here."""
    repeated = [one for one in storm.repeated if one.replied]
    for one in repeated:
        if not storm.was_killed(one):
            yield Breach(Promise.NO_CAUSE, f"{one.key} by {one.worker} over connection {one.connection}")
        elif storm.was_read(one, before=AT_HAND):
            yield Breach(Promise.AVOIDABLE, f"{one.key} by {one.worker} over connection {one.connection}")
    for connection, count in Counter(one.connection for one in repeated).items():
        if count > 1:
            yield Breach(Promise.TOO_MANY, f"{count} twins of connection {connection}")


def _in_order(storm: Storm) -> Iterator[Breach]:
    """A message waits while an earlier one to its recipient is owed still: until that was confirmed, or given up."""
    lines: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in sorted(storm.rows, key=lambda row: row.id):
        if storm.confirmed(row.key) is not None:
            lines[row.account, row.recipient].append(row)
    for line in lines.values():
        for earlier, later in pairwise(line):
            if storm.by_key[later.key][0].taken < (storm.confirmed(earlier.key) or 0):
                yield Breach(Promise.ORDER, f"{earlier.key} by {later.key}, to {earlier.recipient}")


_RULES = (_settled, _truthful, _owed, _twins, _within_bounds, _in_order)
