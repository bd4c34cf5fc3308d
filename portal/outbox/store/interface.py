"""What the sending side needs of the database: the one interface between drains and the tables.

``get_store`` returns the implementation for the database in use. Another one may implement any operation in its own way
as long as it keeps the contract stated here. Only operations marked "Commits." commit; the drain's transactions do so
otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ...smtp.protocol.envelope import Acceptance
    from ...smtp.providers import Provider
    from ..models import Queue, Status
    from ..routing import Route
    from .types import Claim


class Store(Protocol):
    """Claims, leases, attempts and settlement. ``account_id`` is SYSTEM for the portal's own mail."""

    # Whether the acceptance log alone may hold the start and the acceptance of a message for a moment. It may where
    # a worker that takes over reads it, or finds that it cannot and counts the message as possibly delivered.
    log_suffices: bool
    has_one_statement: bool  # whether ``settle_and_start`` may be called

    # -- before a drain

    def is_healthy(self, account_id: int) -> bool:
        """Whether the account's server answered last time."""

    def is_account_limit_reached(self, account_id: int) -> bool:
        """Whether the account has all its connections open; a hint without a lock."""

    def is_portal_limit_reached(self) -> bool:
        """Whether the portal has all its connections open."""

    def recover_orphaned(self) -> int:
        """Apply the acceptance logs of ended processes; return how many messages turned out accepted. Commits."""

    # -- claiming, with the queue's row locked

    def lock_queue(self, account_id: int) -> Queue:
        """Return the account's queue, locked until the transaction ends."""

    def has_due_messages(self, account_id: int, now: datetime) -> bool:
        """Whether the account has due messages."""

    def claim_batch(
        self, queue: Queue, token: str, route: Route | None, *, limit: int, now: datetime
    ) -> list[Claim]:
        """Claim at most ``limit`` due messages, in the order in which they may leave.

        A message whose earlier claim is over is claimed again; its lost attempt is marked as possibly delivered.
        """

    def connection_limit(self, provider: Provider | None) -> int:
        """Return how many connections the provider accepts from one account."""

    def acquire_lease(self, queue: Queue, token: str, *, limit: int, now: datetime) -> bool:
        """Acquire a connection lease; False if the queue's or the portal's limit is reached."""

    # -- while claims are held

    def get_generation(self, account_id: int) -> int:
        """Return the queue's generation, which changes when the queue is held or released."""

    def is_current(self, claim: Claim) -> bool:
        """Whether the message is still claimed by this claim."""

    def mark_started(self, claim: Claim, route: Route | None, *, now: datetime) -> None:
        """Set the start and the route of an attempt in its claim; the caller logs them."""

    def record_start(self, claim: Claim, route: Route | None, *, now: datetime) -> None:
        """Record in the table that the attempt of a claim starts."""

    def start_single(self, claim: Claim, route: Route | None, *, now: datetime) -> bool:
        """Record the start of a message that was claimed alone; False if the claim was lost."""

    def renew_lease(self, account_id: int | None, token: str, *, now: datetime) -> bool:
        """Renew the connection lease and the claims under it; False if it was lost. None: the portal's own mail."""

    def shorten_lease(self, token: str, until: datetime) -> None:
        """Let the connection lease end at ``until``."""

    # -- the acceptance log, which is written at once and outside any transaction

    def log_start(self, claim: Claim) -> bool:
        """Log that a message is about to be submitted; False if the log cannot be written."""

    def log_accepted(self, claim: Claim, acceptance: Acceptance, following: Claim | None = None) -> bool:
        """Log an acceptance, and the start of ``following``; False if the log cannot be written."""

    def discard_log(self, *claims: Claim) -> None:
        """Drop the log entries of claims whose settlement has committed."""

    # -- settling and releasing

    def settle(
        self,
        claim: Claim,
        *,
        now: datetime,
        status: Status,
        attempt: dict[str, Any],
        next_attempt_at: datetime | None = None,
    ) -> bool:
        """Record the result of a message and its attempt; False, with nothing changed, if the claim was lost."""

    def settle_accepted(
        self, accepted: Sequence[tuple[Claim, Acceptance, str]], *, now: datetime
    ) -> list[bool]:
        """Record messages of one drain as sent, each with its transcript; return whether each claim was current."""

    def settle_and_start(
        self,
        accepted: Sequence[tuple[Claim, Acceptance, str]],
        following: Claim,
        route: Route,
        *,
        generation: int,
    ) -> datetime | None:
        """Record accepted messages of one drain and the start of ``following`` in one statement; return its time. Commits.

        Each has its transcript last. None if a claim was lost, the queue was or is to be changed, or the database failed:
        then a transaction decides.
        """

    def release_claims(self, claims: Sequence[Claim]) -> None:
        """Release claims whose attempt has not started; the messages wait with their queue."""

    def release_all(self, account_id: int, token: str) -> None:
        """Release all claims under a token whose attempt has not started."""

    def release_lease(self, token: str) -> None:
        """Release a connection lease."""

    def release_drain(self, account_id: int, token: str) -> None:
        """Release the lease and the unstarted claims of a drain that ended early. Commits.

        If the database is away, a later sweep does it.
        """
