"""DMARC policy discovery: the policy of a domain and its organizational domain (RFC 9989).

The organizational domain is found by a DNS tree walk of at most eight queries, without a list of public suffixes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from .resolver import LookupStatus, Resolver

_MAX_QUERIES = (
    8  # of one tree walk; longer names are shortened to their last seven labels after the first query
)
_VERSION = re.compile(r"v\s*=\s*DMARC1\s*(?:;|$)")
_REMOVED_TAGS = ("pct", "rf", "ri")


class DmarcPolicy(StrEnum):
    """What receivers are asked to do with email that fails DMARC."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


_TESTING_POLICY = {  # t=y: receivers apply the next weaker policy
    DmarcPolicy.REJECT: DmarcPolicy.QUARANTINE,
    DmarcPolicy.QUARANTINE: DmarcPolicy.NONE,
    DmarcPolicy.NONE: DmarcPolicy.NONE,
}


@dataclass(frozen=True)
class DmarcRecord:
    """A DMARC record. ``problems`` are sentences about the parts that receivers ignore."""

    text: str
    p: DmarcPolicy
    sp: DmarcPolicy
    np: DmarcPolicy
    strict_spf: bool
    strict_dkim: bool
    psd: str
    testing: bool
    problems: tuple[str, ...] = ()


@dataclass
class PolicyLookup:
    """Result of one tree walk. ``steps`` are the queried names with a description of the answer."""

    domain: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    records: dict[str, DmarcRecord] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)  # names with several records, which receivers ignore
    malformed: list[tuple[str, str]] = field(default_factory=list)
    unanswered_name: str = ""  # the first name whose query failed

    @property
    def organization(self) -> str:
        """The organizational domain (section 4.10.2)."""
        for domain, record in self.records.items():  # from the longest name up
            if record.psd == "n":
                return domain
            if record.psd == "y" and domain != self.domain:
                return self._below(domain)
        return min(self.records, key=lambda name: name.count("."), default=self.domain)

    def _below(self, domain: str) -> str:
        """Return the name one label below ``domain`` on the way to the looked-up domain."""
        label = self.domain.removesuffix(f".{domain}").split(".")[-1]
        return f"{label}.{domain}"

    @property
    def policy_domain(self) -> str:
        """The domain whose record applies (section 4.10.1): its own, the organizational one or the public suffix."""
        public_suffixes = [name for name, record in self.records.items() if record.psd == "y"]
        for domain in (self.domain, self.organization, *public_suffixes):
            if domain in self.records:
                return domain
        return ""

    @property
    def record(self) -> DmarcRecord | None:
        return self.records.get(self.policy_domain)

    def policy(self, *, exists: bool = True) -> DmarcPolicy | None:
        """Return the policy for email from the domain, or None if none is published.

        ``exists``: whether the domain exists in the DNS; for nonexistent subdomains the np= tag applies.
        """
        record = self.record
        if record is None:
            return None
        policy = record.p if self.policy_domain == self.domain else record.sp if exists else record.np
        return _TESTING_POLICY[policy] if record.testing else policy


def look_up_policy(resolver: Resolver, domain: str) -> PolicyLookup:
    """Walk up the DNS tree from a domain. Raises nothing."""
    lookup = PolicyLookup(domain)
    names = _tree_names(domain)
    resolver.query_all((f"_dmarc.{name}", "TXT") for name in names)
    for name in names:
        record = _query_name(resolver, lookup, name)
        if record is not None and record.psd in ("y", "n"):
            break
    return lookup


def _tree_names(domain: str) -> list[str]:
    labels = domain.split(".")
    names = [domain]
    labels = labels[1:] if len(labels) < _MAX_QUERIES else labels[-(_MAX_QUERIES - 1) :]
    while labels and len(names) < _MAX_QUERIES:
        names.append(".".join(labels))
        labels = labels[1:]
    return names


def _query_name(resolver: Resolver, lookup: PolicyLookup, name: str) -> DmarcRecord | None:
    answer = resolver.query(f"_dmarc.{name}", "TXT")
    if not answer.answered:
        lookup.unanswered_name = lookup.unanswered_name or name
        lookup.steps.append((f"_dmarc.{name}", "could not be looked up"))
        return None
    texts = [text for text in answer.records if _VERSION.match(text)]
    lookup.malformed += [(name, text) for text in answer.records if _is_malformed(text)]
    if len(texts) > 1:
        lookup.duplicates.append(name)
    record = parse(texts[0]) if len(texts) == 1 else None
    description = f"{len(texts)} records, so none counts" if len(texts) > 1 else "no policy"
    if answer.status is LookupStatus.NO_NAME and not texts:
        description = "nothing"
    lookup.steps.append((f"_dmarc.{name}", record.text[:300] if record else description))
    if record is not None:
        lookup.records[name] = record
    return record


def _is_malformed(text: str) -> bool:
    return "dmarc" in text.lower()[:20] and not _VERSION.match(text)


def parse(text: str) -> DmarcRecord:
    """Parse a record as receivers do: unknown and unreadable tags are ignored."""
    tags: dict[str, str] = {}
    problems: list[str] = []
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if part.strip() and not equals:
            problems.append(f"“{part.strip()[:40]}” has no value.")
        elif equals:
            tags.setdefault(name.strip().lower(), value.strip())
    p = _parse_policy(tags, "p", problems)
    sp = _parse_policy(tags, "sp", problems) or p
    problems += [f"{name}= was removed from DMARC and is ignored." for name in _REMOVED_TAGS if name in tags]
    if "p" not in tags:
        problems.append("p= is missing, so it counts as p=none.")
    return DmarcRecord(
        text=text,
        p=p or DmarcPolicy.NONE,
        sp=sp or DmarcPolicy.NONE,
        np=_parse_policy(tags, "np", problems) or sp or DmarcPolicy.NONE,
        strict_spf=tags.get("aspf", "").lower() == "s",
        strict_dkim=tags.get("adkim", "").lower() == "s",
        psd=tags.get("psd", "u").lower(),
        testing=tags.get("t", "").lower() == "y",
        problems=tuple(problems),
    )


def _parse_policy(tags: dict[str, str], name: str, problems: list[str]) -> DmarcPolicy | None:
    value = tags.get(name)
    if value is None:
        return None
    try:
        return DmarcPolicy(value.lower())
    except ValueError:
        problems.append(f"{name}={value[:30]} is no policy; it counts as none.")
        return DmarcPolicy.NONE
