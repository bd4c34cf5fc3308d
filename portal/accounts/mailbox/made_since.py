"""What a person made since a moment and what works without the person's log-in: it ends when a changed mailbox is restored.

A stranger who changed the mailbox can have made API tokens and invited people in the person's name. Rooms above this one
register a function that ends what is theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ...state import get_state
from ..team import invitations

if TYPE_CHECKING:
    from flask import Flask

_EndTokens = Callable[[int, datetime, datetime], int]


@dataclass(frozen=True)
class Ended:
    """How many tokens and open invitations were ended."""

    tokens: int
    invitations: int


@dataclass
class _TokenEnder:
    """The function that ends API tokens."""

    end_tokens: _EndTokens | None = None


def register_tokens(app: Flask, end: _EndTokens) -> None:
    """Register what ends a person's API tokens: called with the person's id, the moment and the present time.

    It returns their number and must not commit.
    """
    get_state(app).part(_TokenEnder).end_tokens = end


def end_made_since(owner_id: int, since: datetime, *, now: datetime) -> Ended:
    """End the tokens and open invitations that a person made since a moment, in all accounts. The caller commits."""
    end_tokens = get_state().part(_TokenEnder).end_tokens
    tokens = end_tokens(owner_id, since, now) if end_tokens is not None else 0
    return Ended(tokens, invitations.withdraw_sent_since(owner_id, since, now=now))
