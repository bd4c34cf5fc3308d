"""Finding the port and the encryption of a server whose name alone is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..failure import SubmissionFailure
from ..protocol.session import Session
from ..server import Limits, Security, Server
from .stages import failure_sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

Candidate = tuple[int, Security]

CANDIDATES: tuple[Candidate, ...] = (
    (587, Security.STARTTLS),
    (465, Security.IMPLICIT_TLS),
    (2525, Security.STARTTLS),
    (2587, Security.STARTTLS),
    (2465, Security.IMPLICIT_TLS),
    (25, Security.STARTTLS),
)


@dataclass(frozen=True)
class Attempt:
    """What came of one port."""

    port: int
    security: Security
    ok: bool
    sentence: str


@dataclass(frozen=True)
class Detection:
    """The first candidate, in their order, that answers and encrypts; and how all of them fared."""

    found: Candidate | None
    tried: tuple[Attempt, ...]


def detect(
    server: Server, candidates: Sequence[Candidate] = CANDIDATES, budget: float | None = None
) -> Detection:
    """Try all candidates at once, each up to TLS and without the log-in.

    ``budget`` in seconds bounds the whole; without it the server's own deadline does. Port, security and
    credentials of ``server`` are not used. The guard holds for every attempt. Raises nothing.
    """
    if not candidates:
        return Detection(None, ())
    limits = server.limits if budget is None else _within(server.limits, budget)
    servers = [_bare(server, candidate, limits) for candidate in candidates]
    with ThreadPoolExecutor(len(servers), thread_name_prefix="smtp-detect") as threads:
        tried = tuple(threads.map(_attempt, servers))
    found = next(((attempt.port, attempt.security) for attempt in tried if attempt.ok), None)
    return Detection(found, tried)


def _within(limits: Limits, budget: float) -> Limits:
    return replace(limits, deadline=min(limits.deadline, budget))


def _bare(server: Server, candidate: Candidate, limits: Limits) -> Server:
    """Return the server at another port and without credentials, so that none can be said."""
    port, security = candidate
    return replace(server, port=port, security=security, username=None, password=None, limits=limits)


def _attempt(server: Server) -> Attempt:
    try:
        with Session(server):
            encrypts = "without encryption" if server.security is Security.PLAINTEXT else "and encrypts"
            return Attempt(server.port, server.security, True, f"Port {server.port} answers {encrypts}.")
    except SubmissionFailure as failure:
        return Attempt(server.port, server.security, False, failure_sentence(failure, server))
