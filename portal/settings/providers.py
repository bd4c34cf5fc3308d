"""The providers an owner can choose from: the catalogue, and the rehearsal server where it runs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from ..smtp.providers import load_catalogue
from ..smtp.providers.model import Host, Port, Provider, read_card
from ..state import current_config

REHEARSAL = "rehearsal"
_FEW = 4  # with more regions than this, the first is hardly ever the right one
_CARD = Path(__file__).parent.parent / "rehearsal" / "rehearsal.toml"


@cache
def _rehearsal_card() -> Provider:
    return read_card(_CARD)


def rehearsal() -> Provider | None:
    """Return the rehearsal server's card with the ports it listens on, or None where it does not run."""
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
    """Return every provider: the rehearsal server, those of the catalogue by name, the generic card."""
    here = rehearsal()
    return [*([here] if here else []), *load_catalogue()]


def find(ident: str | None) -> Provider:
    """Return the provider with this id, or the generic card."""
    return next((card for card in available() if card.id == ident), load_catalogue().generic)


def provider_of(host: str) -> Provider:
    """Recognise the provider a host belongs to, or return the generic card."""
    here = rehearsal()
    if here and host in {"localhost", "127.0.0.1"}:
        return here
    return load_catalogue().by_host(host) or load_catalogue().generic


def first_host(card: Provider) -> Host | None:
    """Return the host to propose; None where the owner's region decides and there are many."""
    return card.hosts[0] if 0 < len(card.hosts) <= _FEW else None
