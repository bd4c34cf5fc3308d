"""The alerts, in words. They hold counts and causes: no password, no email's text, no affiliate's address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..outbox.queue import NewMessage
from ..web.filters import moment

if TYPE_CHECKING:
    from datetime import datetime

    from .presenter import Told

_ALL_WELL = "Nothing is lost: emails that wait leave by themselves as soon as sending works again."


def opened(told: Told, mailbox: str, key: str, link: str) -> NewMessage:
    """Tell that something is wrong, whose move it is, and what to do."""
    what_to_do = f"\nWhat to do: {told.fix}\n" if told.fix else ""
    text = f"""Hello,

something is wrong with the automated emails of {told.programme}:

{told.sentence}
{_waiting(told)}
Whose move: {told.move}
{what_to_do}
Since: {moment(told.since)}
Details, for those who can log in: {link}

{told.meanwhile}

Signet
"""
    return _message("incident-opened", key, mailbox, f"{told.programme}: {told.title}", text)


def ended(told: Told, mailbox: str, key: str, link: str, *, now: datetime) -> NewMessage:
    """Tell that it is over."""
    text = f"""Hello,

this is over, since {moment(told.closed_at or now)}:

{told.sentence}

{told.outcome}
Details, for those who can log in: {link}

Signet
"""
    return _message("incident-ended", key, mailbox, f"{told.programme}: sending works again", text)


def _waiting(told: Told) -> str:
    if not told.waiting:
        return ""
    return f"\n{told.waiting} {'email waits' if told.waiting == 1 else 'emails wait'} for it.\n"


def _message(kind: str, key: str, mailbox: str, subject: str, text: str) -> NewMessage:
    return NewMessage(kind=kind, key=key, recipient=mailbox, subject=subject[:200], text=text)
