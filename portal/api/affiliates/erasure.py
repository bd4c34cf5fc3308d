"""Erasing a person by the API. The function is registered, because the room that erases is above this one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ...state import get_state

if TYPE_CHECKING:
    from flask import Flask

# Takes the ids of account and affiliate, who erases, and the time; returns whether the account has this affiliate.
Eraser = Callable[[int, int, str, datetime], bool]
_BY = "API"


@dataclass
class _Registered:
    """The function of this app."""

    erase: Eraser | None = None


def register_eraser(app: Flask, eraser: Eraser) -> None:
    """Set the function that erases a person."""
    get_state(app).part(_Registered).erase = eraser


def erase(account_id: int, affiliate_id: int, *, now: datetime) -> bool:
    """Erase an affiliate; return whether the account has one with this id. A second time changes nothing. Commits."""
    registered = get_state().part(_Registered).erase
    return registered is not None and registered(account_id, affiliate_id, _BY, now)
