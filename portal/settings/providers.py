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
_MAX_REGIONS = 4  # with more, the first region is rarely the right one
_REHEARSAL_CARD = Path(__file__).parent.parent / "rehearsal" / "rehearsal.toml"


@cache
def _rehearsal_card() -> Provider:
    return read_card(_REHEARSAL_CARD)


def rehearsal_provider() -> Provider | None:
    """Return the card of the rehearsal server with its configured ports, or None if it is disabled."""
    config = current_config()
    if not config.rehearsal:
        return None
    card = _rehearsal_card()
    numbers = (config.rehearsal_starttls_port, config.rehearsal_tls_port)
    ports = tuple(
        Port(number, port.security, port.recommended)
        for number, port in zip(numbers, card.ports, strict=True)
    )
    return replace(card, ports=ports)


def available() -> list[Provider]:
    """Return all providers: the rehearsal server, then the catalogue by name with the generic card last."""
    rehearsal = rehearsal_provider()
    return [*([rehearsal] if rehearsal else []), *load_catalogue()]


def by_id(provider_id: str | None) -> Provider:
    """Return the provider with this id, or the generic card."""
    return next((card for card in available() if card.id == provider_id), load_catalogue().generic)


def by_host(host: str) -> Provider:
    """Return the provider to which a host belongs, or the generic card."""
    rehearsal = rehearsal_provider()
    if rehearsal and host in {"localhost", "127.0.0.1"}:
        return rehearsal
    return load_catalogue().by_host(host) or load_catalogue().generic


def first_host(card: Provider) -> Host | None:
    """Return the host to suggest. None if the provider has so many regions that the owner has to choose."""
    return card.hosts[0] if 0 < len(card.hosts) <= _MAX_REGIONS else None
