"""Slows a programme's sign-up form while many networks sign up at once, as when robots enter strangers' addresses.

A usual sign-up runs no statement for this: each process counts in its memory, and the time until which a form is slow is a
column of the account, which a sign-up reads anyway. A slow form must be open for half a minute, counts once, and takes so
many sign-ups in an hour. As many more are taken from people who had the form open for ten minutes, so a robot that only
posts does not shut them out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import update

from .. import rate_limit
from ..accounts.models import Account
from ..db import db, read_write
from ..rate_limit import RateLimit
from ..state import get_state

if TYPE_CHECKING:
    from flask import Flask

_MINUTES = 10  # over which networks are counted
SLOW_FOR = timedelta(hours=1)
_EXTEND_WITHIN = timedelta(minutes=50)  # less is left: the time is set anew
OPEN_S = 30.0  # how long a slow form must be open
PATIENT_S = 600.0
_MAX_OPEN_S = 7200.0  # then the form is served anew
_BUDGET_FACTOR = (
    3  # times the programme's limit: sign-ups that a slow form takes in an hour, and again of patient people
)
_ONE_USE = RateLimit("use of a slow form", 1, timedelta(hours=2))
_REPORT_EVERY = timedelta(minutes=10)  # of one limit of one programme, in one process
_MAX_PROGRAMMES = 10_000  # remembered in one process


class Limit(StrEnum):
    """A limit whose owner gets a notice when it is reached."""

    NETWORK = "sign-ups-of-a-network"
    AT_ONCE = "sign-ups-at-once"


Listener = Callable[
    [int, Limit, datetime], None
]  # (account id, limit, now), in a transaction that is committed


@dataclass(frozen=True)
class OpenForm:
    """A form as it comes back: its signed timestamp, and for how many seconds it was open."""

    timestamp: str
    open_s: float


class FormSlowed(Exception):
    """The form is slow and takes this sign-up later. ``renew``: the form itself is used up or too old."""

    def __init__(self, wait: timedelta, *, renew: bool = False) -> None:
        super().__init__(str(wait))
        self.wait, self.renew = wait, renew


@dataclass
class _Memory:
    """The state of one process: the networks of each minute by account, the last reports, and the listeners."""

    lock: Lock = field(default_factory=Lock)
    networks: dict[int, dict[int, set[str]]] = field(default_factory=dict)
    reported: dict[tuple[int, Limit], datetime] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)


def add_listener(app: Flask, listener: Listener) -> None:
    """Call ``listener`` when a limit of sign-ups takes effect. It must not commit."""
    get_state(app).part(_Memory).listeners.append(listener)


def admit(account: Account, form: OpenForm, *, now: datetime) -> None:
    """Let a sign-up pass, or raise FormSlowed. Reads and writes nothing unless the programme's form is slow. Commits."""
    until = account.sign_ups_slow_until
    if until is None or until <= now:
        return
    if form.open_s < OPEN_S:
        raise FormSlowed(timedelta(seconds=OPEN_S - form.open_s))
    if form.open_s > _MAX_OPEN_S:
        raise FormSlowed(timedelta(seconds=OPEN_S), renew=True)
    with read_write():
        slowed = _consume(account, form, now)
        db.session.commit()
    if slowed is not None:
        raise slowed


def note(account: Account, network: str, *, now: datetime) -> None:
    """Count an accepted sign-up, and slow the form if they come from too many networks. Commits if it does."""
    if _count(account, network, now) <= account.sign_ups_at_once:
        return
    until = account.sign_ups_slow_until
    if until is not None and until > now + _EXTEND_WITHIN:
        return
    with read_write():
        later = update(Account).where(Account.id == account.id).values(sign_ups_slow_until=now + SLOW_FOR)
        db.session.execute(later)
        _report(account.id, Limit.AT_ONCE, now)
        db.session.commit()


def consume_network(account: Account, network: str, *, now: datetime) -> bool:
    """Count a sign-up of a network within the current transaction, if the programme's limit allows it; return whether."""
    return rate_limit.consume(_network_limit(account), account.id, network, now=now)


def note_refusal(account: Account, network: str, *, now: datetime) -> None:
    """Notify the owner of a refused sign-up if the network's limit was the reason. Commits."""
    with read_write():
        if rate_limit.remaining(_network_limit(account), account.id, network, now=now):
            db.session.rollback()
            return
        _report(account.id, Limit.NETWORK, now)
        db.session.commit()


def _network_limit(account: Account) -> RateLimit:
    return RateLimit("sign-up-network", account.sign_ups_per_network, timedelta(hours=1))


def _consume(account: Account, form: OpenForm, now: datetime) -> FormSlowed | None:
    key = (account.id, form.timestamp)
    if not rate_limit.consume(_ONE_USE, *key, now=now):
        return FormSlowed(timedelta(seconds=OPEN_S), renew=True)
    is_patient = form.open_s >= PATIENT_S
    amount = account.sign_ups_at_once * _BUDGET_FACTOR
    budget = RateLimit("sign-ups of a slow form", amount, timedelta(hours=1))
    if rate_limit.consume(budget, account.id, is_patient, now=now):
        return None
    rate_limit.reset(_ONE_USE, *key, now=now)
    left = timedelta(seconds=PATIENT_S - form.open_s)
    return FormSlowed(rate_limit.wait(budget, account.id, is_patient, now=now) if is_patient else left)


def _count(account: Account, network: str, now: datetime) -> int:
    """Record a network; return how many were seen in the last minutes, each once a minute."""
    memory, minute = get_state().part(_Memory), int(now.timestamp() // 60)
    with memory.lock:
        if len(memory.networks) >= _MAX_PROGRAMMES and account.id not in memory.networks:
            memory.networks.clear()
        minutes = memory.networks.setdefault(account.id, {})
        for old in [one for one in minutes if one <= minute - _MINUTES]:
            del minutes[old]
        seen = minutes.setdefault(minute, set())
        if len(seen) <= account.sign_ups_at_once:  # more are not counted
            seen.add(network)
        return sum(map(len, minutes.values()))


def _report(account_id: int, limit: Limit, now: datetime) -> None:
    memory = get_state().part(_Memory)
    with memory.lock:
        last = memory.reported.get((account_id, limit))
        if last is not None and timedelta() <= now - last < _REPORT_EVERY:
            return
        if len(memory.reported) >= _MAX_PROGRAMMES:
            memory.reported.clear()
        memory.reported[account_id, limit] = now
    for listener in memory.listeners:
        listener(account_id, limit, now)
