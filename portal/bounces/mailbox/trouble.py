"""Notifies listeners when a mailbox was read, could not be read for long, or was removed.

Listeners run inside the transaction that records the state; they do not commit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from ...state import get_state

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Flask

    from .models import BounceMailbox

_LASTING_FAILURES = 3  # in a row: about a quarter of an hour
_AWAY = timedelta(hours=2)  # without a reading; the server may come back before
# What may pass without the owner.
_PASSING = frozenset(
    {
        "name-unanswered",
        "timed-out",
        "connect-refused",
        "unreachable",
        "disconnected",
        "too-much",
        "protocol",
        "token-unavailable",
    }
)


class MailboxState(StrEnum):
    """What the last reading, or the owner, made of a mailbox."""

    READ = "read"
    FAILING = "failing"  # for long, or until the owner changes something
    REMOVED = "removed"


Listener = Callable[["BounceMailbox", MailboxState, "datetime"], None]


@dataclass
class _Listeners:
    listeners: list[Listener] = field(default_factory=list)


def add_listener(app: Flask, listener: Listener) -> None:
    """Call ``listener`` after each reading that succeeded or fails for long, and when a mailbox is removed."""
    get_state(app).part(_Listeners).listeners.append(listener)


def report(mailbox: BounceMailbox, *, now: datetime) -> None:
    """Notify the listeners of the result of a reading that the row holds. A failure counts once it lasts."""
    if not mailbox.problem:
        _notify(mailbox, MailboxState.READ, now)
    elif _is_lasting(mailbox, now):
        _notify(mailbox, MailboxState.FAILING, now)


def report_removal(mailbox: BounceMailbox, *, now: datetime) -> None:
    """Notify the listeners that the mailbox is no longer read."""
    _notify(mailbox, MailboxState.REMOVED, now)


def _is_lasting(mailbox: BounceMailbox, now: datetime) -> bool:
    if mailbox.failures < _LASTING_FAILURES:
        return False
    return mailbox.problem not in _PASSING or (mailbox.last_read_at or mailbox.saved_at) < now - _AWAY


def _notify(mailbox: BounceMailbox, state: MailboxState, now: datetime) -> None:
    for listener in get_state().part(_Listeners).listeners:
        listener(mailbox, state, now)
