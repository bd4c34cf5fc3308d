"""Two values of a request that views need: the client's network and a redirect target within the site."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Request

_TARGET_LIMIT_CHARS = 2000


def network_of(request: Request) -> str:
    """Return the client's IPv4 address or IPv6 /64, the unit that rate limits count by.

    One household or server controls a whole /64, so a limit per IPv6 address would not limit it. The address
    is the one that the operator's proxies report (their number is configured), never an unchecked header.
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


def same_site_path(target: str | None) -> str | None:
    """Return ``target`` if it is a path of this site, else None.

    Browsers read ``//host`` and ``/\\host`` as another site, turn backslashes into slashes, and drop tabs and
    line breaks before they parse an address. A target with any of these is rejected, wherever it contains it.
    """
    if not target or len(target) > _TARGET_LIMIT_CHARS:
        return None
    if not target.startswith("/") or target.startswith("//"):
        return None
    if "\\" in target or any(c < "\x21" or "\x7f" <= c <= "\x9f" for c in target):
        return None
    return target
