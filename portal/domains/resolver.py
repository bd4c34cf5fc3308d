"""Asking the domain name system about a sending domain: bounded in time, number and size, and never guessing.

A name server that does not answer is not a domain without records, so every answer says which of the two it is.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING

import dns.message
import dns.name
from dns.exception import DNSException, Timeout
from dns.nameserver import Do53Nameserver
from dns.resolver import NXDOMAIN, Answer, NoAnswer, NoNameservers, NoResolverConfiguration, Resolver

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dns.rdata import Rdata

    from ..smtp.network.dns import Nameserver

QUESTION_SECONDS = 4.0  # for one question, all name servers together
RUN_SECONDS = 25.0  # for everything one look at a domain asks
QUESTIONS = 160  # of one look; an honest domain with long chains needs about forty
_RECORDS = 64  # kept of one answer
_LETTERS = 4096  # kept of one record
_KEPT = 2000  # answers in the cache of this process
_LONGEST = 300.0  # seconds an answer is kept at most, whatever its time to live says
# Names that mean something inside a network only (RFC 6761, 6762, 7686, 8375, 9476, and what is in use): a record
# could otherwise make us ask the operator's resolver what exists behind its firewall.
_INSIDE = frozenset(
    [
        "local",
        "localhost",
        "internal",
        "intranet",
        "lan",
        "home",
        "corp",
        "private",
        "onion",
        "alt",
        "localdomain",
        "workgroup",
    ]
)


class Status(StrEnum):
    """What became of one question."""

    FOUND = "found"
    EMPTY = "empty"  # the name exists, but has no record of this type
    NO_NAME = "no-name"  # the name does not exist
    BROKEN = "broken"  # a name server answered with an error
    SILENT = "silent"  # nobody answered in time
    LOOP = "loop"  # aliases that lead to one another
    INSIDE = "inside"  # a name of some inner network, so not asked: outside it does not exist
    TOO_MANY = "too-many"  # this look has asked enough


@dataclass(frozen=True)
class Found:
    """The answer to one question. TXT records are joined; an MX is ``10 mail.example.org``."""

    name: str
    kind: str
    status: Status
    records: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()  # the targets of CNAMEs on the way, in order
    seconds: int = 0  # to live
    cut: bool = False  # more was said than is kept

    @property
    def looked(self) -> bool:
        """Whether the question was answered at all, be it by *there is none*."""
        return self.status in (Status.FOUND, Status.EMPTY, Status.NO_NAME, Status.INSIDE)

    @property
    def void(self) -> bool:
        """Whether the answer is *there is none* (a void look-up, RFC 7208 section 4.6.4)."""
        return self.looked and self.status is not Status.FOUND


class _Cache:
    """Answers of this process until they expire; the oldest go first when there are too many."""

    def __init__(self) -> None:
        self._kept: OrderedDict[object, tuple[float, Found]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: object) -> Found | None:
        with self._lock:
            until, found = self._kept.get(key, (0.0, None))
        return found if until > time.monotonic() else None

    def put(self, key: object, found: Found) -> None:
        if not found.looked:
            return
        with self._lock:
            self._kept[key] = (time.monotonic() + min(found.seconds, _LONGEST), found)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


_cache = _Cache()


@dataclass
class Asker:
    """Asks for one look at one domain. Names at or below ``fresh`` are asked anew, whatever is still cached."""

    nameservers: Sequence[Nameserver] = ()
    seconds: float = QUESTION_SECONDS
    fresh: str = ""
    limit: int = QUESTIONS
    run_seconds: float = RUN_SECONDS
    asked: int = 0
    _memory: dict[tuple[str, str], Found] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.run_seconds
        self._resolver: Resolver | None = None
        try:
            self._resolver = Resolver(configure=not self.nameservers)
        except (NoResolverConfiguration, OSError):
            return  # nobody to ask, which is said as nobody answering
        if self.nameservers:
            self._resolver.nameservers = [Do53Nameserver(one.address, one.port) for one in self.nameservers]
        self._resolver.timeout = self.seconds / 2  # of one server, so that a second one has its turn
        self._resolver.use_edns(0, 0, 1232)

    def ask(self, name: str, kind: str) -> Found:
        """Ask one question. Raises nothing: whatever goes wrong is an answer, too."""
        name = name.rstrip(".").lower()
        key = (name, kind)
        if key not in self._memory:
            self._memory[key] = self._from_afar(name, kind)
        return self._memory[key]

    def ask_all(self, questions: Iterable[tuple[str, str]]) -> None:
        """Ask several questions at once, so that their answers are at hand and a slow server costs time once."""
        wanted = list(dict.fromkeys(questions))
        if wanted:
            with ThreadPoolExecutor(min(8, len(wanted)), thread_name_prefix="domain-look-up") as threads:
                list(threads.map(lambda one: self.ask(*one), wanted))

    def _from_afar(self, name: str, kind: str) -> Found:
        target = _dns_name(name)
        if target is None:
            return Found(name, kind, Status.NO_NAME)
        left = self._until - time.monotonic()
        if not is_public(name):
            return Found(name, kind, Status.INSIDE)
        if self.asked >= self.limit:
            return Found(name, kind, Status.TOO_MANY)
        if left <= 0 or self._resolver is None:
            return Found(name, kind, Status.SILENT)
        key = (tuple(self.nameservers), name, kind)
        kept = None if self.fresh and _at_or_below(name, self.fresh) else _cache.get(key)
        if kept is None:
            self.asked += 1
            kept = _resolve(self._resolver, target, name, kind, min(self.seconds, left))
            _cache.put(key, kept)
        return kept


def is_public(name: str) -> bool:
    """Whether a name may exist in the public domain name system, so that asking for it tells nobody's secrets."""
    labels = name.lower().rstrip(".").split(".")
    inner = labels[-1] in _INSIDE or labels[-2:] == ["home", "arpa"]
    return len(labels) > 1 and not inner and not labels[-1].isdigit()


