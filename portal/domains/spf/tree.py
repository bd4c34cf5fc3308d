"""SPF record as a tree of all terms and included records, with the number of DNS lookups in the worst case.

A receiver stops at the first matching term. For a sender that matches none it evaluates all terms, so the tree counts
all of them.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from .evaluate import (
    MAX_LOOKUPS,
    MAX_VOID_LOOKUPS,
    SpfResult,
    SpfTempError,
    check_host,
    fetch_record,
    is_full_name,
    sender_identity,
)
from .record import LOOKUP_TERMS, InvalidSpf, Network, Qualifier, SpfRecord, Term, is_spf, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..resolver import Resolver

_MAX_RECORDS = 40  # followed in one tree
_MAX_SHOWN_CHARS = 600
_MAX_SHOWN_TERMS = 60  # of one record


@dataclass
class TermNode:
    """One term, and the record that it includes or redirects to."""

    term: Term
    note: str = ""
    child: RecordNode | None = None

    @property
    def costs_lookup(self) -> bool:
        return self.term.kind in LOOKUP_TERMS


@dataclass
class RecordNode:
    """The record of one domain. ``problem`` is why receivers reject it, ``unanswered`` that its lookup failed."""

    domain: str
    text: str = ""
    nodes: list[TermNode] = field(default_factory=list)
    problem: str = ""
    unanswered: bool = False

    def walk(self) -> Iterator[RecordNode]:
        """Yield this record and all records below it."""
        yield self
        for node in self.nodes:
            if node.child:
                yield from node.child.walk()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for the page and the command, limited in size."""
        return {
            "domain": self.domain,
            "record": self.text[:_MAX_SHOWN_CHARS],
            "trouble": self.problem,
            "silent": self.unanswered,
            "terms": [
                {
                    "text": node.term.text[:120],
                    "asks": node.costs_lookup,
                    "note": node.note,
                    "branch": node.child.as_dict() if node.child else None,
                }
                for node in self.nodes[:_MAX_SHOWN_TERMS]
            ],
        }


@dataclass
class SpfTree:
    """SPF of a domain. ``records`` are the SPF records published at the domain itself."""

    domain: str
    root: RecordNode | None = None
    records: tuple[str, ...] = ()
    lookups: int = 0
    void_lookups: int = 0

    @property
    def problem(self) -> str:
        """Why receivers reject the record as a whole, or an empty string."""
        problem = next((one.problem for one in self.root.walk() if one.problem), "") if self.root else ""
        if problem:
            return problem
        if self.lookups > MAX_LOOKUPS:
            return (
                f"It needs {self.lookups} DNS look-ups, and receivers stop after {MAX_LOOKUPS}. "
                "They then treat the whole record as invalid."
            )
        if self.void_lookups > MAX_VOID_LOOKUPS:
            return f"{self.void_lookups} of its DNS look-ups find no record, and receivers allow {MAX_VOID_LOOKUPS}."
        return ""

    @property
    def unanswered_domain(self) -> str:
        """The first domain whose lookup failed, or an empty string."""
        return next((one.domain for one in self.root.walk() if one.unanswered), "") if self.root else ""

    @property
    def ending(self) -> Qualifier | None:
        """The qualifier of ``all``, which applies to all other senders. Redirects are followed."""
        record = self.root
        while record is not None:
            for node in record.nodes:
                if node.term.kind == "all":
                    return node.term.qualifier
            last = record.nodes[-1] if record.nodes else None
            record = last.child if last and last.term.kind == "redirect" else None
        return None

    def includes(self, names: Sequence[str]) -> str:
        """Return which of the names the record includes or redirects to with a pass, or an empty string."""
        wanted = {name.lower() for name in names}
        for node in self._all_nodes():
            passes = node.term.kind in ("include", "redirect") and node.term.qualifier is Qualifier.PASS
            if passes and node.term.domain.lower().rstrip(".") in wanted:
                return node.term.domain.lower().rstrip(".")
        return ""

    @property
    def uses_ptr(self) -> bool:
        return any(node.term.kind == "ptr" for node in self._all_nodes())

    def _all_nodes(self) -> Iterator[TermNode]:
        records = self.root.walk() if self.root else iter(())
        return (node for record in records for node in record.nodes)


def build_tree(resolver: Resolver, domain: str) -> SpfTree:
    """Build the tree of a domain's SPF record. Raises nothing."""
    answer = resolver.query(domain, "TXT")
    tree = SpfTree(domain, records=tuple(text for text in answer.records if is_spf(text)))
    if not answer.answered:
        tree.root = RecordNode(domain, unanswered=True)
    elif tree.records:
        tree.root = _TreeBuilder(resolver, tree).build(domain, ())
    return tree


