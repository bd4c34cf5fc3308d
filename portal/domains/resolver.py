"""DNS resolver for sending domains, with limits on time, on the number of queries and on the size of answers.

Every answer has a status, because a name server that does not answer must not be taken for a missing record.
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
import dns.resolver
from dns.exception import DNSException, Timeout
from dns.nameserver import Do53Nameserver
from dns.resolver import NXDOMAIN, Answer, NoAnswer, NoNameservers, NoResolverConfiguration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dns.rdata import Rdata

    from ..smtp.network.dns import Nameserver

QUERY_TIMEOUT_S = 4.0  # for one query, all name servers together
TOTAL_TIMEOUT_S = 25.0  # for all queries of one domain check
MAX_QUERIES = 160  # of one domain check; a regular domain with long chains needs about forty
_MAX_RECORDS = 64  # of one answer
_MAX_RECORD_CHARS = 4096
_MAX_CACHED_ANSWERS = 2000  # in this process
_MAX_TTL_S = 300.0  # upper limit of the time in the cache
# Suffixes of private networks (RFC 6761, 6762, 7686, 8375, 9476, and others in use). They are never queried: otherwise
# a record could be used to find out which names exist behind the operator's firewall.
_PRIVATE_SUFFIXES = frozenset(
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


class LookupStatus(StrEnum):
    """Outcome of one DNS query."""

    FOUND = "found"
    NO_RECORDS = "no-records"  # the name exists, but has no record of this type
    NO_NAME = "no-name"  # the name does not exist (NXDOMAIN)
    SERVER_ERROR = "server-error"  # a name server answered with an error
    TIMEOUT = "timeout"  # no name server answered in time
    CNAME_LOOP = "cname-loop"
    PRIVATE = "private"  # a name of a private network: not queried, and treated as nonexistent
    LIMIT_REACHED = "limit-reached"  # no queries left for this check


@dataclass(frozen=True)
class DnsAnswer:
    """Answer to one query. The strings of a TXT record are joined; an MX record is ``10 mail.example.org``."""

    name: str
    kind: str
    status: LookupStatus
    records: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()  # targets of the CNAMEs that were followed, in order
    ttl_s: int = 0
    truncated: bool = False  # the answer exceeded the size limits

    @property
    def answered(self) -> bool:
        """Whether it is known which records exist, even if none does."""
        return self.status in (
            LookupStatus.FOUND,
            LookupStatus.NO_RECORDS,
            LookupStatus.NO_NAME,
            LookupStatus.PRIVATE,
        )

    @property
    def is_void(self) -> bool:
        """Whether no record exists (a void lookup, RFC 7208 section 4.6.4)."""
        return self.answered and self.status is not LookupStatus.FOUND


class _Cache:
    """Answers of this process until they expire. When it is full, the oldest are removed. Thread-safe."""

    def __init__(self) -> None:
        self._answers: OrderedDict[object, tuple[float, DnsAnswer]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: object) -> DnsAnswer | None:
        with self._lock:
            until, found = self._answers.get(key, (0.0, None))
        return found if until > time.monotonic() else None

    def put(self, key: object, found: DnsAnswer) -> None:
        if not found.answered:
            return
        with self._lock:
            self._answers[key] = (time.monotonic() + min(found.ttl_s, _MAX_TTL_S), found)
            self._answers.move_to_end(key)
            while len(self._answers) > _MAX_CACHED_ANSWERS:
                self._answers.popitem(last=False)


_cache = _Cache()


@dataclass
class Resolver:
    """Resolver of one domain check. Names at or below ``uncached_domain`` bypass the cache of the process."""

    nameservers: Sequence[Nameserver] = ()
    timeout_s: float = QUERY_TIMEOUT_S
    uncached_domain: str = ""
    max_queries: int = MAX_QUERIES
    total_timeout_s: float = TOTAL_TIMEOUT_S
    query_count: int = 0
    _answers: dict[tuple[str, str], DnsAnswer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.total_timeout_s
        self._resolver: dns.resolver.Resolver | None = None
        try:
            self._resolver = dns.resolver.Resolver(configure=not self.nameservers)
        except (NoResolverConfiguration, OSError):
            return  # no name server is known: every query times out
        if self.nameservers:
            self._resolver.nameservers = [Do53Nameserver(one.address, one.port) for one in self.nameservers]
        self._resolver.timeout = self.timeout_s / 2  # per server, so that a second one is tried
        self._resolver.use_edns(0, 0, 1232)

    def query(self, name: str, kind: str) -> DnsAnswer:
        """Return the answer to one query. Raises nothing: a failure is a status of the answer."""
        name = name.rstrip(".").lower()
        key = (name, kind)
        if key not in self._answers:
            self._answers[key] = self._look_up(name, kind)
        return self._answers[key]

    def query_all(self, queries: Iterable[tuple[str, str]]) -> None:
        """Send several queries in parallel and keep their answers, so that a slow server delays the check once."""
        unique = list(dict.fromkeys(queries))
        if unique:
            with ThreadPoolExecutor(min(8, len(unique)), thread_name_prefix="domain-lookup") as threads:
                list(threads.map(lambda one: self.query(*one), unique))

    def _look_up(self, name: str, kind: str) -> DnsAnswer:
        target = _dns_name(name)
        if target is None:
            return DnsAnswer(name, kind, LookupStatus.NO_NAME)
        remaining_s = self._deadline - time.monotonic()
        if not is_public(name):
            return DnsAnswer(name, kind, LookupStatus.PRIVATE)
        if self.query_count >= self.max_queries:
            return DnsAnswer(name, kind, LookupStatus.LIMIT_REACHED)
        if remaining_s <= 0 or self._resolver is None:
            return DnsAnswer(name, kind, LookupStatus.TIMEOUT)
        key = (tuple(self.nameservers), name, kind)
        answer = (
            None if self.uncached_domain and _at_or_below(name, self.uncached_domain) else _cache.get(key)
        )
        if answer is None:
            self.query_count += 1
            answer = _resolve(self._resolver, target, name, kind, min(self.timeout_s, remaining_s))
            _cache.put(key, answer)
        return answer


def is_public(name: str) -> bool:
    """Whether a name can exist in the public DNS, so that querying it reveals nothing about a private network."""
    labels = name.lower().rstrip(".").split(".")
    is_private = labels[-1] in _PRIVATE_SUFFIXES or labels[-2:] == ["home", "arpa"]
    return len(labels) > 1 and not is_private and not labels[-1].isdigit()


def _at_or_below(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


def _dns_name(name: str) -> dns.name.Name | None:
    """Return a name for the query, or None if it is not a valid name. Escapes in labels are not interpreted."""
    try:
        return dns.name.Name([label.encode("latin-1") for label in name.split(".")] + [b""])
    except (DNSException, UnicodeEncodeError):
        return None


def _resolve(
    resolver: dns.resolver.Resolver, target: dns.name.Name, name: str, kind: str, timeout_s: float
) -> DnsAnswer:
    empty = DnsAnswer(name, kind, LookupStatus.NO_RECORDS, ttl_s=60)
    try:
        return _parse_answer(resolver.resolve(target, kind, lifetime=timeout_s, search=False), empty)
    except NoAnswer as error:
        return replace(empty, aliases=_aliases(error.kwargs.get("response")))
    except NXDOMAIN as error:
        responses = error.kwargs.get("responses") or {}
        return replace(empty, status=LookupStatus.NO_NAME, aliases=_aliases(responses.get(target)))
    except Timeout:
        return replace(empty, status=LookupStatus.TIMEOUT)
    except NoNameservers as error:
        return replace(empty, status=_error_status(error))
    except (DNSException, OSError, ValueError):  # ValueError: an inconsistent answer
        return replace(empty, status=LookupStatus.SERVER_ERROR)


def _parse_answer(answer: Answer, empty: DnsAnswer) -> DnsAnswer:
    texts = sorted(_text(record) for record in list(answer)[:_MAX_RECORDS])  # servers rotate the order
    truncated = len(answer) > _MAX_RECORDS or any(len(text) > _MAX_RECORD_CHARS for text in texts)
    return replace(
        empty,
        status=LookupStatus.FOUND,
        records=tuple(text[:_MAX_RECORD_CHARS] for text in texts),
        aliases=_aliases(answer.response),
        ttl_s=int(answer.rrset.ttl) if answer.rrset else 0,
        truncated=truncated,
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


def _error_status(error: NoNameservers) -> LookupStatus:
    errors = [one[3] for one in error.kwargs.get("errors") or ()]
    if any(isinstance(one, dns.message.ChainTooLong) for one in errors):
        return LookupStatus.CNAME_LOOP
    return (
        LookupStatus.TIMEOUT
        if errors and all(isinstance(one, Timeout) for one in errors)
        else LookupStatus.SERVER_ERROR
    )
