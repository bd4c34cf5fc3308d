"""The faults the rehearsal server can play, as one table: the server plays it and the page explains it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SLOW_SECONDS = 1.5  # how long each reply takes under ``slow``


class Where(StrEnum):
    """Which address names the fault."""

    USERNAME = "username"
    RECIPIENT = "recipient"


class Stage(StrEnum):
    """The command a fault is played at."""

    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"


class Manner(StrEnum):
    """How a fault is played."""

    REPLY = "reply"  # answers its stage with its reply, every time
    REPLY_ONCE = "reply-once"  # the same, but the next try of the same mail passes
    MUTE = "mute"  # says nothing more, from the moment it is named
    SLOW = "slow"  # goes on slowly, from the moment it is named
    HANG_UP = "hang-up"  # keeps the message, but closes instead of replying


@dataclass(frozen=True)
class Fault:
    """One scripted fault. ``plays`` is the reply as sent, or where there is none what happens instead."""

    name: str
    where: tuple[Where, ...]
    plays: str
    sentence: str
    stage: Stage
    manner: Manner = Manner.REPLY


_USERNAME = (Where.USERNAME,)
_EITHER = (Where.USERNAME, Where.RECIPIENT)

FAULTS: tuple[Fault, ...] = (
    Fault(
        "wrong-password",
        _USERNAME,
        "535 5.7.8 Username and password not accepted",
        "The log-in is refused, even with the right password.",
        Stage.AUTH,
    ),
    Fault(
        "sender-refused",
        _USERNAME,
        "550 5.7.1 This user is not allowed to send as that address",
        "The log-in works, but the sender's address is not one this user may send as.",
        Stage.MAIL,
    ),
    Fault(
        "daily-limit",
        _USERNAME,
        "550 5.4.5 Daily user sending limit exceeded",
        "The log-in works, but the user has sent all the mail allowed for today.",
        Stage.MAIL,
    ),
    Fault(
        "recipient-refused",
        _EITHER,
        "550 5.1.1 No such user here",
        "The recipient's mailbox does not exist.",
        Stage.RCPT,
    ),
    Fault(
        "greylisted",
        _EITHER,
        "451 4.7.1 Greylisted, please try again later",
        "The first try is turned away for a while; the next one is accepted.",
        Stage.RCPT,
        Manner.REPLY_ONCE,
    ),
    Fault(
        "full",
        _EITHER,
        "452 4.2.2 The recipient's mailbox is full",
        "The recipient's mailbox is full, and stays full.",
        Stage.RCPT,
    ),
    Fault(
        "busy",
        _EITHER,
        "421 4.3.2 Too busy, please try again later",
        "The server is overloaded: it says so and closes the connection.",
        Stage.RCPT,
    ),
    Fault(
        "content-refused",
        _EITHER,
        "554 5.6.0 Message content rejected",
        "The whole message is read, then refused for its content.",
        Stage.DATA,
    ),
    Fault(
        "hang-up",
        _EITHER,
        "the connection is closed after the last line of the message",
        "The message is kept, but the reply that says so never arrives.",
        Stage.DATA,
        Manner.HANG_UP,
    ),
    Fault(
        "mute",
        _EITHER,
        "silence",
        "The server stops answering and leaves the connection open.",
        Stage.AUTH,
        Manner.MUTE,
    ),
    Fault(
        "slow",
        _EITHER,
        f"each reply takes {SLOW_SECONDS:g} seconds",
        "Everything works, but every reply takes its time.",
        Stage.AUTH,
        Manner.SLOW,
    ),
)

_BY_NAME = {fault.name: fault for fault in FAULTS}


def named_by(address: str, where: Where) -> Fault | None:
    """Return the fault an address asks for: ``mute@example.org``, ``ada+mute@example.org``, ``mute``."""
    local = address.rpartition("@")[0] or address
    fault = _BY_NAME.get(local.rpartition("+")[2].lower())
    return fault if fault and where in fault.where else None
