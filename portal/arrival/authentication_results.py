"""Authentication-Results (RFC 8601) and ARC-Authentication-Results (RFC 8617) of a received email.

Senders and relays write fields of the same form as the receiver. Only those count that the receiver wrote: by their place and
their authserv-id (``receiving_hosts.py``). Where no field is certainly the receiver's, its results are not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .headers import without_comments
from .receiving_hosts import receiving_hosts

if TYPE_CHECKING:
    from .headers import PastedHeaders

_RESULTS = "authentication-results"
_ARC_RESULTS = "arc-authentication-results"
_METHODS = frozenset({"spf", "dkim", "dmarc"})
_METHOD = re.compile(r"[a-z][a-z0-9-]{0,30}")
_INSTANCE = re.compile(r"i=(\d{1,3})")  # RFC 8617 section 4.2.1: 1 to 50
_MAX_SEGMENTS = 200


@dataclass(frozen=True)
class MethodResult:
    """One result: the method (``spf``), its result (``pass``), and its properties (``smtp.mailfrom``)."""

    method: str
    result: str
    properties: dict[str, str]

    @property
    def domain(self) -> str:
        """The domain that the result is about: of the envelope sender, the signature or the From field."""
        names = {"spf": ("smtp.mailfrom", "smtp.helo"), "dkim": ("header.d", "header.i")}.get(self.method)
        values = [self.properties.get(name, "") for name in names or ("header.from",)]
        value = next((one for one in values if one and one != "none"), "")
        return value.rpartition("@")[2].strip("<>.").lower()


@dataclass(frozen=True)
class ReceiverResults:
    """What the receiver wrote. ``receiver`` is its authserv-id, which Microsoft leaves out."""

    receiver: str
    results: tuple[MethodResult, ...]
    from_arc: bool = False

    def results_of(self, method: str) -> list[MethodResult]:
        """Return the results of a method; there is one for each DKIM signature."""
        return [one for one in self.results if one.method == method]


def receiver_results(headers: PastedHeaders) -> ReceiverResults | None:
    """Return the results of the last receiver, or None if none are certainly its own.

    Read are its Authentication-Results fields: receivers write one field for all methods, or one for each. Without any, it
    is the newest ARC-Authentication-Results field, if that is the receiver's.
    """
    return _own_fields(headers) or _newest_arc(headers)


def forwarders(headers: PastedHeaders) -> int:
    """Return how many servers sealed the message (ARC): forwarders, the receiver, and Microsoft 365 what its customers send."""
    return max((number for number, _ in _arc_instances(headers)), default=0)


def _own_fields(headers: PastedHeaders) -> ReceiverResults | None:
    hosts = receiving_hosts(headers)
    receiver: str | None = None
    results: list[MethodResult] = []
    for index, one in enumerate(headers.fields[: hosts.end]):
        if one.name != _RESULTS:
            continue
        name, found = parse(one.value)
        if not hosts.wrote(index, name):
            continue
        receiver = receiver if receiver is not None else name
        seen = {result.method for result in results}
        results += [result for result in found if result.method not in seen]  # the upper field counts
    # Without one of the methods it reports something else, such as auth=pass of the server to which it was submitted.
    is_about_sender = any(one.method in _METHODS for one in results)
    return ReceiverResults(receiver or "", tuple(results)) if is_about_sender else None


def _newest_arc(headers: PastedHeaders) -> ReceiverResults | None:
    """Return the results of the newest ARC set, if it is above every server that the message was received from.

    Microsoft 365 seals what its customers send, with a pass for each method, before it leaves: that is no receiver's result.
    """
    instances = sorted(_arc_instances(headers.before_received()), key=lambda one: -one[0])
    for _, value in instances[:1]:
        receiver, results = parse(value)
        if results:
            return ReceiverResults(receiver, tuple(results), from_arc=True)
    return None


def _arc_instances(headers: PastedHeaders) -> list[tuple[int, str]]:
    """Return instance number and remaining value of each ARC-Authentication-Results field."""
    found = []
    for value in headers.all(_ARC_RESULTS):
        instance, _, rest = value.partition(";")
        match = _INSTANCE.fullmatch("".join(instance.split()).lower())
        if match:
            found.append((int(match[1]), rest))
    return found


def parse(value: str) -> tuple[str, list[MethodResult]]:
    """Return the authserv-id and the results of one field. Segments without a method are left out.

    Microsoft writes no authserv-id, and the recipient's domain between the results.
    """
    segments = _segments(value)
    receiver = ""
    if segments and "=" not in segments[0]:
        receiver = segments.pop(0).split(" ", 1)[0].lower()
    return receiver, [one for one in map(_result, segments) if one is not None]


def _result(segment: str) -> MethodResult | None:
    """Return ``method=result`` and the properties after it."""
    words = segment.replace(" =", "=").replace("= ", "=").split()
    pairs = [word.partition("=") for word in words if "=" in word]
    if not pairs:
        return None
    method = pairs[0][0].lower().partition("/")[0]
    if not _METHOD.fullmatch(method):
        return None
    properties: dict[str, str] = {}
    for name, _, text in pairs[1:]:
        properties.setdefault(name.lower(), text.strip('"'))
    return MethodResult(method, pairs[0][2].lower(), properties)


def _segments(value: str) -> list[str]:
    """Return the parts between semicolons, without comments, and with one space for each white space."""
    parts: list[list[str]] = [[]]
    for char, is_quoted in without_comments(value):
        if char == ";" and not is_quoted:
            parts.append([])
        else:
            parts[-1].append(char)
    return [" ".join("".join(part).split()) for part in parts[:_MAX_SEGMENTS]]
