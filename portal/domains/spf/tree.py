"""An SPF record as a tree: everything a receiver may have to look up, whether it stops early or not.

A receiver stops at the first term that fits; whoever fits nothing meets every term. So the tree counts the worst case.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from .evaluate import LOOK_UPS, VOIDS, Result, TempError, check_host, envelope, is_full_name, record_of
from .record import ASKING, BadSpf, Network, Qualifier, Record, Term, is_spf, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..resolver import Asker

_BRANCHES = 40  # looked into, however many there are
_SHOWN = 600  # letters of a record
_TERMS = 60  # shown of one record


@dataclass
class Leaf:
    """One term, and the record it leads to."""

    term: Term
    note: str = ""
    branch: Branch | None = None

    @property
    def asks(self) -> bool:
        return self.term.kind in ASKING


@dataclass
class Branch:
    """One domain's record. ``trouble`` is why receivers refuse it; ``silent`` that it could not be looked up."""

    domain: str
    text: str = ""
    leaves: list[Leaf] = field(default_factory=list)
    trouble: str = ""
    silent: bool = False

    def walk(self) -> Iterator[Branch]:
        yield self
        for leaf in self.leaves:
            if leaf.branch:
                yield from leaf.branch.walk()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, bounded, for the page and the command."""
        return {
            "domain": self.domain,
            "record": self.text[:_SHOWN],
            "trouble": self.trouble,
            "silent": self.silent,
            "terms": [
                {
                    "text": leaf.term.text[:120],
                    "asks": leaf.asks,
                    "note": leaf.note,
                    "branch": leaf.branch.as_dict() if leaf.branch else None,
                }
                for leaf in self.leaves[:_TERMS]
            ],
        }


@dataclass
class Tree:
    """What a domain's SPF comes to. ``records`` are the SPF records found at the domain itself."""

    domain: str
    root: Branch | None = None
    records: tuple[str, ...] = ()
    look_ups: int = 0
    voids: int = 0

    @property
    def trouble(self) -> str:
        """Why receivers refuse the record as a whole, or an empty text."""
        own = next((one.trouble for one in self.root.walk() if one.trouble), "") if self.root else ""
        if own:
            return own
        if self.look_ups > LOOK_UPS:
            return (
                f"It takes {self.look_ups} look-ups, and receivers stop after {LOOK_UPS}: "
                "then the whole record counts as broken."
            )
        if self.voids > VOIDS:
            return f"{self.voids} of its look-ups find nothing, and receivers allow {VOIDS}."
        return ""

    @property
    def silent(self) -> str:
        """A domain that could not be looked up, or an empty text."""
        return next((one.domain for one in self.root.walk() if one.silent), "") if self.root else ""

    @property
    def ending(self) -> Qualifier | None:
        """What is said of everybody else: the qualifier of ``all``, followed through redirects."""
        branch = self.root
        while branch is not None:
            for leaf in branch.leaves:
                if leaf.term.kind == "all":
                    return leaf.term.qualifier
            last = branch.leaves[-1] if branch.leaves else None
            branch = last.branch if last and last.term.kind == "redirect" else None
        return None

    def includes(self, names: Sequence[str]) -> str:
        """Return which of the names is included, or the record is redirected to; an empty text if none."""
        wanted = {name.lower() for name in names}
        branches = self.root.walk() if self.root else iter(())
        for leaf in (leaf for branch in branches for leaf in branch.leaves):
            good = leaf.term.kind in ("include", "redirect") and leaf.term.qualifier is Qualifier.PASS
            if good and leaf.term.domain.lower().rstrip(".") in wanted:
                return leaf.term.domain.lower().rstrip(".")
        return ""

    @property
    def uses_ptr(self) -> bool:
        branches = self.root.walk() if self.root else iter(())
        return any(leaf.term.kind == "ptr" for branch in branches for leaf in branch.leaves)


def survey(asker: Asker, domain: str) -> Tree:
    """Follow a domain's record to its ends. Raises nothing."""
    found = asker.ask(domain, "TXT")
    tree = Tree(domain, records=tuple(text for text in found.records if is_spf(text)))
    if not found.looked:
        tree.root = Branch(domain, silent=True)
    elif tree.records:
        tree.root = _Survey(asker, tree).branch(domain, ())
    return tree


