"""SSRF guard: which hosts, ports and addresses may be dialled.

An owner chooses the host, so a connection could be directed at the operator's own network. The name is
resolved once, every address of it must be allowed, and the checked address is the one that is dialled. Every
target that is not allowed fails in the same way, and a name that leads into the operator's network fails as one that
does not exist, so that refusals reveal nothing about the network.
"""

from __future__ import annotations

import logging
import queue
import re
import socket
import threading
import unicodedata
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import idna

from ..failure import Reason, Stage, SubmissionFailure

IPAddress = IPv4Address | IPv6Address

_log = logging.getLogger(__name__)

SUBMISSION_PORTS = frozenset({25, 465, 587, 2465, 2525, 2587})

# The standard library's ``is_global`` does not suffice: for Python 3.11 224.0.0.1, ff02::1, ::127.0.0.1,
# 64:ff9b::a9fe:a9fe and 2002:a9fe:a9fe::1 are global. These are IANA's special-purpose registries.
_IPV4_NOT_PUBLIC = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # "this network", RFC 791
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # shared behind carrier NAT, RFC 6598; some clouds keep their metadata here
        "127.0.0.0/8",  # loopback, RFC 1122
        "168.63.129.16/32",  # Azure's host agent: a public address that is reachable inside Azure only
        "169.254.0.0/16",  # link-local and cloud metadata, RFC 3927
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # protocol assignments, RFC 6890
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.31.196.0/24",  # AS112, RFC 7535
        "192.52.193.0/24",  # AMT, RFC 7450
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "192.175.48.0/24",  # AS112, RFC 7534
        "198.18.0.0/15",  # benchmarking, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved and broadcast, RFC 1112, RFC 919
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # the well-known prefix: an IPv4 address in the last 32 bits, RFC 6052
_IPV6_PUBLIC = IPv6Network("2000::/3")  # all that IANA has allocated as global unicast
_IPV6_NOT_PUBLIC = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking, RFC 2928
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4, contains an IPv4 address, RFC 3056
        "2620:4f:8000::/48",  # AS112, RFC 7534
        "3ffe::/16",  # the former 6bone, RFC 3701
        "3fff::/20",  # documentation, RFC 9637
    )
)

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # getaddrinfo reads it as a part of an IPv4 address
_MAX_CHARS = (
    1000  # of a text that is read at all: Unicode normalisation can take quadratic time, and it shortens
)
_MAX_HOST_BYTES = 253  # of a name in text form, RFC 1035 section 2.3.4


class HostError(ValueError):
    """The text is not a host name; the message is one sentence for the person who entered it."""


@dataclass(frozen=True)
class PrivateTarget:
    """A network and port that the operator allows although it is not public."""

    network: IPv4Network | IPv6Network
    port: int
    plaintext: bool = False  # whether unencrypted connections are permitted
    ca_file: str | None = None  # further authorities for this target alone


@dataclass(frozen=True)
class HostOverride:
    """A host and port that the operator redirects, like curl's --connect-to: TLS still verifies the host.

    The target counts as private and is always encrypted. All other ports of an overridden host are refused,
    so that no message meant for the override reaches the real server.
    """

    host: str  # canonical
    port: int
    address: IPAddress
    target_port: int


@dataclass(frozen=True)
class EgressPolicy:
    """Which targets may be dialled.

    ``ca_file`` is trusted as well, for private targets only. Besides these, ``hosts_without_login`` take mail without AUTH.
    """

    ports: frozenset[int] = SUBMISSION_PORTS
    private_targets: tuple[PrivateTarget, ...] = ()
    ca_file: str | None = None
    hosts_without_login: frozenset[str] = frozenset()  # canonical
    host_overrides: tuple[HostOverride, ...] = ()

    def overrides_for(self, host: str) -> tuple[HostOverride, ...]:
        """Return the overrides of a host; without any it is resolved and dialled. Raises HostError."""
        if not self.host_overrides:
            return ()
        name = canonical_host(host)
        return tuple(override for override in self.host_overrides if override.host == name)


