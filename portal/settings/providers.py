"""Providers that an owner can choose: those of the catalogue, and the rehearsal server if it is enabled."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..smtp.providers import load_catalogue
from ..smtp.providers.card_reader import read_card
from ..smtp.providers.model import Host, Port, Provider, ProviderKind
from ..state import current_config

if TYPE_CHECKING:
    from collections.abc import Sequence

REHEARSAL = "rehearsal"
REHEARSALS = frozenset({REHEARSAL, "rehearsal-consent"})
_USUAL = ("mailgun", "gmail", "microsoft365", "sendgrid", "ses", "postmark", "brevo")
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
    return [_at_ports(card, numbers) for card in _rehearsal_cards()]


def _at_ports(card: Provider, numbers: Sequence[int]) -> Provider:
    """Return a card with other port numbers, also in its hints."""
    ports = tuple(
        Port(number, port.security, port.recommended)
        for number, port in zip(numbers, card.ports, strict=True)
    )
    renamed = {str(old.number): str(new.number) for old, new in zip(card.ports, ports, strict=True)}
    words = re.compile("|".join(renamed))
    hints = {name: words.sub(lambda found: renamed[found[0]], text) for name, text in card.help.items()}
    return replace(card, ports=ports, help=hints)


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


def usual() -> list[Provider]:
    """Return the providers that most owners look for, those of the rehearsal first."""
    return [*rehearsal_providers(), *(by_id(one) for one in _USUAL)]


def by_kind() -> list[tuple[ProviderKind, list[Provider]]]:
    """Return the providers of the catalogue by kind, each by name; any other server is the last one."""
    cards = list(load_catalogue())
    return [(kind, [card for card in cards if card.kind is kind]) for kind in ProviderKind]
