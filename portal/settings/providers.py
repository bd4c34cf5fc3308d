"""Providers that an owner can choose: those of the catalogue, and the rehearsal server if it is enabled."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from ..smtp.providers import load_catalogue
from ..smtp.providers.card_reader import read_card
from ..smtp.providers.model import Host, Port, Provider
from ..state import current_config

REHEARSAL = "rehearsal"
REHEARSALS = frozenset({REHEARSAL, "rehearsal-consent"})
_MAX_REGIONS = 4  # with more, the first region is rarely the right one
_REHEARSAL_CARDS = Path(__file__).parent.parent / "rehearsal"


@cache
def _rehearsal_cards() -> tuple[Provider, ...]:
    return tuple(read_card(_REHEARSAL_CARDS / f"{id_}.toml") for id_ in sorted(REHEARSALS))


def rehearsal_providers() -> list[Provider]:
    """Return the cards of the rehearsal server with its configured ports; none if it is disabled.

    The card with consent has the server's address in place of its name, so that a host leads to one card.
    """
    config = current_config()
    if not config.rehearsal:
        return []
    numbers = (config.rehearsal_starttls_port, config.rehearsal_tls_port)
    return [
        replace(
            card,
            ports=tuple(
                Port(number, port.security, port.recommended)
                for number, port in zip(numbers, card.ports, strict=True)
            ),
        )
        for card in _rehearsal_cards()
    ]


def available() -> list[Provider]:
    """Return all providers: the cards of the rehearsal server, then the catalogue by name with the generic card last."""
    return [*rehearsal_providers(), *load_catalogue()]


def by_id(provider_id: str | None) -> Provider:
    """Return the provider with this id, or the generic card."""
    return next((card for card in available() if card.id == provider_id), load_catalogue().generic)


def by_host(host: str) -> Provider:
    """Return the provider to which a host belongs, or the generic card."""
    played = (card for card in rehearsal_providers() if host == card.hosts[0].name)
    return next(played, None) or load_catalogue().by_host(host) or load_catalogue().generic


def first_host(card: Provider) -> Host | None:
    """Return the host to suggest. None if the provider has so many regions that the owner has to choose."""
    return card.hosts[0] if 0 < len(card.hosts) <= _MAX_REGIONS else None