def canonical_host(text: str) -> str:
    """Return the canonical form of a host name or IP address: lower case, A-labels, no trailing dot.

    Raises HostError for any other text.
    """
    host = text.strip()
    if len(host) > _MAX_CHARS:
        raise HostError("The host name is too long.")
    _check_characters(host)
    literal = _ip_literal(host)
    if literal is not None:
        return str(literal)
    if ":" in host:
        raise HostError("Enter the host name alone; the port has its own field.")
    return _canonical_name(host)


def _check_characters(host: str) -> None:
    if not host:
        raise HostError("Enter the name of the SMTP server.")
    if any(unicodedata.category(c)[0] == "C" for c in host):
        raise HostError("The host name contains an invisible character; type it again by hand.")
    if any(c.isspace() for c in host):
        raise HostError("A host name contains no spaces.")
    if any(c in host for c in "/\\?#"):
        raise HostError("Enter a host name such as smtp.example.com, not a web address.")
    if "@" in host:
        raise HostError("Enter a host name such as smtp.example.com, not an email address.")
    if "_" in host:
        raise HostError(
            "A host name contains no underscore. If a container has this name, give it a network alias without one, "
            "such as mail-server."
        )


def _ip_literal(host: str) -> IPAddress | None:
    bracketed = host.startswith("[") and host.endswith("]")
    inner = host[1:-1] if bracketed else host
    if not inner.isascii() or "%" in inner:  # a zone (RFC 4007) selects a local interface
        return None
    try:
        return ip_address(inner)
    except ValueError:
        return None


def _canonical_name(host: str) -> str:
    name = unicodedata.normalize("NFKC", host).replace("\u3002", ".").lower().removesuffix(".")
    if "" in name.split("."):
        raise HostError("The host name has two dots in a row, or begins or ends with one.")
    labels = [_canonical_label(label) for label in name.split(".")]
    # The resolver reads 127.1, 0x7f.1, 2130706433 and circled digits as IPv4 addresses. No top-level domain is a
    # number.
    if _NUMBER.fullmatch(labels[-1]):
        raise HostError("This is neither a host name nor a complete IP address.")
    canonical = ".".join(labels)
    if len(canonical) > _MAX_HOST_BYTES:
        raise HostError("The host name is too long.")
    return canonical


def _canonical_label(label: str) -> str:
    plain = label.isascii() and not label.startswith("xn--")
    ascii_label = label if plain else _a_label(label)
    if not _LABEL.fullmatch(ascii_label):
        raise HostError("A host name consists of letters, digits, hyphens and dots only.")
    return ascii_label


def _a_label(label: str) -> str:
    try:
        return idna.encode(label, uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise HostError("The host name contains a character that names cannot have.") from None


def is_public(address: IPAddress) -> bool:
    """Return whether an address is public according to the tables above."""
    if isinstance(address, IPv6Address) and address.scope_id is None and address in _NAT64:
        address = IPv4Address(int(address) & 0xFFFFFFFF)  # the gateway connects to this one
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _IPV4_NOT_PUBLIC)
    if address.scope_id is not None or address not in _IPV6_PUBLIC:
        return False
    return not any(address in block for block in _IPV6_NOT_PUBLIC)


def find_private_target(address: IPAddress, port: int, policy: EgressPolicy) -> PrivateTarget | None:
    """Return the private target for an address and port, or None. Of several, the one of the smallest network."""
    matches = _private_targets(address, port, policy)
    return max(matches, key=lambda target: target.network.prefixlen, default=None)


def is_private_target(address: IPAddress, port: int, policy: EgressPolicy) -> bool:
    """Return whether the operator allows this address and port as a private target."""
    return find_private_target(address, port, policy) is not None


def permits_plaintext(address: IPAddress, port: int, policy: EgressPolicy) -> bool:
    """Return whether connections to this address and port may be unencrypted."""
    return any(target.plaintext for target in _private_targets(address, port, policy))


def _private_targets(address: IPAddress, port: int, policy: EgressPolicy) -> list[PrivateTarget]:
    return [one for one in policy.private_targets if one.port == port and _contains(one.network, address)]


