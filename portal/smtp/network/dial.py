"""Connects to the addresses the guard has checked; host overrides point providers' names at another server."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

from ..failure import Reason, Stage, SubmissionFailure
from ..providers.catalogue import load_catalogue, normalise_host
from ..server import Security
from .guard import EgressPolicy, HostOverride, IPAddress, find_private_target, permits_plaintext

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..server import Limits, Server

# Several addresses may fail differently; the one from which most about the settings can be concluded is reported.
_MOST_INFORMATIVE_FIRST = (Reason.CONNECT_REFUSED, Reason.CONNECT_TIMED_OUT, Reason.UNREACHABLE)


class Deadline:
    """The absolute end of a conversation, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._ends = monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left, at least zero."""
        return max(0.0, self._ends - monotonic())

    def extend(self, seconds: float) -> None:
        """Leave at least ``seconds`` from now."""
        self._ends = max(self._ends, monotonic() + seconds)

    def until(self, timeout: float | None) -> float:
        """Return the time on the monotonic clock at which a wait of at most ``timeout`` seconds ends."""
        return self._ends if timeout is None else min(self._ends, monotonic() + timeout)


@dataclass(frozen=True)
class Peer:
    """The address that accepted the connection, and what the operator permits for it.

    ``needs_login``: no mail may be submitted there without a log-in.
    """

    address: IPAddress
    is_private: bool
    permits_plaintext: bool
    needs_login: bool = False
    ca_file: str | None = None  # further authorities

    @classmethod
    def for_server(cls, address: IPAddress, server: Server) -> Peer:
        policy = server.policy
        if policy.overrides_for(server.host):
            return cls(address, is_private=True, permits_plaintext=False, ca_file=policy.ca_file)
        target = find_private_target(address, server.port, policy)
        if target is None:
            needs_login = not takes_mail_without_login(server.host, policy)
            return cls(address, is_private=False, permits_plaintext=False, needs_login=needs_login)
        plaintext = permits_plaintext(address, server.port, policy)
        return cls(
            address, is_private=True, permits_plaintext=plaintext, ca_file=target.ca_file or policy.ca_file
        )


def with_own_ports(policy: EgressPolicy, host: str) -> EgressPolicy:
    """Return the policy with the ports of the provider's card allowed, too, for a host that is on the card."""
    provider = load_catalogue().by_host(host)
    if provider is None or provider.host_named(normalise_host(host)) is None:
        return policy
    return replace(policy, ports=policy.ports | {port.number for port in provider.ports})


def takes_mail_without_login(host: str, policy: EgressPolicy) -> bool:
    """Return whether a public host takes mail without a log-in: the operator lists it, or its provider's card does."""
    provider = load_catalogue().by_host(host)
    return host in policy.hosts_without_login or (provider is not None and provider.relays_by_address)


def dial(
    addresses: tuple[IPAddress, ...], server: Server, limits: Limits, deadline: Deadline
) -> tuple[socket.socket, Peer]:
    """Connect to the first address that accepts; return the socket and the peer.

    With several addresses, each first gets ``limits.first_connect`` seconds and then, if it did not answer, the rest of
    ``limits.connect``: one dead address must not use up the time of the others.

    Only the addresses that the guard returned are dialled, never the name: a second look-up could return
    another address. Raises SubmissionFailure at CONNECT.
    """
    failures: dict[IPAddress, Reason] = {}
    port = _target_port(server)
    for address, seconds in _attempts(addresses, limits, failures):
        if deadline.remaining() <= 0:
            failures.setdefault(address, Reason.CONNECT_TIMED_OUT)
            break
        outcome = _connect(address, port, min(seconds, deadline.remaining()))
        if isinstance(outcome, socket.socket):
            return outcome, Peer.for_server(address, server)
        failures[address] = outcome
    reason = min(failures.values(), key=_MOST_INFORMATIVE_FIRST.index)
    raise SubmissionFailure(Stage.CONNECT, reason, evidence={"addresses": ", ".join(map(str, addresses))})


def _attempts(
    addresses: tuple[IPAddress, ...], limits: Limits, failures: dict[IPAddress, Reason]
) -> Iterator[tuple[IPAddress, float]]:
    """Yield each address with the seconds of its attempt: a short one, then a long one for those that timed out."""
    first = limits.connect if len(addresses) == 1 else min(limits.first_connect, limits.connect)
    for address in addresses:
        yield address, first
    if first < limits.connect:
        for address in addresses:
            if failures.get(address) is Reason.CONNECT_TIMED_OUT:
                yield address, limits.connect


def _target_port(server: Server) -> int | None:
    """Return the port to dial; None for a port without an override of a host that has overrides."""
    overrides = server.policy.overrides_for(server.host)
    if not overrides:
        return server.port
    return next((override.target_port for override in overrides if override.port == server.port), None)


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
        # Commands are small and each waits for its reply, so Nagle's algorithm would delay every one.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
    """Return overrides of the named catalogue hosts, one for each encrypted port of their provider.

    Each port is sent to the port of the rehearsal server that encrypts in the same way.

    Raises:
        ValueError: a name is no host of the catalogue; the message is the name.
    """
    target_ports = {Security.STARTTLS: starttls_port, Security.IMPLICIT_TLS: tls_port}
    providers = {
        host.name: provider
        for provider in load_catalogue()
        for host in provider.hosts
        if host.pattern is None
    }
    overrides: dict[tuple[str, int], HostOverride] = {}
    for name in map(normalise_host, names):
        if name not in providers:
            raise ValueError(name)
        for port in providers[name].ports:
            if port.security in target_ports:
                target_port = target_ports[port.security]
                overrides[name, port.number] = HostOverride(name, port.number, address, target_port)
    return tuple(overrides.values())
