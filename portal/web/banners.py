"""Banners at the top of every page of an account. Rooms register sources, so pages do not need to know them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..state import get_state

if TYPE_CHECKING:
    from flask import Flask


@dataclass(frozen=True)
class Banner:
    """A banner. ``tone`` is info, success, warning or danger; ``more`` holds further (label, url) pairs.

    A folded one is a single line until it is opened.
    """

    tone: str
    title: str
    text: str
    action: str = ""
    url: str = ""
    more: tuple[tuple[str, str], ...] = ()
    is_folded: bool = False


Source = Callable[[int], list[Banner]]  # account id -> banners


@dataclass
class _Sources:
    sources: list[Source] = field(default_factory=list)


def add_banner_source(app: Flask, source: Source) -> None:
    """Register a source of banners."""
    get_state(app).part(_Sources).sources.append(source)


def collect_banners(app: Flask, account_id: int) -> list[Banner]:
    """Return the banners of all sources for this account."""
    return [banner for source in get_state(app).part(_Sources).sources for banner in source(account_id)]