@dataclass
class _Survey:
    asker: Asker
    tree: Tree
    branches: int = 0

    def branch(self, domain: str, above: tuple[str, ...]) -> Branch:
        self.branches += 1
        try:
            text = record_of(self.asker, domain)
            if text is None:
                return Branch(domain, trouble=f"{domain} has no SPF record, yet the record leads there.")
            record = parse(text)
        except TempError:
            return Branch(domain, silent=True)
        except BadSpf as bad:
            return Branch(domain, self._text(domain), trouble=f"At {domain}: {bad}" if above else str(bad))
        self._fetch(record, domain)
        branch = Branch(domain, text)
        branch.leaves = [self._leaf(term, domain, (*above, domain)) for term in record.terms]
        return branch

    def _text(self, domain: str) -> str:
        return next((one for one in self.asker.ask(domain, "TXT").records if is_spf(one)), "")

    def _fetch(self, record: Record, domain: str) -> None:
        """Ask for everything the record names at once."""
        kinds = {"include": "TXT", "redirect": "TXT", "a": "A", "mx": "MX", "exists": "A"}
        known = [term for term in record.terms if term.kind in kinds and "%" not in term.domain]
        self.asker.ask_all((term.domain or domain, kinds[term.kind]) for term in known[:20])

    def _leaf(self, term: Term, domain: str, above: tuple[str, ...]) -> Leaf:
        leaf = Leaf(term)
        if not leaf.asks:
            return leaf
        self.tree.look_ups += 1
        target = (term.domain or domain).rstrip(".").lower()
        if "%" in target:
            leaf.note = "depends on the message, so it cannot be looked up beforehand"
        elif term.kind in ("include", "redirect"):
            self._follow(leaf, target, above)
        elif term.kind == "ptr":
            leaf.note = "slow and unreliable; RFC 7208 asks not to use it"
        else:
            self._probe(leaf, target)
        return leaf

    def _follow(self, leaf: Leaf, target: str, above: tuple[str, ...]) -> None:
        if target in above:
            leaf.branch = Branch(
                target, trouble=f"The record of {above[-1]} leads back to {target}: a circle."
            )
        elif self.branches >= _BRANCHES:
            leaf.note = "not followed: there are too many already"
        else:
            leaf.branch = self.branch(target, above)

    def _probe(self, leaf: Leaf, target: str) -> None:
        found = self.asker.ask(target, "MX" if leaf.term.kind == "mx" else "A")
        void = found.void and not (leaf.term.kind == "a" and self.asker.ask(target, "AAAA").records)
        self.tree.voids += void
        if void:
            leaf.note = "finds nothing"
        elif not found.looked:
            leaf.note = "could not be looked up just now"


class Cover(StrEnum):
    """Whether a record lets a provider's servers send."""

    YES = "yes"
    PARTLY = "partly"  # some of the provider's addresses
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Coverage:
    """``by`` is the include that does it; ``result`` is what a receiver says of one of the provider's addresses."""

    cover: Cover
    by: str = ""
    result: Result | None = None


def coverage(asker: Asker, tree: Tree, includes: Sequence[str]) -> Coverage:
    """Let a receiver judge addresses that the provider publishes, as if the mail came from them."""
    by = tree.includes(includes)
    if not includes:
        return Coverage(Cover.UNKNOWN)
    samples = _samples(asker, by or includes[0])
    if not samples:
        return Coverage(Cover.YES if by and not tree.trouble else Cover.UNKNOWN, by)
    results = [_ask_receiver(asker, address, tree.domain) for address in samples]
    if Result.TEMPERROR in results:
        return Coverage(Cover.UNKNOWN, by, Result.TEMPERROR)
    passed = results.count(Result.PASS)
    worst = next((one for one in results if one is not Result.PASS), Result.PASS)
    cover = Cover.YES if passed == len(results) else Cover.PARTLY if passed else Cover.NO
    return Coverage(cover, by, worst)


def _ask_receiver(asker: Asker, address: str, domain: str) -> Result:
    return check_host(asker, envelope(address, f"info@{domain}", domain))


def _samples(asker: Asker, include: str) -> list[str]:
    """Return a few addresses from the first, middle and last network that a provider publishes."""
    found: list[Network] = []
    _networks(asker, include, found, depth=0)
    four: list[Network] = [one for one in found if one.version == 4]
    six: list[Network] = [one for one in found if one.version == 6]
    spread = sorted({0, len(four) // 2, len(four) - 1}) if four else []
    return [str(_inside(one)) for one in [*(four[at] for at in spread), *six[:1]]]


def _inside(network: Network) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return network[1] if network.num_addresses > 2 else network[0]


def _networks(asker: Asker, domain: str, found: list[Network], depth: int) -> None:
    if depth > 6 or len(found) > 200 or not is_full_name(domain):
        return
    try:
        text = record_of(asker, domain)
        terms = parse(text).terms if text else ()
    except (BadSpf, TempError):
        return
    for term in terms:
        if term.qualifier is not Qualifier.PASS or "%" in term.domain:
            continue
        if term.network is not None:
            found.append(term.network)
        elif term.kind in ("include", "redirect"):
            _networks(asker, term.domain, found, depth + 1)
        elif term.kind == "a":
            found += [ipaddress.ip_network(one) for one in asker.ask(term.domain or domain, "A").records]
