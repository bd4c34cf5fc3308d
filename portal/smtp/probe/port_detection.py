"""Port detection: which port and encryption of a known host accept mail submission."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..failure import Reason, SubmissionFailure
from ..protocol.session import Session
from ..protocol.stages import failure_sentence
from ..server import Limits, Mechanism, Security, Server

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
class PortResult:
    """Result of one candidate; ``sentence`` is for the owner."""

    port: int
    security: Security
    ok: bool
    sentence: str
    reason: Reason | None = None  # of a failure
    is_refused_target: bool = False  # for logs of the operator only


@dataclass(frozen=True)
class Detection:
    """Results of all candidates. ``found`` is the first one, in their order, that answers and encrypts."""

    found: Candidate | None
    tried: tuple[PortResult, ...]


def detect_port(
    server: Server, candidates: Sequence[Candidate] = CANDIDATES, deadline_s: float | None = None
) -> Detection:
    """Connect to all candidates in parallel, each up to TLS and without a log-in. Raises nothing.

    Port, security and credentials of ``server`` are ignored. The guard checks every connection.

    Args:
        deadline_s: upper bound for the whole call; without it the server's own deadline applies.
    """
    if not candidates:
        return Detection(None, ())
    limits = server.limits if deadline_s is None else _shortened(server.limits, deadline_s)
    servers = [_without_credentials(server, candidate, limits) for candidate in candidates]
    with ThreadPoolExecutor(len(servers), thread_name_prefix="smtp-detect") as threads:
        tried = tuple(threads.map(_try_connection, servers))
    found = next(((result.port, result.security) for result in tried if result.ok), None)
    return Detection(found, tried)


def _shortened(limits: Limits, deadline_s: float) -> Limits:
    return replace(limits, deadline=min(limits.deadline, deadline_s))


def _without_credentials(server: Server, candidate: Candidate, limits: Limits) -> Server:
    """Return the server at the candidate's port, without credentials, so that no password or token can be sent."""
    port, security = candidate
    return replace(
        server,
        port=port,
        security=security,
        username=None,
        password=None,
        tokens=None,
        mechanism=Mechanism.AUTOMATIC,
        limits=limits,
    )


def _try_connection(server: Server) -> PortResult:
    try:
        with Session(server):
            encrypts = "without encryption" if server.security is Security.PLAINTEXT else "and encrypts"
            sentence = f"Port {server.port} answers {encrypts}."
            return PortResult(server.port, server.security, ok=True, sentence=sentence)
    except SubmissionFailure as failure:
        sentence = failure_sentence(failure, server)
        return PortResult(
            server.port,
            server.security,
            ok=False,
            sentence=sentence,
            reason=failure.reason,
            is_refused_target=failure.is_refused_target,
        )
