"""Reading an SPF record by the grammar of RFC 7208 section 12; nothing is looked up here."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_VERSION = re.compile(r"v=spf1(?: |$)", re.IGNORECASE)
_MODIFIER = re.compile(r"([a-z][a-z0-9._-]*)=(.*)", re.IGNORECASE | re.DOTALL)
_DIRECTIVE = re.compile(r"([+?~-])?([a-z0-9]+)(.*)", re.IGNORECASE | re.DOTALL)
_EXPAND = r"%(?:\{[slodiphv][0-9]*r?[.\-+,/_=]*\}|%|_|-)"
_MACRO_STRING = re.compile(rf"(?:{_EXPAND}|[\x21-\x24\x26-\x7e])*", re.IGNORECASE)
_EXPLAIN_STRING = re.compile(
    r"(?:%(?:\{[slodiphcrtv][0-9]*r?[.\-+,/_=]*\}|%|_|-)|[\x21-\x24\x26-\x7e])*", re.IGNORECASE
)
_END_MACRO = re.compile(rf"{_EXPAND}\Z", re.IGNORECASE)
_TOP = re.compile(
    r"\.(?:[a-z0-9]*[a-z][a-z0-9]*|[a-z0-9]+-[a-z0-9-]*[a-z0-9])\.?\Z", re.IGNORECASE
)  # section 7.1, toplabel
_DUAL_CIDR = re.compile(r"(?:/(0|[1-9]\d?))?(?://(0|[1-9]\d{0,2}))?\Z")
_DOTTED = re.compile(r"\d{1,3}(\.\d{1,3}){3}\Z")
ASKING = frozenset(
    {"include", "a", "mx", "ptr", "exists", "redirect"}
)  # what counts towards the ten look-ups


class Qualifier(StrEnum):
    PASS = "+"
    NEUTRAL = "?"
    SOFTFAIL = "~"
    FAIL = "-"


class BadSpf(ValueError):
    """A record that receivers refuse as a whole (permerror); the message is for the domain's owner."""


@dataclass(frozen=True)
class Term:
    """One mechanism or modifier. ``domain`` may hold macros; it is empty where the term names none."""

    text: str
    kind: str
    qualifier: Qualifier = Qualifier.PASS
    domain: str = ""
    network: Network | None = None
    cidr4: int = 32
    cidr6: int = 128


@dataclass(frozen=True)
class Record:
    """A record that can be read."""

    text: str
    mechanisms: tuple[Term, ...]
    redirect: Term | None = None

    @property
    def terms(self) -> tuple[Term, ...]:
        """Return what a receiver may have to look at: a redirect counts for nothing beside ``all``."""
        closed = any(term.kind == "all" for term in self.mechanisms)
        return self.mechanisms if closed or self.redirect is None else (*self.mechanisms, self.redirect)


def is_spf(text: str) -> bool:
    """Whether a TXT record is an SPF record (section 4.5)."""
    return _VERSION.match(text) is not None


def parse(text: str) -> Record:
    """Read a record. Raises BadSpf with the term at fault."""
    if not text.isascii():
        raise BadSpf("The record holds letters beyond plain ASCII.")
    mechanisms: list[Term] = []
    modifiers: dict[str, Term] = {}
    for word in filter(None, text[6:].split(" ")):
        term = _term(word)
        if term.kind not in ("redirect", "exp", "modifier"):
            mechanisms.append(term)
        elif term.kind in modifiers:
            raise BadSpf(f"{term.kind}= stands twice.")
        elif term.kind != "modifier":
            modifiers[term.kind] = term
    return Record(text, tuple(mechanisms), modifiers.get("redirect"))


def _term(word: str) -> Term:
    if found := _MODIFIER.fullmatch(word):
        return _modifier(word, found[1].lower(), found[2])
    if not (found := _DIRECTIVE.fullmatch(word)):
        raise _bad(word, "it is no term of SPF")
    kind, rest = found[2].lower(), found[3]
    read = _READERS.get(kind)
    if read is None:
        raise _bad(word, f"SPF knows no {kind!r}")
    return read(word, kind, Qualifier(found[1] or "+"), rest)


