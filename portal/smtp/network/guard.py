"""Which targets may be dialled.

A tenant chooses the host, so every conversation could be steered at the operator's own network. The rule:
the name is resolved once, every address it has must be allowed, and the checked address is the one dialled.
Whatever is not allowed gets one and the same answer, so that nothing can be learned from the refusals.
"""

from __future__ import annotations

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

SUBMISSION_PORTS = frozenset({25, 465, 587, 2465, 2525, 2587})

# The standard library's ``is_global`` is no guard: Python 3.11 calls 224.0.0.1, ff02::1, ::127.0.0.1,
# 64:ff9b::a9fe:a9fe and 2002:a9fe:a9fe::1 global. So the table is our own (IANA special-purpose registries).
_IPV4_REFUSED = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # "this network", RFC 791
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # shared behind carrier NAT, RFC 6598; some clouds keep their metadata here
        "127.0.0.0/8",  # loopback, RFC 1122
        "168.63.129.16/32",  # Azure's host agent: looks public, answers inside only
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
_IPV6_PUBLIC = IPv6Network("2000::/3")  # all that IANA has given out as global unicast
_IPV6_REFUSED = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking, RFC 2928
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4 carries an IPv4 address within, RFC 3056
        "2620:4f:8000::/48",  # AS112, RFC 7534
        "3ffe::/16",  # the former 6bone, RFC 3701
        "3fff::/20",  # documentation, RFC 9637
    )
)

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # what getaddrinfo would read as part of an IPv4 address
_HOST_LIMIT = 253  # octets of a name in text form, RFC 1035 section 2.3.4


class HostError(ValueError):
    """The text is no host name; the message is one plain sentence for the person who typed it."""


@dataclass(frozen=True)
class PrivateTarget:
    """A network and port the operator allows although it is not public."""

    network: IPv4Network | IPv6Network
    port: int
    plaintext: bool = False  # may the conversation go unencrypted?


@dataclass(frozen=True)
class HostOverride:
    """A name and port the operator sends elsewhere, as curl's --connect-to does: TLS still wants the name.

    Its target is private, and encrypted always. A name with a detour goes nowhere else: its other ports are
    closed, so that nothing meant for the detour reaches the real server.
    """

    host: str  # canonical
    port: int
    address: IPAddress
    target_port: int


@dataclass(frozen=True)
class EgressPolicy:
    """Where a conversation may go. ``ca_file`` is trusted too, towards private targets only."""

    ports: frozenset[int] = SUBMISSION_PORTS
    private: tuple[PrivateTarget, ...] = ()
    ca_file: str | None = None
    host_overrides: tuple[HostOverride, ...] = ()

    def overrides_for(self, host: str) -> tuple[HostOverride, ...]:
        """Return every detour of a name; none: it is looked up and dialled. Raises HostError."""
        if not self.host_overrides:
            return ()
        name = canonical_host(host)
        return tuple(detour for detour in self.host_overrides if detour.host == name)


def canonical_host(text: str) -> str:
    """Return the one spelling of a host: lower case, A-labels, no trailing dot, or an IP address's own text.

    Raises HostError with a sentence for whatever is not a plain host name.
    """
    typed = text.strip()
    _refuse_what_is_no_host(typed)
    literal = _ip_literal(typed)
    if literal is not None:
        return str(literal)
    if ":" in typed:
        raise HostError("Enter the host name alone; the port has its own field.")
    return _canonical_name(typed)


def _refuse_what_is_no_host(typed: str) -> None:
    if not typed:
        raise HostError("Enter the name of the SMTP server.")
    if any(unicodedata.category(c)[0] == "C" for c in typed):
        raise HostError("The host name contains an invisible character; type it again by hand.")
    if any(c.isspace() for c in typed):
        raise HostError("A host name contains no spaces.")
    if any(c in typed for c in "/\\?#"):
        raise HostError("Enter a host name such as smtp.example.com, not a web address.")
    if "@" in typed:
        raise HostError("Enter a host name such as smtp.example.com, not an email address.")
    if "_" in typed:
        raise HostError("A host name contains no underscore.")


def _ip_literal(typed: str) -> IPAddress | None:
    bracketed = typed.startswith("[") and typed.endswith("]")
    inner = typed[1:-1] if bracketed else typed
    if not inner.isascii() or "%" in inner:  # a zone (RFC 4007) names one of our own interfaces
        return None
    try:
        return ip_address(inner)
    except ValueError:
        return None


