"""Asking the domain name system for records, within a time that never grows."""

from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dns.rdata import Rdata

_PORT = 53


@dataclass(frozen=True)
class Nameserver:
    """A resolver to ask; without any, the system's are asked."""

    address: str
    port: int = _PORT


@dataclass(frozen=True)
class LookupResult:
    """What came of one question. ``answered`` is false when nobody answered in time."""

    records: tuple[Rdata, ...] = ()
    answered: bool = True
    exists: bool = True  # false: the name itself does not exist (NXDOMAIN)


UNANSWERED = LookupResult(answered=False)


def parse_nameservers(text: str) -> tuple[Nameserver, ...]:
    """Read ``10.0.0.53, 10.0.0.54:5353, [2001:db8::53]:53``; raise ValueError naming what is none."""
    return tuple(_nameserver(item) for item in text.replace(",", " ").split())


def _nameserver(item: str) -> Nameserver:
    address, port = item, str(_PORT)
    if item.startswith("[") and "]" in item:
        address, _, port = item[1:].partition("]")
        port = port.removeprefix(":") or str(_PORT)
    elif item.count(":") == 1:
        address, _, port = item.partition(":")
    try:
        address = str(ipaddress.ip_address(address))
    except ValueError:
        raise ValueError(item) from None
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise ValueError(item)
    return Nameserver(address, int(port))


def resolve_all(
    questions: Sequence[tuple[str, str]], nameservers: Sequence[Nameserver], seconds: float
) -> list[LookupResult]:
    """Ask all questions, (name, record type) each, at once; return their answers in order after at most
    ``seconds``. Raises nothing: whatever goes wrong is an answer that nobody gave.
    """
    with ThreadPoolExecutor(len(questions), thread_name_prefix="dns-look-up") as threads:
        return list(threads.map(lambda one: _ask(one[0], one[1], nameservers, seconds), questions))


def _ask(name: str, kind: str, nameservers: Sequence[Nameserver], seconds: float) -> LookupResult:
    # Imported here: most who import this module only read a configuration.
    from dns.exception import DNSException
    from dns.nameserver import Do53Nameserver
    from dns.resolver import NXDOMAIN, NoAnswer, Resolver

    try:
        resolver = Resolver(configure=not nameservers)
        if nameservers:
            resolver.nameservers = [Do53Nameserver(one.address, one.port) for one in nameservers]
        resolver.timeout = seconds / 2  # of one server, so that a second one has its turn
        found = resolver.resolve(f"{name.rstrip('.')}.", kind, lifetime=seconds, search=False)
        return LookupResult(tuple(found))
    except NoAnswer:
        return LookupResult()
    except NXDOMAIN:
        return LookupResult(exists=False)
    except (DNSException, OSError, ValueError):  # ValueError: an answer that contradicts itself
        return UNANSWERED