def _modifier(word: str, name: str, value: str) -> Term:
    if name in ("redirect", "exp"):
        return Term(word, name, domain=_domain(word, value))
    if not _EXPLAIN_STRING.fullmatch(value):
        raise _bad(word, "its value is not written as SPF demands")
    return Term(word, "modifier")


def _all(word: str, kind: str, qualifier: Qualifier, rest: str) -> Term:
    if rest:
        raise _bad(word, "nothing may follow all")
    return Term(word, kind, qualifier)


def _with_domain(word: str, kind: str, qualifier: Qualifier, rest: str) -> Term:
    if not rest.startswith(":"):
        raise _bad(word, f"{kind} needs a colon and a domain")
    return Term(word, kind, qualifier, _domain(word, rest[1:]))


def _ptr(word: str, kind: str, qualifier: Qualifier, rest: str) -> Term:
    return _with_domain(word, kind, qualifier, rest) if rest else Term(word, kind, qualifier)


def _address(word: str, kind: str, qualifier: Qualifier, rest: str) -> Term:
    cidr = _DUAL_CIDR.search(rest)
    domain = rest[: cidr.start()] if cidr else rest
    four, six = (int(cidr[1] or 32), int(cidr[2] or 128)) if cidr else (32, 128)
    if cidr and cidr[1] == "0":
        four = 0
    if cidr and cidr[2] == "0":
        six = 0
    if four > 32 or six > 128:
        raise _bad(word, "the number behind the slash is too large")
    if domain and not domain.startswith(":"):
        raise _bad(word, f"only a colon or a slash may follow {kind}")
    return Term(word, kind, qualifier, _domain(word, domain[1:]) if domain else "", cidr4=four, cidr6=six)


def _network(word: str, kind: str, qualifier: Qualifier, rest: str) -> Term:
    address, slash, length = rest[1:].partition("/")
    known = _ip(kind, address) if rest.startswith(":") else None
    most = 32 if kind == "ip4" else 128
    if known is None or (slash and not re.fullmatch(r"0|[1-9]\d{0,2}", length)):
        raise _bad(word, f"{kind} needs an IP address of that kind")
    if slash and int(length) > most:
        raise _bad(word, "the number behind the slash is too large")
    network = ipaddress.ip_network(f"{known}/{length or most}", strict=False)
    return Term(word, kind, qualifier, network=network)


def _ip(kind: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        if kind == "ip4":
            return ipaddress.IPv4Address(text) if _DOTTED.match(text) else None
        return ipaddress.IPv6Address(text) if "%" not in text else None
    except ValueError:
        return None


def _domain(word: str, spec: str) -> str:
    """Check a domain-spec: macros and visible letters, ending in a top label or a macro (section 7.1)."""
    if not spec:
        raise _bad(word, "the domain is missing")
    if not _MACRO_STRING.fullmatch(spec):
        raise _bad(word, "its domain is not written as SPF demands")
    if not (_TOP.search(spec[-80:]) or _END_MACRO.search(spec)):  # no name ends in a longer label
        why = "an IP address belongs behind ip4:" if _DOTTED.match(spec) else "this is no full domain name"
        raise _bad(word, why)
    if re.search(r"%\{[a-z]0+r?[^0-9}]*\}", spec, re.IGNORECASE):
        raise _bad(word, "a macro cannot keep zero parts")
    return spec


def _bad(word: str, why: str) -> BadSpf:
    return BadSpf(f"“{word[:80]}” cannot be read: {why}.")


_READERS = {
    "all": _all,
    "include": _with_domain,
    "exists": _with_domain,
    "ptr": _ptr,
    "a": _address,
    "mx": _address,
    "ip4": _network,
    "ip6": _network,
}
