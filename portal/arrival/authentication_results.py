"""Authentication-Results (RFC 8601) and ARC-Authentication-Results (RFC 8617) of a received email.

Each server adds its fields above those that it received, so only the topmost ones are the receiver's. Senders and their
providers write fields of the same form: those below the receiver's are ignored, and so are those where no receiver writes any.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """Return the results of the last receiver, or None if it wrote none.

    Read are the topmost Authentication-Results field and those of the same authserv-id that follow it before the next
    Received field: receivers write one field for all methods, or one for each. Without any, it is the newest
    ARC-Authentication-Results field, if it is the receiver's.
    """
    return _topmost(headers) or _newest_arc(headers)


def forwarders(headers: PastedHeaders) -> int:
    """Return how many servers sealed the message (ARC): forwarders, the receiver, and Microsoft 365 what its customers send."""
    return max((number for number, _ in _arc_instances(headers)), default=0)


def _topmost(headers: PastedHeaders) -> ReceiverResults | None:
    receiver: str | None = None
    results: list[MethodResult] = []
    for one in headers.fields:
        # A receiver adds its fields above the message; below From is what a provider has written in it before it left.
        if one.name == "from" or (one.name == "received" and receiver is not None):
            break
        if one.name != _RESULTS:
            continue
        name, found = parse(one.value)
        if receiver is None:
            receiver = name
        elif name != receiver:
            break
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
    for char, is_quoted in _without_comments(value):
        if char == ";" and not is_quoted:
            parts.append([])
        else:
            parts[-1].append(char)
    return [" ".join("".join(part).split()) for part in parts[:_MAX_SEGMENTS]]


def _without_comments(value: str) -> Iterator[tuple[str, bool]]:
    """Yield each character outside comments, which nest (RFC 5322 section 3.2.2), and whether it is quoted."""
    depth, is_quoted, is_escaped = 0, False, False
    for char in value:
        if is_escaped:
            is_escaped = False
        elif char == "\\" and (is_quoted or depth):
            is_escaped = True
            continue
        elif char == '"' and not depth:
            is_quoted = not is_quoted
        elif char in "()" and not is_quoted:
            depth = depth + 1 if char == "(" else max(0, depth - 1)
            char = " "
        if not depth:
            yield char, is_quoted
