"""Values that the store returns: a queued message as it was read, and the claim that permits one attempt to send it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class QueuedMessage(NamedTuple):
    """A row of ``outbox_message``, detached from any transaction. Field names are column names."""

    id: int
    account_id: int | None
    kind: str
    key: str
    message_id: str | None
    recipient: str
    recipient_name: str
    subject: str
    text: str
    html: str
    is_sealed: bool
    is_test: bool
    unsubscribe_url: str
    forced_version_id: int | None
    attempts: int
    status: str
    lease_token: str | None


@dataclass(frozen=True)
class ScreenRefusal:
    """Why a message may not leave by its route: for good, or until ``retry_at``."""

    diagnosis: Mapping[str, Any]
    retry_at: datetime | None = None


@dataclass
class Claim:
    """The right to try one message, valid while ``token`` is the row's lease token."""

    message: QueuedMessage
    token: str
    first: bool = False  # of its batch: its acceptance ends a hold or pause of the queue
    route: dict[str, Any] = field(default_factory=dict)  # the route taken, as columns of the attempt
    started_at: datetime | None = None
    started_attempt_id: int = 0  # the attempt row; 0 while the start is recorded in the acceptance log only
    attempt_id: int = 0  # the attempt row, once its result is recorded
    refusal: ScreenRefusal | None = None  # of the screen
    is_refused_target: bool = (
        False  # the guard refused the server at this attempt; for logs of the operator only
    )
    awaits_other_server: bool = False  # another server may have it: through this one it could arrive twice

    @property
    def tries(self) -> int:
        """The number of attempts that count against the message, including this one."""
        return self.message.attempts + 1