def _canonical_name(typed: str) -> str:
    name = unicodedata.normalize("NFKC", typed).replace("\u3002", ".").lower().removesuffix(".")
    if "" in name.split("."):
        raise HostError("The host name has two dots in a row, or begins or ends with one.")
    labels = [_canonical_label(label) for label in name.split(".")]
    # The resolver reads 127.1, 0x7f.1, 2130706433 and circled digits as IPv4 addresses; names never end so.
    if _NUMBER.fullmatch(labels[-1]):
        raise HostError("This is neither a host name nor a complete IP address.")
    canonical = ".".join(labels)
    if len(canonical) > _HOST_LIMIT:
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
    """Return whether an address belongs to the public internet, by our own table."""
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _IPV4_REFUSED)
    if address.scope_id is not None or address not in _IPV6_PUBLIC:
        return False
    return not any(address in block for block in _IPV6_REFUSED)


def find_private_target(address: IPAddress, port: int, policy: EgressPolicy) -> PrivateTarget | None:
    """Return what the operator allowed for this address and port: its CA file and plaintext hang on it.

    A target that permits plaintext wins over one that does not.
    """
    matches = [t for t in policy.private if t.port == port and _within(address, t.network)]
    return max(matches, key=lambda target: target.plaintext, default=None)


def is_private_target(address: IPAddress, port: int, policy: EgressPolicy) -> bool:
    """Return whether the operator allowed this address and port by name."""
    return find_private_target(address, port, policy) is not None


def permits_plaintext(address: IPAddress, port: int, policy: EgressPolicy) -> bool:
    """Return whether a conversation with this address may go unencrypted."""
    target = find_private_target(address, port, policy)
    return target is not None and target.plaintext


def _within(address: IPAddress, network: IPv4Network | IPv6Network) -> bool:
    return address.version == network.version and address in network


def target_refused() -> SubmissionFailure:
    """Return the one answer to every target we do not dial: port, address, name form or encryption alike."""
    return SubmissionFailure(Stage.RESOLVE, Reason.TARGET_REFUSED)


def resolve_allowed(
    host: str, port: int, policy: EgressPolicy, timeout: float, *, plaintext: bool = False
) -> tuple[IPAddress, ...]:
    """Return the addresses that may be dialled, in the resolver's order; the name is looked up exactly once.

    ``timeout`` in seconds bounds the look-up. With ``plaintext`` every address must be one towards which the
    operator permits unencrypted conversations. Raises SubmissionFailure at the stage RESOLVE.
    """
    if not _port_may_be_dialled(port, policy, plaintext):
        raise target_refused()
    try:
        name = canonical_host(host)
    except HostError:
        raise target_refused() from None
    detours = policy.overrides_for(name)
    if detours and plaintext:
        raise target_refused()
    if detours:
        return tuple(dict.fromkeys(detour.address for detour in detours))
    literal = _ip_literal(name)
    addresses = (literal,) if literal is not None else _look_up(name, timeout)
    # One address that is not allowed condemns the name: a mixed answer is how rebinding attacks begin.
    if not all(_allowed(address, port, policy, plaintext) for address in addresses):
        raise target_refused()
    return addresses


def _port_may_be_dialled(port: int, policy: EgressPolicy, plaintext: bool) -> bool:
    if any(target.port == port and (target.plaintext or not plaintext) for target in policy.private):
        return True
    return port in policy.ports and not plaintext


def _allowed(address: IPAddress, port: int, policy: EgressPolicy, plaintext: bool) -> bool:
    if plaintext:
        return permits_plaintext(address, port, policy)
    if is_private_target(address, port, policy):
        return True
    return port in policy.ports and is_public(address)


def _look_up(name: str, timeout: float) -> tuple[IPAddress, ...]:
    """Ask the system's resolver within ``timeout`` seconds.

    ``getaddrinfo`` is used, and not a DNS library, so that /etc/hosts, search lists and split-horizon
    resolvers mean the same here as everywhere else on the machine. It cannot be interrupted, hence the worker
    thread: one that outlives its time is abandoned and ends by itself when the resolver gives up.
    """
    answers: queue.SimpleQueue[tuple[IPAddress, ...] | Reason] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_ask(name)), name="smtp-look-up", daemon=True).start()
    try:
        answer = answers.get(timeout=max(timeout, 0.001))
    except queue.Empty:
        answer = Reason.NAME_UNANSWERED
    if isinstance(answer, Reason):
        raise SubmissionFailure(Stage.RESOLVE, answer, evidence={"host": name})
    return answer


def _ask(name: str) -> tuple[IPAddress, ...] | Reason:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        addresses = dict.fromkeys(ip_address(entry[4][0]) for entry in found)
    except socket.gaierror as error:
        unknown = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        return Reason.NAME_UNKNOWN if unknown else Reason.NAME_UNANSWERED
    except (OSError, ValueError):
        return Reason.NAME_UNANSWERED
    return tuple(addresses) or Reason.NAME_UNKNOWN
