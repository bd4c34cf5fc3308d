"""SPF record parser by the grammar of RFC 7208 section 12, without any DNS query."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_VERSION = re.compile(r"v=spf1(?: |$)", re.IGNORECASE)
_MODIFIER = re.compile(r"([a-z][a-z0-9._-]*)=(.*)", re.IGNORECASE | re.DOTALL)
_DIRECTIVE = re.compile(r"([+?~-])?([a-z0-9]++)(.*)", re.IGNORECASE | re.DOTALL)
_EXPAND = r"%(?:\{[slodiphv][0-9]*r?[.\-+,/_=]*\}|%|_|-)"
_MACRO_STRING = re.compile(rf"(?:{_EXPAND}|[\x21-\x24\x26-\x7e]++)*+", re.IGNORECASE)
_EXPLAIN_STRING = re.compile(
    r"(?:%(?:\{[slodiphcrtv][0-9]*r?[.\-+,/_=]*\}|%|_|-)|[\x21-\x24\x26-\x7e]++)*+", re.IGNORECASE
)
_END_MACRO = re.compile(rf"{_EXPAND}\Z", re.IGNORECASE)
_TOP_LABEL = re.compile(
    r"\.(?:[a-z0-9]*[a-z][a-z0-9]*|[a-z0-9]+-[a-z0-9-]*[a-z0-9])\.?\Z", re.IGNORECASE
)  # section 7.1, toplabel
_DUAL_CIDR = re.compile(r"(?:/(0|[1-9]\d?))?(?://(0|[1-9]\d{0,2}))?\Z")
_IPV4 = re.compile(r"\d{1,3}(\.\d{1,3}){3}\Z")
LOOKUP_TERMS = frozenset(
    {"include", "a", "mx", "ptr", "exists", "redirect"}
)  # terms that count towards the limit of ten lookups


class Qualifier(StrEnum):
    PASS = "+"
    NEUTRAL = "?"
    SOFTFAIL = "~"
    FAIL = "-"


class InvalidSpf(ValueError):
    """A record that receivers reject as a whole (permerror). The message is a sentence for the domain's owner."""


@dataclass(frozen=True)
class Term:
    """One mechanism or modifier. ``domain`` can contain macros and is empty if the term has none."""

    text: str
    kind: str
    qualifier: Qualifier = Qualifier.PASS
    domain: str = ""
    network: Network | None = None
    cidr4: int = 32
    cidr6: int = 128


