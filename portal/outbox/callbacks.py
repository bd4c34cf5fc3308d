"""Who is told what became of each message, and who is asked whether another may leave now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from ..state import get_state
from .models import Outcome, Queue

if TYPE_CHECKING:
    from flask import Flask

    from .store.types import Claim

_log = logging.getLogger(__name__)

# (account id or None, claim, outcome, diagnosis or None, server as host:port or "") inside the settling transaction
Listener = Callable[[int | None, "Claim", Outcome, Mapping[str, Any] | None, str], None]
# (account's queue, now) -> how many messages may leave now; None: as many as wanted
Gate = Callable[[Queue, datetime], int | None]


@dataclass
class _Callbacks:
    listeners: list[Listener] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)


def add_listener(app: Flask, listener: Listener) -> None:
    """Have a room told of every settlement, in its transaction. It must be quick, and it never commits.

    A listener that raises is logged and changes nothing about the message.
    """
    get_state(app).part(_Callbacks).listeners.append(listener)


def add_gate(app: Flask, gate: Gate) -> None:
    """Have a room asked before messages of an account are claimed. Whoever closes a gate wakes the queue later."""
    get_state(app).part(_Callbacks).gates.append(gate)


def notify(
    claim: Claim, outcome: Outcome, diagnosis: Mapping[str, Any] | None = None, server: str = ""
) -> None:
    """Tell every listener what became of a message."""
    for listener in get_state().part(_Callbacks).listeners:
        try:
            listener(claim.message.account_id, claim, outcome, diagnosis, server)
        except SQLAlchemyError:
            raise  # the transaction is spoilt with it
        except Exception:
            _log.exception("a listener failed at message %s", claim.message.id)


def allowance(queue: Queue, wanted: int, now: datetime) -> int:
    """Return how many messages may be claimed of a queue now."""
    answers = [gate(queue, now) for gate in get_state().part(_Callbacks).gates]
    return max(0, min([wanted, *(one for one in answers if one is not None)]))
