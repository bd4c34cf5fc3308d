"""Reads where the portal may connect to: the egress policies of SMTP and of webhooks, from the environment."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .env import ConfigError, Reader
from .smtp.network.dial import provider_host_overrides
from .smtp.network.guard import SUBMISSION_PORTS, EgressPolicy, HostOverride, PrivateTarget
from .smtp.network.targets import is_port, parse_hosts, parse_targets

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
WEBHOOK_POLICY = EgressPolicy(ports=frozenset({443, 8443}))


def _host_overrides(read: Reader, rehearsal_ports: tuple[int, ...]) -> tuple[HostOverride, ...]:
    """Return the overrides that send the host names of SIGNET_REHEARSAL_PLAYS to the rehearsal server."""
    names = read.text("SIGNET_REHEARSAL_PLAYS").replace(",", " ").split()
    if not names:
        return ()
    if not rehearsal_ports:
        raise ConfigError("SIGNET_REHEARSAL_PLAYS is set, but SIGNET_REHEARSAL is off. Set both, or neither.")
    loopback = ipaddress.ip_address("127.0.0.1")
    try:
        return provider_host_overrides(
            loopback, names, starttls_port=rehearsal_ports[0], tls_port=rehearsal_ports[1]
        )
    except ValueError as name:
        raise ConfigError(
            f"SIGNET_REHEARSAL_PLAYS holds {str(name)!r}, which is no server of a provider card. "
            "Write names such as smtp.mailgun.org."
        ) from None


def smtp_policy(read: Reader, rehearsal_ports: tuple[int, ...]) -> EgressPolicy:
    """Build the egress policy of SMTP: to which servers mail may be submitted.

    SIGNET_SMTP_PORTS adds ports for public servers; SIGNET_SMTP_PRIVATE lists targets inside the operator's network, each
    with its port (see ``targets``).
    """
    ports = set(SUBMISSION_PORTS)
    for item in read.text("SIGNET_SMTP_PORTS").replace(",", " ").split():
        if not is_port(item):
            raise ConfigError(f"SIGNET_SMTP_PORTS holds {item!r}, which is not a port.")
        ports.add(int(item))
    private = [*_parsed(read, "SIGNET_SMTP_PRIVATE", parse_targets)]
    for port in rehearsal_ports:
        ports.add(port)
        private += [PrivateTarget(ipaddress.ip_network(net), port) for net in ("127.0.0.1/32", "::1/128")]
    ca_file = read.text("SIGNET_SMTP_CA_FILE") or None
    if ca_file and not Path(ca_file).is_file():
        raise ConfigError(f"SIGNET_SMTP_CA_FILE names {ca_file}, which is not a file.")
    if rehearsal_ports and not ca_file:
        ca_file = str(read.instance / "rehearsal" / "ca.pem")
    return EgressPolicy(
        frozenset(ports),
        tuple(private),
        ca_file,
        _parsed(read, "SIGNET_SMTP_WITHOUT_LOGIN", parse_hosts),
        _host_overrides(read, rehearsal_ports),
    )


def webhook_policy(read: Reader) -> EgressPolicy:
    """Build the egress policy of webhooks: public web servers and the targets in SIGNET_HOOK_PRIVATE."""
    return replace(
        WEBHOOK_POLICY,
        private_targets=_parsed(read, "SIGNET_HOOK_PRIVATE", parse_targets),
        ca_file=read.text("SIGNET_SMTP_CA_FILE") or None,
    )


def _parsed(read: Reader, variable: str, parse: Callable[[str], _T]) -> _T:
    try:
        return parse(read.text(variable))
    except ValueError as error:
        raise ConfigError(f"{variable} {error}.") from None
