"""The one function that makes log-in sessions. Each door of the portal ends here: log-in, registration, invitation.

Where the person has a second factor, the door gives a pending log-in, which ``second_step`` completes, and no session.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import sessions
from ..models import ProvedBy
from . import challenges
from .models import ChallengePurpose
from .state import has_factor

if TYPE_CHECKING:
    from datetime import datetime

    from ..sessions import Device


class NoProgramme(Exception):
    """The proofs are right, but the person belongs to no account any more."""


@dataclass(frozen=True)
class Entry:
    """What a door gave: the token of a session, or that of a log-in that waits for the second factor."""

    token: str = field(repr=False)
    is_pending: bool = False


def enter(owner_id: int, account_id: int | None, *, device: Device, now: datetime) -> Entry:
    """Let a person in whose password was right. The caller commits. Raises NoProgramme."""
    if has_factor(owner_id):
        return Entry(challenges.add(ChallengePurpose.LOG_IN, owner_id, now=now), is_pending=True)
    return complete(owner_id, account_id, device=device, by=ProvedBy.PASSWORD, now=now)


def complete(owner_id: int, account_id: int | None, *, device: Device, by: ProvedBy, now: datetime) -> Entry:
    """Let a person in who has proved every factor; only what checks them may call it. The caller commits.

    Raises NoProgramme.
    """
    if account_id is None:
        raise NoProgramme
    return Entry(sessions.start(owner_id, account_id, device=device, by=by, now=now))
