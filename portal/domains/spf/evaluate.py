"""SPF evaluation (RFC 7208): check_host for one sender address, with the lookup limits of section 4.6.4.

The explanation of ``exp=`` is never fetched: it is meant for the rejected sender only.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote

from .record import InvalidSpf, Qualifier, SpfRecord, Term, is_spf, parse

if TYPE_CHECKING:
    from ..resolver import DnsAnswer, Resolver

MAX_LOOKUPS = 10  # terms that cause DNS queries, section 4.6.4
MAX_VOID_LOOKUPS = 2  # lookups without any record, section 4.6.4
_MAX_NAME_CHARS = 253
_MAX_NAMES = 10  # mail exchangers of one mx term, names of one ptr term
_MACRO = re.compile(r"%(?:\{([a-z])([0-9]*)(r?)([.\-+,/_=]*)\}|([%_-]))", re.IGNORECASE)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class SpfResult(StrEnum):
    """Result of check_host (section 2.6)."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


_QUALIFIER_RESULTS = {
    Qualifier.PASS: SpfResult.PASS,
    Qualifier.NEUTRAL: SpfResult.NEUTRAL,
    Qualifier.SOFTFAIL: SpfResult.SOFTFAIL,
    Qualifier.FAIL: SpfResult.FAIL,
}


class SpfTempError(Exception):
    """A DNS query failed, so there is no result (temperror)."""


@dataclass(frozen=True)
class SenderIdentity:
    """The sender of a message as a receiver sees it: IP address, envelope sender and HELO name."""

    address: Address
    local: str
    domain: str
    helo: str

    @property
    def sender(self) -> str:
        return f"{self.local}@{self.domain}"


def sender_identity(address: str, mailbox: str, helo: str) -> SenderIdentity:
    """Return a sender identity. Without an envelope sender it is postmaster at the HELO name (section 2.4)."""
    local, _, domain = (mailbox or f"postmaster@{helo}").rpartition("@")
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return SenderIdentity(mapped or parsed, local or "postmaster", domain, helo)


def check_host(resolver: Resolver, sender: SenderIdentity) -> SpfResult:
    """Return the result that a receiver gets for a sender (section 4)."""
    if not is_full_name(sender.domain):
        return SpfResult.NONE
    try:
        return _Evaluation(resolver, sender).run(sender.domain)
    except InvalidSpf:
        return SpfResult.PERMERROR
    except SpfTempError:
        return SpfResult.TEMPERROR


def is_full_name(domain: str) -> bool:
    """Whether a domain has at least two labels, each of valid length (section 4.3)."""
    labels = domain.rstrip(".").split(".")
    return len(labels) > 1 and all(0 < len(label) < 64 for label in labels) and "[" not in domain


def fetch_record(resolver: Resolver, domain: str) -> str | None:
    """Return the SPF record of a domain, or None. Raises InvalidSpf if there are several, and SpfTempError."""
    answer = resolver.query(domain, "TXT")
    if not answer.answered:
        raise SpfTempError(domain)
    records = [text for text in answer.records if is_spf(text)]
    if len(records) > 1:
        raise InvalidSpf(f"{domain} has {len(records)} SPF records; receivers then ignore them all.")
    return records[0] if records else None


