"""Generates docs/providers.md: ``python -m portal.smtp.providers.docs_page > docs/providers.md``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .catalogue import load_catalogue
from .model import CardPart

if TYPE_CHECKING:
    from .model import Provider, SourcePage

_HEAD = """# Provider cards: when they were checked, and from where

This page is made from the cards in `portal/smtp/providers/cards/`; do not edit it.

A page confirms a part of a card if it states the main value of that part (the first host, the recommended port) and
contradicts no other value. *Not confirmed* names the parts of a card for which no such page was found; their values are older
than the check. Pages were read as stored copies, so a provider may have changed one since. Pages that the provider itself does
not publish are marked *third party*.

| Provider | Checked | Confirmed by | Not confirmed |
| --- | --- | --- | --- |
"""


def parts_of(card: Provider) -> tuple[CardPart, ...]:
    """Return the parts that a card has, in the order of ``CardPart``."""
    dns = card.dns
    optional = {
        CardPart.HOSTS: card.hosts,
        CardPart.SPF: dns.spf or dns.includes,
        CardPart.DKIM: dns.dkim or dns.keys or dns.selectors,
        CardPart.BOUNCES: dns.return_path or dns.return_label,
        CardPart.LIMITS: card.limits or card.rate_limits or card.connections or card.messages_per_connection,
        CardPart.DATES: card.deprecations,
    }
    return tuple(part for part in CardPart if optional.get(part, True))


def _named(source: SourcePage) -> str:
    return f"{', '.join(source.confirms)}: <{source.page}>" + (" (third party)" if source.third_party else "")


def _row(card: Provider) -> str:
    confirmed = {part for source in card.sources for part in source.confirms}
    missing = ", ".join(part for part in parts_of(card) if part not in confirmed)
    checked = card.checked.isoformat() if card.checked else "never"
    return f"| {card.name} | {checked} | {'<br>'.join(map(_named, card.sources))} | {missing or 'none'} |"


def render_page() -> str:
    """Return the page as Markdown."""
    return _HEAD + "\n".join(map(_row, load_catalogue())) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_page())