def _contains(network: IPv4Network | IPv6Network, address: IPAddress) -> bool:
    return address.version == network.version and address in network


def target_refused() -> SubmissionFailure:
    """Return the failure for every target that is not allowed, whatever the cause."""
    return SubmissionFailure(Stage.RESOLVE, Reason.TARGET_REFUSED, is_refused_target=True)


def resolve_allowed(
    host: str, port: int, policy: EgressPolicy, timeout: float, *, plaintext: bool = False
) -> tuple[IPAddress, ...]:
    """Resolve a host once; return its addresses, all of them allowed, in the resolver's order.

    Args:
        timeout: seconds for the look-up.
        plaintext: every address must permit unencrypted connections.

    Raises SubmissionFailure at RESOLVE.
    """
    if not _is_port_allowed(port, policy, plaintext=plaintext):
        raise target_refused()
    try:
        name = canonical_host(host)
    except HostError:
        raise target_refused() from None
    overrides = policy.overrides_for(name)
    if overrides and plaintext:
        raise target_refused()
    if overrides:
        return tuple(dict.fromkeys(override.address for override in overrides))
    literal = _ip_literal(name)
    addresses = (literal,) if literal is not None else _resolve(name, timeout)
    # One address that is not allowed refuses the name: mixed answers are typical of DNS rebinding attacks.
    if all(_is_address_allowed(address, port, policy, plaintext=plaintext) for address in addresses):
        return addresses
    if literal is None and not _is_loopback_name(name) and not any(map(is_public, addresses)):
        _log.warning("%s leads into an inner network that is not allowed; it is answered as unknown", name)
        failure = _look_up_failed(
            name, Reason.NAME_UNKNOWN
        )  # or owners could find out which inner names exist
        failure.is_refused_target = True
        raise failure
    raise target_refused()


def _is_loopback_name(name: str) -> bool:
    """Return whether a name leads to this machine on every machine (RFC 6761), so that refusing it reveals nothing."""
    return name == "localhost" or name.endswith(".localhost")


def _look_up_failed(name: str, reason: Reason) -> SubmissionFailure:
    return SubmissionFailure(Stage.RESOLVE, reason, evidence={"host": name})


def _is_port_allowed(port: int, policy: EgressPolicy, *, plaintext: bool) -> bool:
    if any(target.port == port and (target.plaintext or not plaintext) for target in policy.private_targets):
        return True
    return port in policy.ports and not plaintext


def _is_address_allowed(address: IPAddress, port: int, policy: EgressPolicy, *, plaintext: bool) -> bool:
    if plaintext:
        return permits_plaintext(address, port, policy)
    if is_private_target(address, port, policy):
        return True
    return port in policy.ports and is_public(address)


def _resolve(name: str, timeout: float) -> tuple[IPAddress, ...]:
    """Resolve a name with the system's resolver within ``timeout`` seconds.

    ``getaddrinfo`` is used instead of a DNS library so that /etc/hosts, search lists and split-horizon
    resolvers have their usual effect. It cannot be interrupted, so it runs in a thread; after the timeout
    the thread is abandoned and ends when the resolver gives up.
    """
    answers: queue.SimpleQueue[tuple[IPAddress, ...] | Reason] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_getaddrinfo(name)), name="smtp-look-up", daemon=True).start()
    try:
        answer = answers.get(timeout=max(timeout, 0.001))
    except queue.Empty:
        answer = Reason.NAME_UNANSWERED
    if isinstance(answer, Reason):
        raise _look_up_failed(name, answer)
    return answer


def _getaddrinfo(name: str) -> tuple[IPAddress, ...] | Reason:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        addresses = dict.fromkeys(ip_address(entry[4][0]) for entry in found)
    except socket.gaierror as error:
        unknown = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        return Reason.NAME_UNKNOWN if unknown else Reason.NAME_UNANSWERED
    except (OSError, ValueError):
        return Reason.NAME_UNANSWERED
    return tuple(addresses) or Reason.NAME_UNKNOWN