@dataclass
class _TreeBuilder:
    resolver: Resolver
    tree: SpfTree
    record_count: int = 0

    def build(self, domain: str, parents: tuple[str, ...]) -> RecordNode:
        """Return the record of a domain with everything below it. ``parents`` are the domains that lead to it."""
        self.record_count += 1
        try:
            text = fetch_record(self.resolver, domain)
            if text is None:
                return RecordNode(domain, problem=f"{domain} has no SPF record, yet the record leads there.")
            record = parse(text)
        except SpfTempError:
            return RecordNode(domain, unanswered=True)
        except InvalidSpf as error:
            problem = f"At {domain}: {error}" if parents else str(error)
            return RecordNode(domain, self._text(domain), problem=problem)
        self._prefetch(record, domain)
        node = RecordNode(domain, text)
        node.nodes = [self._term_node(term, domain, (*parents, domain)) for term in record.terms]
        return node

    def _text(self, domain: str) -> str:
        return next((one for one in self.resolver.query(domain, "TXT").records if is_spf(one)), "")

    def _prefetch(self, record: SpfRecord, domain: str) -> None:
        """Send the queries for all terms of a record in parallel."""
        kinds = {"include": "TXT", "redirect": "TXT", "a": "A", "mx": "MX", "exists": "A"}
        terms = [term for term in record.terms if term.kind in kinds and "%" not in term.domain]
        self.resolver.query_all((term.domain or domain, kinds[term.kind]) for term in terms[:20])

    def _term_node(self, term: Term, domain: str, parents: tuple[str, ...]) -> TermNode:
        node = TermNode(term)
        if not node.costs_lookup:
            return node
        self.tree.lookups += 1
        target = (term.domain or domain).rstrip(".").lower()
        if "%" in target:
            node.note = "depends on the message, so it cannot be looked up beforehand"
        elif term.kind in ("include", "redirect"):
            self._follow(node, target, parents)
        elif term.kind == "ptr":
            node.note = "slow and unreliable; RFC 7208 asks not to use it"
        else:
            self._count_void(node, target)
        return node

    def _follow(self, node: TermNode, target: str, parents: tuple[str, ...]) -> None:
        if target in parents:
            node.child = RecordNode(target, problem=f"The record of {parents[-1]} leads back to {target}.")
        elif self.record_count >= _MAX_RECORDS:
            node.note = "not followed: there are too many already"
        else:
            node.child = self.build(target, parents)

    def _count_void(self, node: TermNode, target: str) -> None:
        answer = self.resolver.query(target, "MX" if node.term.kind == "mx" else "A")
        is_void = answer.is_void and not (
            node.term.kind == "a" and self.resolver.query(target, "AAAA").records
        )
        self.tree.void_lookups += is_void
        if is_void:
            node.note = "finds nothing"
        elif not answer.answered:
            node.note = "could not be looked up just now"


class CoverageLevel(StrEnum):
    """Whether a record allows a provider's servers to send."""

    YES = "yes"
    PARTLY = "partly"  # only some of the provider's addresses
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Coverage:
    """How a record covers a provider: the matching ``include``, and the worst result for the sampled addresses."""

    level: CoverageLevel
    include: str = ""
    result: SpfResult | None = None


def check_coverage(resolver: Resolver, tree: SpfTree, includes: Sequence[str]) -> Coverage:
    """Evaluate the record as a receiver does, for sample addresses that the provider publishes."""
    include = tree.includes(includes)
    if not includes:
        return Coverage(CoverageLevel.UNKNOWN)
    samples = _sample_addresses(resolver, include or includes[0])
    if not samples:
        return Coverage(CoverageLevel.YES if include and not tree.problem else CoverageLevel.UNKNOWN, include)
    results = [_evaluate(resolver, address, tree.domain) for address in samples]
    if SpfResult.TEMPERROR in results:
        return Coverage(CoverageLevel.UNKNOWN, include, SpfResult.TEMPERROR)
    passed = results.count(SpfResult.PASS)
    worst = next((one for one in results if one is not SpfResult.PASS), SpfResult.PASS)
    level = (
        CoverageLevel.YES if passed == len(results) else CoverageLevel.PARTLY if passed else CoverageLevel.NO
    )
    return Coverage(level, include, worst)


def _evaluate(resolver: Resolver, address: str, domain: str) -> SpfResult:
    return check_host(resolver, sender_identity(address, f"info@{domain}", domain))


def _sample_addresses(resolver: Resolver, include: str) -> list[str]:
    """Return addresses of the first, middle and last IPv4 network of a provider, and of its first IPv6 network."""
    found: list[Network] = []
    _collect_networks(resolver, include, found, depth=0)
    ipv4: list[Network] = [one for one in found if one.version == 4]
    ipv6: list[Network] = [one for one in found if one.version == 6]
    positions = sorted({0, len(ipv4) // 2, len(ipv4) - 1}) if ipv4 else []
    return [str(_first_host(one)) for one in [*(ipv4[at] for at in positions), *ipv6[:1]]]


def _first_host(network: Network) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return network[1] if network.num_addresses > 2 else network[0]


def _collect_networks(resolver: Resolver, domain: str, found: list[Network], depth: int) -> None:
    if depth > 6 or len(found) > 200 or not is_full_name(domain):
        return
    try:
        text = fetch_record(resolver, domain)
        terms = parse(text).terms if text else ()
    except (InvalidSpf, SpfTempError):
        return
    for term in terms:
        if term.qualifier is not Qualifier.PASS or "%" in term.domain:
            continue
        if term.network is not None:
            found.append(term.network)
        elif term.kind in ("include", "redirect"):
            _collect_networks(resolver, term.domain, found, depth + 1)
        elif term.kind == "a":
            found += [ipaddress.ip_network(one) for one in resolver.query(term.domain or domain, "A").records]
