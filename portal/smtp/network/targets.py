"""Reads the operator's lists of hosts and of private targets: ``10.0.0.5/32:587``, ``[fd00::/64]:25:plaintext:ca=/path``."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from .guard import HostError, PrivateTarget, canonical_host

_PLAINTEXT, _CA = "plaintext", "ca="


def parse_targets(text: str) -> tuple[PrivateTarget, ...]:
    """Return the targets of a list that is separated by spaces or commas.

    A network is an address or a block; that of IPv6 may be in brackets, with the prefix length inside or behind them.
    ``plaintext`` permits unencrypted connections, ``ca=`` names a file of further authorities for this target alone.

    Raises:
        ValueError: an item is malformed; the message names it and what is wrong.
    """
    return tuple(_target(item) for item in text.replace(",", " ").split())


def parse_hosts(text: str) -> frozenset[str]:
    """Return the canonical host names of a list that is separated by spaces or commas. Raises ValueError as above."""
    hosts = set()
    for item in text.replace(",", " ").split():
        try:
            hosts.add(canonical_host(item))
        except HostError as error:
            raise ValueError(f"holds {item!r}: {str(error).removesuffix('.')}") from None
    return frozenset(hosts)


def is_port(text: str) -> bool:
    """Return whether a text is a port, a whole number from 1 to 65535. It may be of any length."""
    return text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536


def _target(item: str) -> PrivateTarget:
    try:
        network, port, options = _split(item)
        ca_file = next((one.removeprefix(_CA) for one in options if one.startswith(_CA)), None)
        target = PrivateTarget(ip_network(network), int(port), _PLAINTEXT in options, ca_file)
    except ValueError:
        raise ValueError(f"holds {item!r}; write 10.0.0.5/32:587 or [fd00::5]:587") from None
    if not port.isascii() or not 0 < target.port < 65536:
        raise ValueError(f"holds {item!r}; the port is a number from 1 to 65535")
    if any(one != _PLAINTEXT and not one.startswith(_CA) for one in options):
        raise ValueError(
            f"holds {item!r}; after the port only :plaintext and :ca=/path/to/authority.pem may follow"
        )
    if ca_file is not None and not Path(ca_file).is_file():
        raise ValueError(f"names {ca_file}, which is not a file")
    return target


def _split(item: str) -> tuple[str, str, list[str]]:
    """Return network, port and options. The colons of IPv6 end at the bracket, or where the options begin."""
    if item.startswith("["):
        inside, _, rest = item[1:].partition("]")
        length, _, rest = rest.partition(":")
        network = f"{inside}{length}"
    else:
        head, options_at = item, len(item)
        for option in (f":{_PLAINTEXT}", f":{_CA}"):
            found = item.find(option)
            options_at = min(options_at, found) if found >= 0 else options_at
        head = item[:options_at]
        network, _, port = head.rpartition(":")
        rest = port + item[options_at:]
    port, _, options = rest.partition(":")
    return network, port, [one for one in options.split(":") if one]
