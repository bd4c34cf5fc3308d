"""Evaluating SPF as a receiver does (RFC 7208): check_host for one address, with the limits of section 4.6.4.

``exp=`` is read but never fetched: its text is a stranger's, and only meant for the one who was refused.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote

from .record import BadSpf, Qualifier, Record, Term, is_spf, parse

if TYPE_CHECKING:
    from ..resolver import Asker, Found

LOOK_UPS = 10  # terms that ask, section 4.6.4
VOIDS = 2  # of them answered by "there is none"
_NAMES = 10  # exchangers of one mx, names of one ptr
_MACRO = re.compile(r"%(?:\{([a-z])([0-9]*)(r?)([.\-+,/_=]*)\}|([%_-]))", re.IGNORECASE)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Result(StrEnum):
    """What check_host says (section 2.6)."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


_RESULTS = {
    Qualifier.PASS: Result.PASS,
    Qualifier.NEUTRAL: Result.NEUTRAL,
    Qualifier.SOFTFAIL: Result.SOFTFAIL,
    Qualifier.FAIL: Result.FAIL,
}


class TempError(Exception):
    """A name server did not answer; nothing is known."""


@dataclass
class Spent:
    """What an evaluation has used of its limits."""

    look_ups: int = 0
    voids: int = 0


@dataclass(frozen=True)
class Envelope:
    """From whom and from where a message comes, as a receiver sees it."""

    address: Address
    local: str
    domain: str
    helo: str

    @property
    def sender(self) -> str:
        return f"{self.local}@{self.domain}"


def envelope(address: str, mailbox: str, helo: str) -> Envelope:
    """Build an envelope; without a sender the greeting's name counts (section 2.4)."""
    local, _, domain = (mailbox or f"postmaster@{helo}").rpartition("@")
    found = ipaddress.ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return Envelope(mapped or found, local or "postmaster", domain, helo)


def check_host(asker: Asker, sent: Envelope, spent: Spent | None = None) -> Result:
    """Say what a receiver would. ``spent`` is filled with the look-ups it took."""
    if not is_full_name(sent.domain):
        return Result.NONE
    check = _Check(asker, sent, spent or Spent())
    try:
        return check.run(sent.domain)
    except BadSpf:
        return Result.PERMERROR
    except TempError:
        return Result.TEMPERROR


def is_full_name(domain: str) -> bool:
    """Whether a domain has at least two labels, each of a length that DNS allows (section 4.3)."""
    labels = domain.rstrip(".").split(".")
    return len(labels) > 1 and all(0 < len(label) < 64 for label in labels) and "[" not in domain


def record_of(asker: Asker, domain: str) -> str | None:
    """Return a domain's one record, None where it has none. Raises BadSpf for several, TempError."""
    found = asker.ask(domain, "TXT")
    if not found.looked:
        raise TempError(domain)
    records = [text for text in found.records if is_spf(text)]
    if len(records) > 1:
        raise BadSpf(f"{domain} has {len(records)} SPF records; receivers then ignore them all.")
    return records[0] if records else None