def _at_or_below(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


def _dns_name(name: str) -> dns.name.Name | None:
    """Return a name for the wire, None for what can be no name. Labels are taken as they are, never unescaped."""
    try:
        return dns.name.Name([label.encode("latin-1") for label in name.split(".")] + [b""])
    except (DNSException, UnicodeEncodeError):
        return None


def _resolve(resolver: Resolver, target: dns.name.Name, name: str, kind: str, seconds: float) -> Found:
    nothing = Found(name, kind, Status.EMPTY, seconds=60)
    try:
        return _read(resolver.resolve(target, kind, lifetime=seconds, search=False), nothing)
    except NoAnswer as none:
        return replace(nothing, aliases=_aliases(none.kwargs.get("response")))
    except NXDOMAIN as none:
        responses = none.kwargs.get("responses") or {}
        return replace(nothing, status=Status.NO_NAME, aliases=_aliases(responses.get(target)))
    except Timeout:
        return replace(nothing, status=Status.SILENT)
    except NoNameservers as trouble:
        return replace(nothing, status=_why(trouble))
    except (DNSException, OSError, ValueError):  # ValueError: an answer that contradicts itself
        return replace(nothing, status=Status.BROKEN)


def _read(answer: Answer, nothing: Found) -> Found:
    texts = sorted(_text(record) for record in list(answer)[:_RECORDS])  # servers shuffle them
    cut = len(answer) > _RECORDS or any(len(text) > _LETTERS for text in texts)
    return replace(
        nothing,
        status=Status.FOUND,
        records=tuple(text[:_LETTERS] for text in texts),
        aliases=_aliases(answer.response),
        seconds=int(answer.rrset.ttl) if answer.rrset else 0,
        cut=cut,
    )


def _text(record: Rdata) -> str:
    if hasattr(record, "strings"):
        return b"".join(record.strings).decode("latin-1")
    if hasattr(record, "exchange"):
        host = record.exchange.to_text(omit_final_dot=record.exchange != dns.name.root)
        return f"{getattr(record, 'preference', 0)} {host}"
    return str(record.to_text()).rstrip(".")


def _aliases(response: dns.message.Message | None) -> tuple[str, ...]:
    if not isinstance(response, dns.message.QueryMessage):
        return ()
    try:
        chain = response.resolve_chaining()
    except DNSException:
        return ()
    return tuple(one[0].target.to_text(omit_final_dot=True).lower() for one in chain.cnames)


def _why(trouble: NoNameservers) -> Status:
    errors = [one[3] for one in trouble.kwargs.get("errors") or ()]
    if any(isinstance(error, dns.message.ChainTooLong) for error in errors):
        return Status.LOOP
    return Status.SILENT if errors and all(isinstance(error, Timeout) for error in errors) else Status.BROKEN