@dataclass
class _Evaluation:
    """One evaluation, with its lookups as counted against the limits."""

    resolver: Resolver
    sender: SenderIdentity
    lookups: int = 0
    void_lookups: int = 0
    _macro_p_value: str | None = field(default=None)

    def run(self, domain: str) -> SpfResult:
        text = fetch_record(self.resolver, domain)
        if text is None:
            return SpfResult.NONE
        record = parse(text)
        for term in record.mechanisms:
            if self._matches(term, domain):
                return _QUALIFIER_RESULTS[term.qualifier]
        return self._redirect(record, domain)

    def _redirect(self, record: SpfRecord, domain: str) -> SpfResult:
        if record.redirect is None:
            return SpfResult.NEUTRAL
        self._count_lookup()
        target = self._expand(record.redirect.domain, domain)
        result = self.run(target)
        if result is SpfResult.NONE:
            raise InvalidSpf(f"redirect={target} leads to a domain without SPF record.")
        return result

    def _matches(self, term: Term, domain: str) -> bool:
        if term.kind == "all":
            return True
        if term.network is not None:
            return self.sender.address in term.network
        self._count_lookup()
        target = self._expand(term.domain, domain) if term.domain else domain
        if term.kind == "include":
            return self._matches_include(target)
        if term.kind == "a":
            return self._in_network(term, self._addresses(target, count_void=True))
        if term.kind == "mx":
            return self._matches_mx(term, target)
        if term.kind == "exists":
            return bool(self._query(target, "A", count_void=True).records)
        return any(_is_same_or_subdomain(name, target) for name in self._validated_names())  # ptr

    def _count_lookup(self) -> None:
        self.lookups += 1
        if self.lookups > MAX_LOOKUPS:
            raise InvalidSpf(f"It needs more than {MAX_LOOKUPS} DNS look-ups.")

    def _matches_include(self, target: str) -> bool:
        result = self.run(target)
        if result is SpfResult.NONE:
            raise InvalidSpf(f"include:{target} names a domain without SPF record.")
        return result is SpfResult.PASS

    def _matches_mx(self, term: Term, target: str) -> bool:
        answer = self._query(target, "MX", count_void=True)
        hosts = [record.partition(" ")[2] for record in answer.records]
        if len(hosts) > _MAX_NAMES:
            raise InvalidSpf(f"{target} has more than {_MAX_NAMES} mail exchangers.")
        return any(self._in_network(term, self._addresses(host)) for host in hosts if host != ".")

    def _query(self, name: str, kind: str, *, count_void: bool = False) -> DnsAnswer:
        answer = self.resolver.query(name, kind)
        if not answer.answered:
            raise SpfTempError(name)
        if count_void and answer.is_void:
            self.void_lookups += 1
            if self.void_lookups > MAX_VOID_LOOKUPS:
                raise InvalidSpf(f"More than {MAX_VOID_LOOKUPS} of its DNS look-ups find no record.")
        return answer

    def _addresses(self, name: str, *, count_void: bool = False) -> list[Address]:
        answer = self._query(name, self._address_kind, count_void=count_void)
        return [ipaddress.ip_address(one) for one in answer.records]

    @property
    def _address_kind(self) -> str:
        return "A" if self.sender.address.version == 4 else "AAAA"

    def _in_network(self, term: Term, addresses: list[Address]) -> bool:
        length = term.cidr4 if self.sender.address.version == 4 else term.cidr6
        networks = (ipaddress.ip_network(f"{address}/{length}", strict=False) for address in addresses)
        return any(self.sender.address in network for network in networks)

    def _validated_names(self) -> list[str]:
        """Return the names of the address from its PTR records that resolve back to it. Errors are skipped (section 5.5)."""
        reverse = self.resolver.query(self.sender.address.reverse_pointer, "PTR")
        names = []
        for name in reverse.records[:_MAX_NAMES]:
            answer = self.resolver.query(name, self._address_kind)
            if str(self.sender.address) in [str(ipaddress.ip_address(one)) for one in answer.records]:
                names.append(name)
        return names

    def _expand(self, spec: str, domain: str) -> str:
        """Expand the macros of a domain-spec (section 7). A name that is too long loses its leftmost labels."""
        name = _MACRO.sub(lambda found: self._macro(found, domain), spec).rstrip(".")
        return _shorten(name)

    def _macro(self, found: re.Match[str], domain: str) -> str:
        if found[5]:
            return {"%": "%", "_": " ", "-": "%20"}[found[5]]
        value = self._value(found[1].lower(), domain)
        if found[2] or found[3] or found[4]:
            parts = re.split(f"[{re.escape(found[4] or '.')}]", value)
            if found[3]:
                parts.reverse()
            value = ".".join(parts[-int(found[2]) :] if found[2] else parts)
        return quote(value, safe="-._~") if found[1].isupper() else value

    def _value(self, letter: str, domain: str) -> str:
        sender = self.sender
        if letter == "p":
            return self._macro_p(domain)
        if letter == "i":
            four = sender.address.version == 4
            return str(sender.address) if four else ".".join(sender.address.exploded.replace(":", ""))
        return {
            "s": sender.sender,
            "l": sender.local,
            "o": sender.domain,
            "d": domain,
            "h": sender.helo,
            "v": "in-addr" if sender.address.version == 4 else "ip6",
        }[letter]

    def _macro_p(self, domain: str) -> str:
        """Return the validated name of the address, preferably one at or below the domain (section 7.3)."""
        if self._macro_p_value is None:
            names = self._validated_names()
            best = [name for name in names if name.lower() == domain.lower()]
            best += [name for name in names if _is_same_or_subdomain(name, domain)]
            self._macro_p_value = next(iter(best + names), "unknown")
        return self._macro_p_value


def _shorten(name: str) -> str:
    """Return a name without as many of its leftmost labels as it takes to fit the DNS."""
    if len(name) <= _MAX_NAME_CHARS:
        return name
    dot = name.find(".", len(name) - _MAX_NAME_CHARS - 1)
    return name[dot + 1 :] if dot != -1 else name.rpartition(".")[2]


def _is_same_or_subdomain(name: str, domain: str) -> bool:
    name, domain = name.lower().rstrip("."), domain.lower().rstrip(".")
    return name == domain or name.endswith(f".{domain}")
