"""Where a request comes from, as far as throttles care."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Request


def network_of(request: Request) -> str:
    """Return the IPv4 address or the IPv6 /64 of a request.

    A household or server commands a whole /64, so its single addresses say nothing. The address is the
    one the operator's proxies report (their number is configured), never a header anybody may send.
    """
    try:
        address = ipaddress.ip_address((request.remote_addr or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
