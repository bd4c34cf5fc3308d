"""DMARC: which policy holds for a domain, and which domains count as its own (RFC 9989).

The organizational domain is found by walking up the tree of names, at most eight questions; no list of public
suffixes is needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from .resolver import Asker, Status

_MOST = 8  # questions of one walk, and labels of the longest name that is walked label by label
_VERSION = re.compile(r"v\s*=\s*DMARC1\s*(?:;|$)")
_REMOVED = ("pct", "rf", "ri")


class Policy(StrEnum):
    """What receivers are asked to do with mail that fails."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


_SOFTER = {Policy.REJECT: Policy.QUARANTINE, Policy.QUARANTINE: Policy.NONE, Policy.NONE: Policy.NONE}


@dataclass(frozen=True)
class Record:
    """A policy record. ``complaints`` are sentences about what receivers ignore."""

    text: str
    p: Policy
    sp: Policy
    np: Policy
    strict_spf: bool
    strict_dkim: bool
    psd: str
    testing: bool
    complaints: tuple[str, ...] = ()


@dataclass
class Walk:
    """One way up. ``steps`` are the questions asked: name, and what was found in words."""

    start: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)
    several: list[str] = field(
        default_factory=list
    )  # names with more than one record, which all count as none
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    silent: str = ""  # a name that could not be looked up

    @property
    def organization(self) -> str:
        """The organizational domain (section 4.10.2)."""
        for domain, record in self.records.items():  # from the longest name up
            if record.psd == "n":
                return domain
            if record.psd == "y" and domain != self.start:
                return self._below(domain)
        return min(self.records, key=lambda name: name.count("."), default=self.start)

    def _below(self, domain: str) -> str:
        more = self.start.removesuffix(f".{domain}").split(".")[-1]
        return f"{more}.{domain}"

    @property
    def at(self) -> str:
        """The domain whose record holds (section 4.10.1): its own, the organization's, or the public suffix's."""
        suffix = [name for name, record in self.records.items() if record.psd == "y"]
        for domain in (self.start, self.organization, *suffix):
            if domain in self.records:
                return domain
        return ""

    @property
    def record(self) -> Record | None:
        return self.records.get(self.at)

    def policy(self, exists: bool = True) -> Policy | None:
        """Return what holds for mail from the start of the walk, None where nobody publishes a policy."""
        record = self.record
        if record is None:
            return None
        policy = record.p if self.at == self.start else record.sp if exists else record.np
        return _SOFTER[policy] if record.testing else policy


def walk(asker: Asker, domain: str) -> Walk:
    """Walk up from a domain. Raises nothing."""
    way = Walk(domain)
    names = _names(domain)
    asker.ask_all((f"_dmarc.{name}", "TXT") for name in names)
    for name in names:
        record = _step(asker, way, name)
        if record is not None and record.psd in ("y", "n"):
            break
    return way


def _names(domain: str) -> list[str]:
    labels = domain.split(".")
    names = [domain]
    labels = labels[1:] if len(labels) < _MOST else labels[-(_MOST - 1) :]
    while labels and len(names) < _MOST:
        names.append(".".join(labels))
        labels = labels[1:]
    return names


def _step(asker: Asker, way: Walk, name: str) -> Record | None:
    found = asker.ask(f"_dmarc.{name}", "TXT")
    if not found.looked:
        way.silent = way.silent or name
        way.steps.append((f"_dmarc.{name}", "could not be looked up"))
        return None
    texts = [text for text in found.records if _VERSION.match(text)]
    way.unreadable += [(name, text) for text in found.records if _nearly(text)]
    if len(texts) > 1:
        way.several.append(name)
    record = parse(texts[0]) if len(texts) == 1 else None
    said = f"{len(texts)} records, so none counts" if len(texts) > 1 else "no policy"
    if found.status is Status.NO_NAME and not texts:
        said = "nothing"
    way.steps.append((f"_dmarc.{name}", record.text[:300] if record else said))
    if record is not None:
        way.records[name] = record
    return record


def _nearly(text: str) -> bool:
    return "dmarc" in text.lower()[:20] and not _VERSION.match(text)


def parse(text: str) -> Record:
    """Read a record as receivers do: what they do not know or cannot read they ignore."""
    tags: dict[str, str] = {}
    complaints: list[str] = []
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if part.strip() and not equals:
            complaints.append(f"“{part.strip()[:40]}” has no value.")
        elif equals:
            tags.setdefault(name.strip().lower(), value.strip())
    p = _policy(tags, "p", complaints)
    sp = _policy(tags, "sp", complaints) or p
    complaints += [f"{name}= was removed from DMARC and is ignored." for name in _REMOVED if name in tags]
    if "p" not in tags:
        complaints.append("p= is missing, so it counts as p=none.")
    return Record(
        text=text,
        p=p or Policy.NONE,
        sp=sp or Policy.NONE,
        np=_policy(tags, "np", complaints) or sp or Policy.NONE,
        strict_spf=tags.get("aspf", "").lower() == "s",
        strict_dkim=tags.get("adkim", "").lower() == "s",
        psd=tags.get("psd", "u").lower(),
        testing=tags.get("t", "").lower() == "y",
        complaints=tuple(complaints),
    )


def _policy(tags: dict[str, str], name: str, complaints: list[str]) -> Policy | None:
    value = tags.get(name)
    if value is None:
        return None
    try:
        return Policy(value.lower())
    except ValueError:
        complaints.append(f"{name}={value[:30]} is no policy; it counts as none.")
        return Policy.NONE
