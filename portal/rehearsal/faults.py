"""Faults of the rehearsal server, as data: the server simulates them and the page explains them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from flask_babel import lazy_gettext

SLOW_REPLY_S = 1.5  # delay of each reply under the fault ``slow``


class FaultAddress(StrEnum):
    """Address that selects the fault by its local part."""

    USERNAME = "username"
    RECIPIENT = "recipient"


class FaultCommand(StrEnum):
    """SMTP command at which a fault occurs."""

    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"


class FaultKind(StrEnum):
    """Behaviour of the server under a fault."""

    REPLY = "reply"  # answers its command with its reply, every time
    REPLY_ONCE = "reply-once"  # the same, but the next attempt with the same envelope passes
    MUTE = "mute"  # stops replying as soon as the fault is selected
    SLOW = "slow"  # delays every reply as soon as the fault is selected
    HANG_UP = "hang-up"  # stores the message, but closes the connection instead of replying


@dataclass(frozen=True)
class Fault:
    """One scripted fault. ``reply`` is the reply as sent, or a description where there is none."""

    name: str
    selected_by: tuple[FaultAddress, ...]
    reply: str
    sentence: str
    command: FaultCommand
    kind: FaultKind = FaultKind.REPLY


_USERNAME = (FaultAddress.USERNAME,)
_EITHER = (FaultAddress.USERNAME, FaultAddress.RECIPIENT)

FAULTS: tuple[Fault, ...] = (
    Fault(
        "wrong-password",
        _USERNAME,
        "535 5.7.8 Username and password not accepted",
        lazy_gettext("The log-in is refused, even with the right password."),
        FaultCommand.AUTH,
    ),
    Fault(
        "sender-refused",
        _USERNAME,
        "550 5.7.1 This user is not allowed to send as that address",
        lazy_gettext("The log-in works, but the sender's address is not one this user may send as."),
        FaultCommand.MAIL,
    ),
    Fault(
        "daily-limit",
        _USERNAME,
        "550 5.4.5 Daily user sending limit exceeded",
        lazy_gettext("The log-in works, but the user has sent all the mail allowed for today."),
        FaultCommand.MAIL,
    ),
    Fault(
        "recipient-refused",
        _EITHER,
        "550 5.1.1 No such user here",
        lazy_gettext("The recipient's mailbox does not exist."),
        FaultCommand.RCPT,
    ),
    Fault(
        "greylisted",
        _EITHER,
        "451 4.7.1 Greylisted, please try again later",
        lazy_gettext("The first attempt is refused for a while. The next one is accepted."),
        FaultCommand.RCPT,
        FaultKind.REPLY_ONCE,
    ),
    Fault(
        "full",
        _EITHER,
        "452 4.2.2 The recipient's mailbox is full",
        lazy_gettext("The recipient's mailbox is full, and stays full."),
        FaultCommand.RCPT,
    ),
    Fault(
        "busy",
        _EITHER,
        "421 4.3.2 Too busy, please try again later",
        lazy_gettext("The server answers that it is overloaded and closes the connection."),
        FaultCommand.RCPT,
    ),
    Fault(
        "content-refused",
        _EITHER,
        "554 5.6.0 Message content rejected",
        lazy_gettext("The whole message is read, then refused for its content."),
        FaultCommand.DATA,
    ),
    Fault(
        "hang-up",
        _EITHER,
        lazy_gettext("the connection is closed after the last line of the message"),
        lazy_gettext("The server keeps the message, but its reply never arrives."),
        FaultCommand.DATA,
        FaultKind.HANG_UP,
    ),
    Fault(
        "mute",
        _EITHER,
        "silence",
        lazy_gettext("The server stops answering and leaves the connection open."),
        FaultCommand.AUTH,
        FaultKind.MUTE,
    ),
    Fault(
        "slow",
        _EITHER,
        lazy_gettext("each reply takes %(slow_reply_s)s seconds", slow_reply_s=f"{SLOW_REPLY_S:g}"),
        lazy_gettext("Everything works, but every reply is slow."),
        FaultCommand.AUTH,
        FaultKind.SLOW,
    ),
)

_BY_NAME = {fault.name: fault for fault in FAULTS}


def find_fault(address: str, selected_by: FaultAddress) -> Fault | None:
    """Return the fault that an address selects: ``mute@example.org``, ``ada+mute@example.org``, ``mute``."""
    local = address.rpartition("@")[0] or address
    fault = _BY_NAME.get(local.rpartition("+")[2].lower())
    return fault if fault and selected_by in fault.selected_by else None
