"""Sending providers' names to another server: each port to the door that encrypts as the provider does there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..providers.catalogue import canonical, load_catalogue
from ..server import Security
from .guard import Detour, IPAddress

if TYPE_CHECKING:
    from collections.abc import Iterable


def detours_to(
    address: IPAddress, names: Iterable[str], *, starttls_port: int, tls_port: int
) -> tuple[Detour, ...]:
    """Return the detours of hosts of the catalogue, for the ports their provider offers.

    Raises:
        ValueError: a name is no host of the catalogue; the message is the name.
    """
    doors = {Security.STARTTLS: starttls_port, Security.IMPLICIT_TLS: tls_port}
    known = {host.name: card for card in load_catalogue() for host in card.hosts if host.pattern is None}
    found: dict[tuple[str, int], Detour] = {}
    for name in map(canonical, names):
        if name not in known:
            raise ValueError(name)
        for port in known[name].ports:
            if port.security in doors:
                door = doors[port.security]
                found[name, port.number] = Detour(name, port.number, address, door)
    return tuple(found.values())