@dataclass(frozen=True)
class SpfRecord:
    """A parsed SPF record."""

    text: str
    mechanisms: tuple[Term, ...]
    redirect: Term | None = None

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms that a receiver evaluates. A redirect is ignored beside ``all``."""
        has_all = any(term.kind == "all" for term in self.mechanisms)
        return self.mechanisms if has_all or self.redirect is None else (*self.mechanisms, self.redirect)


def is_spf(text: str) -> bool:
    """Whether a TXT record is an SPF record (section 4.5)."""
    return _VERSION.match(text) is not None


def parse(text: str) -> SpfRecord:
    """Parse a record. Raises InvalidSpf, which names the invalid term."""
    if not text.isascii():
        raise InvalidSpf("The record contains letters other than a to z.")
    mechanisms: list[Term] = []
    modifiers: dict[str, Term] = {}
    for word in filter(None, text[6:].split(" ")):
        term = _parse_term(word)
        if term.kind not in ("redirect", "exp", "modifier"):
            mechanisms.append(term)
        elif term.kind in modifiers:
            raise InvalidSpf(f"{term.kind}= occurs twice.")
        elif term.kind != "modifier":
            modifiers[term.kind] = term
    return SpfRecord(text, tuple(mechanisms), modifiers.get("redirect"))


def _parse_term(word: str) -> Term:
    if found := _MODIFIER.fullmatch(word):
        return _parse_modifier(word, found[1].lower(), found[2])
    if not (found := _DIRECTIVE.fullmatch(word)):
        raise _invalid_term(word, "it is no term of SPF")
    kind, rest = found[2].lower(), found[3]
    read = _MECHANISM_PARSERS.get(kind)
    if read is None:
        raise _invalid_term(word, f"SPF does not have {kind!r}")
    return read(word, kind, Qualifier(found[1] or "+"), rest)


def _parse_modifier(word: str, name: str, value: str) -> Term:
    if name in ("redirect", "exp"):
        return Term(word, name, domain=_check_domain_spec(word, value))
    if not _EXPLAIN_STRING.fullmatch(value):
        raise _invalid_term(word, "its value is not written as SPF demands")
    return Term(word, "modifier")


def _parse_all(word: str, kind: str, qualifier: Qualifier, rest: str) -> Term:
    if rest:
        raise _invalid_term(word, "nothing may follow all")
    return Term(word, kind, qualifier)


def _parse_domain_mechanism(word: str, kind: str, qualifier: Qualifier, rest: str) -> Term:
    if not rest.startswith(":"):
        raise _invalid_term(word, f"{kind} needs a colon and a domain")
    return Term(word, kind, qualifier, _check_domain_spec(word, rest[1:]))


def _parse_ptr(word: str, kind: str, qualifier: Qualifier, rest: str) -> Term:
    return _parse_domain_mechanism(word, kind, qualifier, rest) if rest else Term(word, kind, qualifier)


def _parse_a_or_mx(word: str, kind: str, qualifier: Qualifier, rest: str) -> Term:
    cidr = _DUAL_CIDR.search(rest)
    domain = rest[: cidr.start()] if cidr else rest
    four, six = (int(cidr[1] or 32), int(cidr[2] or 128)) if cidr else (32, 128)
    if cidr and cidr[1] == "0":
        four = 0
    if cidr and cidr[2] == "0":
        six = 0
    if four > 32 or six > 128:
        raise _invalid_term(word, "the number behind the slash is too large")
    if domain and not domain.startswith(":"):
        raise _invalid_term(word, f"only a colon or a slash may follow {kind}")
    return Term(
        word, kind, qualifier, _check_domain_spec(word, domain[1:]) if domain else "", cidr4=four, cidr6=six
    )


def _parse_network(word: str, kind: str, qualifier: Qualifier, rest: str) -> Term:
    address, slash, length = rest[1:].partition("/")
    known = _parse_ip(kind, address) if rest.startswith(":") else None
    most = 32 if kind == "ip4" else 128
    if known is None or (slash and not re.fullmatch(r"0|[1-9]\d{0,2}", length)):
        raise _invalid_term(word, f"{kind} needs an IP address of that kind")
    if slash and int(length) > most:
        raise _invalid_term(word, "the number behind the slash is too large")
    network = ipaddress.ip_network(f"{known}/{length or most}", strict=False)
    return Term(word, kind, qualifier, network=network)


def _parse_ip(kind: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        if kind == "ip4":
            return ipaddress.IPv4Address(text) if _IPV4.match(text) else None
        return ipaddress.IPv6Address(text) if "%" not in text else None
    except ValueError:
        return None


def _check_domain_spec(word: str, spec: str) -> str:
    """Check a domain-spec: macros and visible characters, ending in a top label or a macro (section 7.1)."""
    if not spec:
        raise _invalid_term(word, "the domain is missing")
    if not _MACRO_STRING.fullmatch(spec):
        raise _invalid_term(word, "its domain is not written as SPF demands")
    if not (_TOP_LABEL.search(spec[-80:]) or _END_MACRO.search(spec)):  # no name ends in a longer label
        why = "an IP address belongs behind ip4:" if _IPV4.match(spec) else "this is no full domain name"
        raise _invalid_term(word, why)
    if re.search(r"%\{[a-z]0+r?[^0-9}]*\}", spec, re.IGNORECASE):
        raise _invalid_term(word, "a macro cannot keep zero parts")
    return spec


def _invalid_term(word: str, why: str) -> InvalidSpf:
    return InvalidSpf(f"“{word[:80]}” cannot be read: {why}.")


_MECHANISM_PARSERS = {
    "all": _parse_all,
    "include": _parse_domain_mechanism,
    "exists": _parse_domain_mechanism,
    "ptr": _parse_ptr,
    "a": _parse_a_or_mx,
    "mx": _parse_a_or_mx,
    "ip4": _parse_network,
    "ip6": _parse_network,
}
