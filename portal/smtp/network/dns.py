"""DNS queries in parallel, within one time limit."""

from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .targets import is_port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dns.rdata import Rdata

_DNS_PORT = 53


@dataclass(frozen=True)
class Nameserver:
    """Address of a resolver. Functions that are given none use those of the system."""

    address: str
    port: int = _DNS_PORT


@dataclass(frozen=True)
class LookupResult:
    """Result of one query. ``answered`` is false if no resolver answered in time."""

    records: tuple[Rdata, ...] = ()
    answered: bool = True
    exists: bool = True  # false: the name itself does not exist (NXDOMAIN)


UNANSWERED = LookupResult(answered=False)


def parse_nameservers(text: str) -> tuple[Nameserver, ...]:
    """Parse ``10.0.0.53, 10.0.0.54:5353, [2001:db8::53]:53``; raise ValueError with the item that is invalid."""
    return tuple(_nameserver(item) for item in text.replace(",", " ").split())


def _nameserver(item: str) -> Nameserver:
    address, port = item, str(_DNS_PORT)
    if item.startswith("[") and "]" in item:
        address, _, port = item[1:].partition("]")
        port = port.removeprefix(":") or str(_DNS_PORT)
    elif item.count(":") == 1:
        address, _, port = item.partition(":")
    try:
        address = str(ipaddress.ip_address(address))
    except ValueError:
        raise ValueError(item) from None
    if not is_port(port):
        raise ValueError(item)
    return Nameserver(address, int(port))


def resolve_all(
    queries: Sequence[tuple[str, str]], nameservers: Sequence[Nameserver], timeout: float
) -> list[LookupResult]:
    """Run all queries at once; return their results in order, after at most ``timeout`` seconds.

    Never raises: an error counts as no answer.

    Args:
        queries: pairs of a name and a record type.
    """
    with ThreadPoolExecutor(len(queries), thread_name_prefix="dns-look-up") as threads:
        return list(threads.map(lambda query: _resolve(query[0], query[1], nameservers, timeout), queries))


def _resolve(name: str, record_type: str, nameservers: Sequence[Nameserver], timeout: float) -> LookupResult:
    # Imported here: most importers of this module only parse a configuration.
    from dns.exception import DNSException
    from dns.nameserver import Do53Nameserver
    from dns.resolver import NXDOMAIN, NoAnswer, Resolver

    try:
        resolver = Resolver(configure=not nameservers)
        if nameservers:
            resolver.nameservers = [Do53Nameserver(one.address, one.port) for one in nameservers]
        resolver.timeout = timeout / 2  # for one server, which leaves time for a second one
        answer = resolver.resolve(f"{name.rstrip('.')}.", record_type, lifetime=timeout, search=False)
        return LookupResult(tuple(answer))
    except NoAnswer:
        return LookupResult()
    except NXDOMAIN:
        return LookupResult(exists=False)
    except (DNSException, OSError, ValueError):  # ValueError: an inconsistent answer
        return UNANSWERED
