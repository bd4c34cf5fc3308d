"""Notices shown at the top of every page of an account; rooms contribute, pages need not know them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


@dataclass(frozen=True)
class Banner:
    """A notice on every page. ``tone`` is info, success, warning or danger; ``more`` are further (label, url)."""

    tone: str
    title: str
    text: str
    action: str = ""
    url: str = ""
    more: tuple[tuple[str, str], ...] = ()


Source = Callable[[int], list[Banner]]  # account id -> banners


def add_source(app: Flask, source: Source) -> None:
    """Let a room say something on every page."""
    app.extensions.setdefault("signet.banners", []).append(source)


def banners(app: Flask, account_id: int) -> list[Banner]:
    """Collect what the rooms have to say to this account."""
    sources: list[Source] = app.extensions.get("signet.banners", [])
    return [banner for source in sources for banner in source(account_id)]