@dataclass
class _Check:
    asker: Asker
    sent: Envelope
    spent: Spent
    _validated: str | None = field(default=None)

    def run(self, domain: str) -> Result:
        text = record_of(self.asker, domain)
        if text is None:
            return Result.NONE
        record = parse(text)
        for term in record.mechanisms:
            if self._matches(term, domain):
                return _RESULTS[term.qualifier]
        return self._redirect(record, domain)

    def _redirect(self, record: Record, domain: str) -> Result:
        if record.redirect is None:
            return Result.NEUTRAL
        self._count()
        target = self._expand(record.redirect.domain, domain)
        result = self.run(target)
        if result is Result.NONE:
            raise BadSpf(f"redirect={target} leads to a domain without SPF record.")
        return result

    def _matches(self, term: Term, domain: str) -> bool:
        if term.kind == "all":
            return True
        if term.network is not None:
            return self.sent.address in term.network
        self._count()
        target = self._expand(term.domain, domain) if term.domain else domain
        match: bool = getattr(self, f"_{term.kind}")(term, target)
        return match

    def _count(self) -> None:
        self.spent.look_ups += 1
        if self.spent.look_ups > LOOK_UPS:
            raise BadSpf(f"It takes more than {LOOK_UPS} look-ups.")

    def _include(self, term: Term, target: str) -> bool:
        result = self.run(target)
        if result is Result.NONE:
            raise BadSpf(f"include:{target} names a domain without SPF record.")
        return result is Result.PASS

    def _a(self, term: Term, target: str) -> bool:
        return self._among(term, self._addresses(target, void=True))

    def _mx(self, term: Term, target: str) -> bool:
        found = self._ask(target, "MX")
        self._void(found)
        hosts = [record.partition(" ")[2] for record in found.records]
        if len(hosts) > _NAMES:
            raise BadSpf(f"{target} has more than {_NAMES} mail exchangers.")
        return any(self._among(term, self._addresses(host)) for host in hosts if host != ".")

    def _exists(self, term: Term, target: str) -> bool:
        found = self._ask(target, "A")
        self._void(found)
        return bool(found.records)

    def _ptr(self, term: Term, target: str) -> bool:
        return any(_below(name, target) for name in self._own_names())

    def _ask(self, name: str, kind: str) -> Found:
        found = self.asker.ask(name, kind)
        if not found.looked:
            raise TempError(name)
        return found

    def _void(self, found: Found) -> None:
        self.spent.voids += found.void
        if self.spent.voids > VOIDS:
            raise BadSpf(f"More than {VOIDS} of its look-ups find nothing.")

    def _addresses(self, name: str, *, void: bool = False) -> list[Address]:
        found = self._ask(name, "A" if self.sent.address.version == 4 else "AAAA")
        if void:
            self._void(found)
        return [ipaddress.ip_address(one) for one in found.records]

    def _among(self, term: Term, addresses: list[Address]) -> bool:
        length = term.cidr4 if self.sent.address.version == 4 else term.cidr6
        return any(
            self.sent.address in ipaddress.ip_network(f"{one}/{length}", strict=False) for one in addresses
        )

    def _own_names(self) -> list[str]:
        """Return the names that the address claims and that point back to it; errors are skipped (5.5)."""
        reverse = self.asker.ask(self.sent.address.reverse_pointer, "PTR")
        good = []
        for name in reverse.records[:_NAMES]:
            found = self.asker.ask(name, "A" if self.sent.address.version == 4 else "AAAA")
            if str(self.sent.address) in [str(ipaddress.ip_address(one)) for one in found.records]:
                good.append(name)
        return good

    def _expand(self, spec: str, domain: str) -> str:
        """Expand the macros of a domain-spec (section 7); what grows too long loses its leftmost labels."""
        name = _MACRO.sub(lambda found: self._macro(found, domain), spec).rstrip(".")
        while len(name) > 253 and "." in name:
            name = name.partition(".")[2]
        return name

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
        sent = self.sent
        if letter == "p":
            return self._claimed(domain)
        if letter == "i":
            four = sent.address.version == 4
            return str(sent.address) if four else ".".join(sent.address.exploded.replace(":", ""))
        return {
            "s": sent.sender,
            "l": sent.local,
            "o": sent.domain,
            "d": domain,
            "h": sent.helo,
            "v": "in-addr" if sent.address.version == 4 else "ip6",
        }[letter]

    def _claimed(self, domain: str) -> str:
        """Return the validated name of the address, one of the domain's own if there is any (section 7.3)."""
        if self._validated is None:
            names = self._own_names()
            best = [name for name in names if name.lower() == domain.lower()]
            best += [name for name in names if _below(name, domain)]
            self._validated = next(iter(best + names), "unknown")
        return self._validated


def _below(name: str, domain: str) -> bool:
    name, domain = name.lower().rstrip("."), domain.lower().rstrip(".")
    return name == domain or name.endswith(f".{domain}")
