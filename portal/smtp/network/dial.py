"""Connects to the addresses that the guard has checked, and builds the host overrides of the rehearsal server."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..failure import Reason, Stage, SubmissionFailure
from ..providers.catalogue import canonical, load_catalogue
from ..server import Security
from .guard import HostOverride, IPAddress, find_private_target, permits_plaintext

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..protocol.connection import Budget
    from ..server import Limits, Server

# Several addresses may fail differently; the answer that tells most about the settings is reported.
_TELLING = (Reason.CONNECT_REFUSED, Reason.CONNECT_TIMED_OUT, Reason.UNREACHABLE)


@dataclass(frozen=True)
class Peer:
    """The address that answered, and what the operator allows towards it."""

    address: IPAddress
    private: bool
    plaintext: bool

    @classmethod
    def of(cls, address: IPAddress, server: Server) -> Peer:
        if server.policy.overrides_for(server.host):
            return cls(address, private=True, plaintext=False)
        private = find_private_target(address, server.port, server.policy) is not None
        return cls(address, private, permits_plaintext(address, server.port, server.policy))


def dial(
    addresses: tuple[IPAddress, ...], server: Server, limits: Limits, budget: Budget
) -> tuple[socket.socket, Peer]:
    """Return a connected socket and whom it reached.

    Only addresses the guard returned are dialled, never the name: a second look-up could answer otherwise.
    Raises SubmissionFailure at CONNECT.
    """
    failures: list[Reason] = []
    port = _port(server)
    for address in addresses:
        if budget.left() <= 0:
            failures.append(Reason.CONNECT_TIMED_OUT)
            break
        outcome = _connect(address, port, min(limits.connect, budget.left()))
        if isinstance(outcome, socket.socket):
            return outcome, Peer.of(address, server)
        failures.append(outcome)
    reason = min(failures, key=_TELLING.index)
    raise SubmissionFailure(Stage.CONNECT, reason, evidence={"addresses": ", ".join(map(str, addresses))})


def _port(server: Server) -> int | None:
    """Return the port to dial; None where the operator sends the name elsewhere, but not from its port."""
    detours = server.policy.overrides_for(server.host)
    if not detours:
        return server.port
    return next((detour.target_port for detour in detours if detour.port == server.port), None)


def _connect(address: IPAddress, port: int | None, timeout: float) -> socket.socket | Reason:
    if port is None:
        return Reason.CONNECT_REFUSED
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError:  # a machine without this address family
        return Reason.UNREACHABLE
    try:
        sock.settimeout(max(timeout, 0.001))
        sock.connect((str(address), port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # commands are small and waited for
    except OSError as error:
        sock.close()
        return _reason(error)
    return sock


def _reason(error: OSError) -> Reason:
    if isinstance(error, ConnectionError):
        return Reason.CONNECT_REFUSED
    return Reason.CONNECT_TIMED_OUT if isinstance(error, TimeoutError) else Reason.UNREACHABLE


def provider_host_overrides(
    address: IPAddress, names: Iterable[str], *, starttls_port: int, tls_port: int
) -> tuple[HostOverride, ...]:
    """Return the detours of hosts of the catalogue, for the ports their provider offers.

    Raises:
        ValueError: a name is no host of the catalogue; the message is the name.
    """
    doors = {Security.STARTTLS: starttls_port, Security.IMPLICIT_TLS: tls_port}
    known = {host.name: card for card in load_catalogue() for host in card.hosts if host.pattern is None}
    found: dict[tuple[str, int], HostOverride] = {}
    for name in map(canonical, names):
        if name not in known:
            raise ValueError(name)
        for port in known[name].ports:
            if port.security in doors:
                door = doors[port.security]
                found[name, port.number] = HostOverride(name, port.number, address, door)
    return tuple(found.values())
