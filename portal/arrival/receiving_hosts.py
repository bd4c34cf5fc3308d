"""Which servers of a received email are the receiver's, by its Received fields (RFC 5321 section 4.4).

Servers add their fields above those that they received. The topmost Received field is the receiver's, and so are those below
it until one names a server of another organization as the one that it received from: all below that is what came in.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from .headers import without_comments

if TYPE_CHECKING:
    from .headers import PastedHeaders

_RECEIVED = "received"
_DELIVERED_TO = frozenset({"delivered-to", "x-apparently-to", "x-original-to", "envelope-to"})
_MAX_NAMES = 50
_MAX_NAME_CHARS = 253
_MAX_FROM_CHARS = 1000  # of a field, up to ``by``
_PRIVATE = tuple(  # RFC 1918, RFC 4193, loopback and link-local
    ipaddress.ip_network(one)
    for one in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
        "::1",
    )
)
_ADDRESS = re.compile(r"[\[( ](?:IPv6:)?([0-9A-Fa-f.:]{3,45})(?=[\]) ])", re.IGNORECASE)
_LOCAL_ENDINGS = (".internal", ".local", ".localdomain", ".lan", ".localhost")
# Domains whose mail is received by servers that call themselves by another one.
_OPERATED_BY = {"me.com": "icloud.com", "mac.com": "icloud.com", "aol.com": "yahoo.com"}
_NAMELESS = ("outlook.com", "exchangelabs.com")  # Microsoft writes results without an authserv-id


@dataclass(frozen=True)
class ReceivingHosts:
    """The receiver's servers. ``names`` are their names, and the domains that they delivered to.

    Fields from index ``first`` on stand below a Received field; those from ``end`` on came in with the message.
    """

    names: frozenset[str]
    first: int
    end: int

    def wrote(self, index: int, authserv_id: str) -> bool:
        """Return whether the results at ``index`` are the receiver's (RFC 8601 section 5).

        Above all Received fields it is certain; below one, the authserv-id has to be of the receiver's organization.
        """
        if index < self.first:
            return True
        if not authserv_id:
            return any(share_organization(name, one) for name in self.names for one in _NAMELESS)
        return any(share_organization(name, authserv_id) for name in self.names)


def receiving_hosts(headers: PastedHeaders) -> ReceivingHosts:
    """Return the receiver's servers."""
    names: set[str] = set()
    end = next((i for i, one in enumerate(headers.fields) if one.name == "from"), len(headers.fields))
    first, is_inside = end, True
    for index, one in enumerate(headers.fields[:end]):
        if one.name in _DELIVERED_TO and is_inside:
            _add(names, _mail_domain(one.value))
        if one.name != _RECEIVED:
            continue
        if not is_inside:
            end = index
            break
        first = min(first, index)
        sender, host, mailbox = _hops(one.value)
        _add(names, _host_name(host))
        _add(names, _mail_domain(mailbox))
        is_inside = _is_inner(sender, names, is_public=_is_from_public_address(one.value))
    operators = {
        to for name, to in _OPERATED_BY.items() if any(share_organization(name, one) for one in names)
    }
    return ReceivingHosts(frozenset(names | operators), first, end)


def share_organization(one: str, other: str) -> bool:
    """Return whether two host names are of one organization, as far as names show it.

    There is no list of public suffixes: two names agree in two labels, or in three under a short second level (``co.uk``).
    """
    if not one or not other:
        return False
    if one == other or one.endswith(f".{other}") or other.endswith(f".{one}"):
        return True
    common = []
    for left, right in zip(reversed(one.split(".")), reversed(other.split(".")), strict=False):
        if left != right:
            break
        common.append(left)
    is_public = len(common) == 2 and len(common[0]) == 2 and len(common[1]) <= 3
    return len(common) >= 2 and not is_public


def _hops(value: str) -> tuple[str, str, str]:
    """Return the words after from, by and for of a Received field, each empty if there is none."""
    words = "".join(char for char, _ in without_comments(value)).partition(";")[0].split()
    found = {"from": "", "by": "", "for": ""}
    for name, word in pairwise(words):
        if found.get(name.lower()) == "":
            found[name.lower()] = word.lower()
    return found["from"], found["by"], found["for"]


def _add(names: set[str], name: str) -> None:
    if name and len(names) < _MAX_NAMES:
        names.add(name)


def _host_name(word: str) -> str:
    """Return a host name of several labels, or an empty text; an address literal is none."""
    name = word[: _MAX_NAME_CHARS + 2].strip("[].,<>").lower()
    labels = name.split(".")
    return name if len(labels) > 1 and all(labels) and labels[-1].isalpha() else ""


def _mail_domain(word: str) -> str:
    return _host_name(word.partition(";")[0].rpartition("@")[2]) if "@" in word else ""


def _is_from_public_address(value: str) -> bool:
    """Return whether a Received field has a public address before ``by``: in brackets, as servers write what they saw."""
    before = re.split(r"\sby\s", value[:_MAX_FROM_CHARS], maxsplit=1)[0]
    for found in _ADDRESS.findall(f"{before} "):
        try:
            address = ipaddress.ip_address(found)
        except ValueError:
            continue
        if not any(address in network for network in _PRIVATE):
            return True
    return False


def _is_inner(sender: str, names: set[str], *, is_public: bool) -> bool:
    """Return whether a receiver's server received from another one of its own; without ``from`` it took it over inside.

    A name of one label, such as ``unknown``, is whatever the client called itself: its address decides (``is_public``).
    """
    name = sender[:_MAX_NAME_CHARS].strip("[].,")
    if not name:
        return True
    try:
        address = ipaddress.ip_address(name.removeprefix("ipv6:"))
    except ValueError:
        pass
    else:
        return any(address in network for network in _PRIVATE)
    if "." not in name or name.endswith(_LOCAL_ENDINGS):
        return not is_public
    return any(share_organization(name, one) for one in names)
