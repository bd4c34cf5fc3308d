"""The guarantees of the outbox, checked by comparing what the mail servers received with what the tables state.

The check reads two plain records of the same events and no server or table, so that tests can falsify the records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

LAG_S = 0.1  # how far the acceptance log may be ahead of the table, as docs/deployment.md states it


class Guarantee(StrEnum):
    """The guarantees of the outbox; each value describes its violation."""

    LOST = "lost"
    UNSETTLED = "not settled at the end"
    FALSELY_SENT = "marked as sent without a 250"
    FALSELY_FAILED = "marked as failed without a refusal"
    UNMARKED = "a duplicate without an ambiguous attempt"
    OTHER_MESSAGE_ID = "a duplicate with another Message-ID"
    NO_CAUSE = "a duplicate although no worker was killed"
    TOO_MANY = "more than one duplicate for a connection of a killed worker"
    AVOIDABLE = "a duplicate although the acceptance had been recorded"
    BEHIND = "a duplicate of a lost machine whose log was further ahead of the table than permitted"
    ORDER = "overtaken by a later message to the same recipient"
    NOT_ENQUEUED = "accepted, but never enqueued"


@dataclass(frozen=True)
class ReceivedMessage:
    """A message that a mail server received up to the final dot. ``replied_at`` is None when it sent no 250."""

    key: str
    message_id: str
    recipient: str
    connection: int
    worker: str
    received_at: float
    replied_at: float | None


@dataclass(frozen=True)
class ServerLog:
    """The log of the mail servers."""

    received: Sequence[ReceivedMessage]
    refused: frozenset[str] = frozenset()  # recipients that were refused permanently
    closed: Mapping[int, str] = field(default_factory=dict)  # by connection: "eof" or "reset"


@dataclass(frozen=True)
class MessageRow:
    """A message as the tables store it. ``ambiguous_attempts`` counts attempts marked as possibly delivered."""

    id: int
    key: str
    recipient: str
    account: int
    status: str
    message_id: str | None
    ambiguous_attempts: int
    reason: str  # of the last attempt's failure, empty if it did not fail


@dataclass(frozen=True)
class Violation:
    guarantee: Guarantee
    detail: str

    def __str__(self) -> str:
        return f"{self.guarantee}: {self.detail}"


@dataclass(frozen=True)
class Undone:
    """What a failover to a server that lagged behind has undone: commits since the last one that it had.

    A commit that had returned by that time is not undone. The claim of what was in progress at the loss may be: that is the
    first message of a connection after the loss.
    """

    since: float  # the time of the last commit, by the lost server's clock
    lost_at: float
    until: float  # no claim of before the loss is in use any more


@dataclass(frozen=True)
class RunRecord:
    """The input of a check. ``kills`` is the time of each kill by the worker's name.

    ``lost_logs`` names the killed workers whose acceptance log was lost with their machine while it alone held the last
    acceptances (SIGNET_RECORD=log).
    """

    enqueued: Sequence[str]  # keys
    rows: Sequence[MessageRow]
    log: ServerLog
    kills: Mapping[str, float]
    lost_logs: frozenset[str] = frozenset()
    undone: Undone | None = None
    enqueued_at: Mapping[str, float] = field(default_factory=dict)  # by key: when the commit had returned

    @cached_property
    def by_key(self) -> dict[str, list[ReceivedMessage]]:
        """The received messages by key, in the order of arrival."""
        found: dict[str, list[ReceivedMessage]] = defaultdict(list)
        for one in sorted(self.log.received, key=lambda one: one.received_at):
            found[one.key].append(one)
        return found

    @cached_property
    def repeated(self) -> list[ReceivedMessage]:
        """Every received message that was received once more later."""
        return [one for received in self.by_key.values() for one in received[:-1]]

    @cached_property
    def by_connection(self) -> dict[int, list[ReceivedMessage]]:
        """The received messages by connection, in the order of arrival."""
        found: dict[int, list[ReceivedMessage]] = defaultdict(list)
        for one in sorted(self.log.received, key=lambda one: one.received_at):
            found[one.connection].append(one)
        return found

    def confirmed_at(self, key: str) -> float | None:
        """Return the time of the first 250 for a message, or None without one."""
        return min((one.replied_at for one in self.by_key.get(key, ()) if one.replied_at), default=None)

    def worker_was_killed(self, one: ReceivedMessage) -> bool:
        return one.worker.partition(".")[0] in self.kills

    def log_was_lost(self, one: ReceivedMessage) -> bool:
        return one.worker.partition(".")[0] in self.lost_logs

    def was_undone(self, one: ReceivedMessage) -> bool:
        """Return whether the record of a message may have been undone by a failover.

        It was not, if a later message on the same connection had arrived by then: see ``was_recorded``.
        """
        if self.undone is None:
            return False
        if one.received_at <= self.undone.lost_at:
            return not self._is_followed(one, self.undone.since)
        others = self.by_connection[one.connection]
        first = next(other for other in others if other.received_at > self.undone.lost_at)
        return one is first and one.received_at <= self.undone.until

    def was_lost_before_it_was_copied(self, key: str) -> bool:
        """Return whether a failover may have undone that a message was enqueued."""
        return self.undone is not None and self.enqueued_at.get(key, 0.0) > self.undone.since

    def reply_was_read(self, one: ReceivedMessage) -> bool:
        """Return whether the killed worker had read the 250.

        A 250 that was sent after the kill was not read, even if the connection was closed normally.
        """
        killed_at = self.kills.get(one.worker.partition(".")[0])
        if killed_at is None or one.replied_at is None or one.replied_at >= killed_at:
            return False
        return self.log.closed.get(one.connection) == "eof"

    def was_recorded(self, one: ReceivedMessage) -> bool:
        """Return whether the worker must have recorded the acceptance of a message.

        A worker sends a message over a connection after it has recorded the acceptance before it. A later message on
        the same connection therefore proves the record, however slow the machine is.
        """
        return self._is_followed(one, float("inf"))

    def _is_followed(self, one: ReceivedMessage, until: float) -> bool:
        """Return whether a later message on the same connection had arrived at a time."""
        return any(
            one.received_at < other.received_at <= until for other in self.by_connection[one.connection]
        )


def find_violations(record: RunRecord) -> list[Violation]:
    return [violation for check in _CHECKS for violation in check(record)]


def _check_settled(record: RunRecord) -> Iterator[Violation]:
    keys = {row.key for row in record.rows}
    for key in record.enqueued:
        if key not in keys and not record.was_lost_before_it_was_copied(key):
            yield Violation(Guarantee.LOST, f"{key} is in no table")
    for row in record.rows:
        if row.status in ("queued", "sending", "held"):
            yield Violation(Guarantee.UNSETTLED, f"{row.key} is {row.status}")
        elif row.status not in ("sent", "failed"):
            yield Violation(Guarantee.LOST, f"{row.key} is {row.status}")


def _check_statuses(record: RunRecord) -> Iterator[Violation]:
    for row in record.rows:
        if row.status == "sent" and record.confirmed_at(row.key) is None:
            yield Violation(Guarantee.FALSELY_SENT, row.key)
        if row.status == "failed" and (not row.reason or row.recipient not in record.log.refused):
            yield Violation(Guarantee.FALSELY_FAILED, f"{row.key}, {row.reason or 'without a reason'}")


def _check_enqueued(record: RunRecord) -> Iterator[Violation]:
    for key in record.by_key.keys() - set(record.enqueued):
        yield Violation(Guarantee.NOT_ENQUEUED, key or "a message without a key")


def _check_duplicates(record: RunRecord) -> Iterator[Violation]:
    rows = {row.key: row for row in record.rows}
    for key, received in record.by_key.items():
        row = rows.get(key)
        if row is None:
            continue
        undone = sum(record.was_undone(one) for one in received[:-1])
        if len(received) - 1 - undone > row.ambiguous_attempts:
            detail = (
                f"{key} was received {len(received)} times, {row.ambiguous_attempts} attempts are ambiguous"
            )
            yield Violation(Guarantee.UNMARKED, detail)
        if not undone and any(one.message_id != received[0].message_id for one in received):
            ids = " ".join(one.message_id for one in received)
            yield Violation(Guarantee.OTHER_MESSAGE_ID, f"{key}: {ids}")


def _check_causes(record: RunRecord) -> Iterator[Violation]:
    """Check the duplicates of confirmed messages.

    A message without a 250 may be sent again, so it is not counted here.
    """
    by_connection: dict[int, list[ReceivedMessage]] = defaultdict(list)
    for one in sorted(record.repeated, key=lambda one: one.received_at):
        if one.replied_at and not record.was_undone(one):
            by_connection[one.connection].append(one)
    for connection, repeated in by_connection.items():
        if record.log_was_lost(repeated[0]):
            yield from _check_lag(record, repeated)
            continue
        for one in repeated:
            detail = f"{one.key} by {one.worker} over connection {connection}"
            if not record.worker_was_killed(one):
                yield Violation(Guarantee.NO_CAUSE, detail)
            elif record.was_recorded(one):
                yield Violation(Guarantee.AVOIDABLE, detail)
        if len(repeated) > 1:
            yield Violation(Guarantee.TOO_MANY, f"{len(repeated)} duplicates of connection {connection}")


def _check_lag(record: RunRecord, repeated: Sequence[ReceivedMessage]) -> Iterator[Violation]:
    """Check the duplicates of one connection whose worker's acceptance log was lost.

    The table is written before the next body if that is due when an acceptance is read. So between the last record and the
    last acceptance before the last body, at most the permitted time has passed, however slow the machine is. All duplicates
    but the first, which may have been in progress during that record, arrived after it.
    """
    before = [one.replied_at for one in record.by_connection[repeated[0].connection][:-1] if one.replied_at]
    for one in repeated[1:2]:
        if before and max(before) - one.received_at > LAG_S:
            late = f"{max(before) - one.received_at:.3f} s"
            yield Violation(Guarantee.BEHIND, f"{one.key} by {one.worker}, {late} before the last acceptance")


def _check_order(record: RunRecord) -> Iterator[Violation]:
    """Check that a message waits until the one before to the same recipient is confirmed or has failed."""
    queues: dict[tuple[int, str], list[MessageRow]] = defaultdict(list)
    for row in sorted(record.rows, key=lambda row: row.id):
        if record.confirmed_at(row.key) is not None:
            queues[row.account, row.recipient].append(row)
    for queue in queues.values():
        for earlier, later in pairwise(queue):
            if record.by_key[later.key][0].received_at < (record.confirmed_at(earlier.key) or 0):
                yield Violation(Guarantee.ORDER, f"{earlier.key} by {later.key}, to {earlier.recipient}")


_CHECKS = (_check_settled, _check_statuses, _check_enqueued, _check_duplicates, _check_causes, _check_order)
