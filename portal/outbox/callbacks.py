"""Callbacks of other packages: listeners of settlements, gates that limit claims, and the screen of claimed messages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
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

# (account id or None, claim, outcome, diagnosis or None, server as host:port or ""), in the settling transaction
Listener = Callable[[int | None, "Claim", Outcome, Mapping[str, Any] | None, str], None]
# (account id or None, claim) -> whether the listener does anything when this message is accepted; it may read the database
Concern = Callable[[int | None, "Claim"], bool]
# (account's queue, now) -> how many messages may be claimed now; None: no limit
Gate = Callable[[Queue, datetime], int | None]
# (account id, claims of a route that is screened, now): sets the refusal of each claim that may not be submitted
Screen = Callable[[int, Sequence["Claim"], datetime], None]


@dataclass
class _Callbacks:
    listeners: list[Listener] = field(default_factory=list)
    concerns: list[Concern] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    screen: Screen | None = None


def _always(_account_id: int | None, _claim: Claim) -> bool:
    return True


def add_listener(app: Flask, listener: Listener, *, on_acceptance: Concern = _always) -> None:
    """Call ``listener`` at every settlement, in its transaction. It must be quick and must not commit.

    An error in it is logged and does not affect the message. Where ``on_acceptance`` is False for a message, the listener
    does nothing when that message is accepted, and need not be called then.
    """
    callbacks = get_state(app).part(_Callbacks)
    callbacks.listeners.append(listener)
    callbacks.concerns.append(on_acceptance)


def concerns_acceptance(claim: Claim) -> bool:
    """Whether a listener does anything when this message is accepted. Raises database errors only."""
    found = get_state().part(_Callbacks).concerns
    return any(one(claim.message.account_id, claim) for one in found)


def add_gate(app: Flask, gate: Gate) -> None:
    """Call ``gate`` before messages are claimed. The owner of a gate pushes the drain job when the gate opens again."""
    get_state(app).part(_Callbacks).gates.append(gate)


def register_screen(app: Flask, screen: Screen) -> None:
    """Call ``screen`` in each transaction that claims messages for a route that is screened."""
    get_state(app).part(_Callbacks).screen = screen


def screen(account_id: int, claims: Sequence[Claim], now: datetime) -> None:
    """Set the refusal of each claim that may not be submitted."""
    registered = get_state().part(_Callbacks).screen
    if registered is not None and claims:
        registered(account_id, claims, now)


def notify(
    claim: Claim, outcome: Outcome, diagnosis: Mapping[str, Any] | None = None, server: str = ""
) -> None:
    """Call every listener with the outcome of an attempt."""
    for listener in get_state().part(_Callbacks).listeners:
        try:
            listener(claim.message.account_id, claim, outcome, diagnosis, server)
        except SQLAlchemyError:
            raise  # the transaction has failed
        except Exception:
            _log.exception("a listener failed for message %s", claim.message.id)


def allowance(queue: Queue, wanted: int, now: datetime) -> int:
    """Return how many messages of a queue may be claimed now, at most ``wanted``."""
    limits = [gate(queue, now) for gate in get_state().part(_Callbacks).gates]
    return max(0, min([wanted, *(one for one in limits if one is not None)]))
