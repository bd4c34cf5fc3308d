"""Which message of an account an event is about: by our reference, the submission server's id, or the Message-ID.

An address alone identifies no message: any person can send a mail about it, and then could stop mail to others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from ..db import db
from ..outbox.models import OutboxMessage
from ..outbox.reference import read_reference
from ..state import get_state

if TYPE_CHECKING:
    from flask import Flask

    from .models import BounceEvent

# (account id, value) -> ids of the messages, newest first, few of them
Search = Callable[[int, str], list[int]]


def _nothing(_account_id: int, _value: str) -> list[int]:
    return []


@dataclass
class MessageSearch:
    """How messages are found; the room of the delivery log, which has the indexes, registers it."""

    by_queue_id: Search = _nothing
    by_header_id: Search = _nothing


def register_search(app: Flask, search: MessageSearch) -> None:
    """Find messages by this search."""
    get_state(app).put(MessageSearch, search)


def find_message(event: BounceEvent) -> OutboxMessage | None:
    """Return the message of the event's account that it is about, or None."""
    search = get_state().part(MessageSearch)
    if event.reference:
        message_id = read_reference(event.reference)
        found = _get(event.account_id, [message_id] if message_id is not None else [], "")
        if found is not None:
            return found
    if event.queue_id:
        found = _get(event.account_id, search.by_queue_id(event.account_id, event.queue_id), event.recipient)
        if found is not None:
            return found
    if event.header_id:
        header_id = f"<{event.header_id.strip().strip('<>')}>"
        return _get(event.account_id, search.by_header_id(event.account_id, header_id), event.recipient)
    return None


def is_final(event: BounceEvent) -> bool:
    """Return whether a later look-up would find no other message: the event names nothing, or one by our reference."""
    if read_reference(event.reference) is not None:
        return True
    return not (event.queue_id or event.header_id)


def _get(account_id: int, message_ids: list[int], recipient: str) -> OutboxMessage | None:
    """Return the one message of the account with one of these ids; of several, the one to this recipient."""
    if not message_ids:
        return None
    query = select(OutboxMessage).where(
        OutboxMessage.id.in_(message_ids), OutboxMessage.account_id == account_id
    )
    found = list(db.session.scalars(query))
    if len(found) > 1:
        found = [message for message in found if message.recipient.casefold() == recipient.casefold()]
    return found[0] if len(found) == 1 else None
