"""Proving a cure: a change that would mend a failure is climbed with before it is offered.

Providers lock users who log in wrongly too often, so a failed climb and all that is tried after it make
at most two log-in attempts together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..diagnosis.diagnose import Diagnosis, Kind
from ..failure import Reason, Stage, SubmissionFailure
from ..server import Mechanism, Secret, Security, Server
from .port_detection import CANDIDATES, Candidate, detect
from .probe import Rung, probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..providers import Provider

LOG_INS = 2
_BUDGET = 10.0  # seconds for all ports together, and for each climb

# Nobody spoke SMTP with us there, or not in this way: another port or encryption may do.
_WRONG_WAY = {
    Reason.CONNECT_REFUSED,
    Reason.CONNECT_TIMED_OUT,
    Reason.UNREACHABLE,
    Reason.TLS_NOT_SPOKEN,
    Reason.STARTTLS_MISSING,
    Reason.NOT_SMTP,
    Reason.AUTH_MISSING,
}
_SILENT = {Reason.TIMED_OUT, Reason.DISCONNECTED}  # at the greeting: TLS from the first byte, as on 465


@dataclass(frozen=True)
class Change:
    """New values for fields of the settings; None keeps the old one. The password itself is never shown."""

    code: str
    sentence: str
    host: str | None = None
    port: int | None = None
    security: Security | None = None
    username: str | None = None
    mechanism: Mechanism | None = None
    ehlo_name: str | None = None
    password_without_spaces: bool = False

    def applied_to(self, server: Server) -> Server:
        """Return the server as it would be."""
        password = server.password
        if self.password_without_spaces and password is not None:
            password = Secret(without_spaces(password.reveal()))
        return replace(
            server,
            host=self.host or server.host,
            port=self.port or server.port,
            security=self.security or server.security,
            username=self.username or server.username,
            mechanism=self.mechanism or server.mechanism,
            password=password,
            ehlo_name=self.ehlo_name or server.ehlo_name,
            limits=replace(server.limits, deadline=min(_BUDGET, server.limits.deadline)),
        )


@dataclass(frozen=True)
class Proof:
    """A change with which the ladder was climbed up to the recipient."""

    change: Change
    rungs: tuple[Rung, ...]


def prove(
    server: Server,
    failure: SubmissionFailure,
    diagnosis: Diagnosis,
    provider: Provider | None,
    *,
    sender: str,
    recipient: str,
) -> Proof | None:
    """Look for a change that cures ``failure`` and climb with it; return it only if it works.

    Bounded in time and log-ins; raises nothing a server does.
    """
    log_ins = int(_logged_in(failure))
    for change in _cures(server, failure, diagnosis, provider, sender.rpartition("@")[2]):
        if log_ins >= LOG_INS:
            break
        report = probe(change.applied_to(server), sender, recipient)
        if report.passed:
            return Proof(change, report.rungs)
        log_ins += int(report.failure is not None and _logged_in(report.failure))
    return None


def without_spaces(password: str) -> str:
    """Return an app password as it is meant: providers show it in groups with spaces between."""
    return re.sub(r"\s", "", password)


def _logged_in(failure: SubmissionFailure) -> bool:
    """Whether a password was said before this failure."""
    if failure.stage is Stage.AUTH:
        return failure.reason in (Reason.REPLIED, Reason.TIMED_OUT, Reason.DISCONNECTED, Reason.GARBLED)
    return failure.stage in (Stage.MAIL, Stage.RCPT, Stage.DATA)


def _cures(
    server: Server, failure: SubmissionFailure, diagnosis: Diagnosis, provider: Provider | None, domain: str
) -> Iterator[Change]:
    if server.security is Security.PLAINTEXT:
        return
    greeted_by_silence = failure.stage is Stage.GREETING and failure.reason in _SILENT
    if failure.reason in _WRONG_WAY or greeted_by_silence:
        yield from _other_way(server, provider)
    elif diagnosis.kind is Kind.EHLO_NAME and server.ehlo_name != domain:
        sentence = f"The server wants to be greeted by another name; it accepts {domain}."
        yield Change("other-ehlo-name", sentence, ehlo_name=domain)
    elif failure.reason is Reason.MECHANISM_MISSING:
        sentence = "The server accepts a log-in of another kind, which Automatic chooses."
        yield Change("automatic-mechanism", sentence, mechanism=Mechanism.AUTOMATIC)
    elif failure.stage is Stage.AUTH and diagnosis.kind in (Kind.CREDENTIALS, Kind.APP_PASSWORD):
        yield from _other_log_in(server, provider, domain)


def _other_way(server: Server, provider: Provider | None) -> Iterator[Change]:
    found = detect(server, candidates=_pairs(server, provider), budget=_BUDGET).found
    if found is None:
        return
    port, security = found
    words = "STARTTLS" if security is Security.STARTTLS else "SSL/TLS from the first byte"
    sentence = f"{server.host} answers on port {port} with {words}."
    yield Change("other-way", sentence, port=port, security=security)


def _pairs(server: Server, provider: Provider | None) -> list[Candidate]:
    """Return the other ways in: the same port the other way first, then the provider's, then the usual ones."""
    encrypted = (Security.STARTTLS, Security.IMPLICIT_TLS)
    same_port = [(server.port, security) for security in encrypted]
    own = [(port.number, port.security) for port in provider.ports] if provider else []
    tried = (server.port, server.security)
    return [pair for pair in dict.fromkeys([*same_port, *own, *CANDIDATES]) if pair != tried]


def _other_log_in(server: Server, provider: Provider | None, domain: str) -> Iterator[Change]:
    """Yield other readings of what was typed, the likeliest first; there is one log-in left for them."""
    username, password = server.username or "", server.password.reveal() if server.password else ""
    if provider and provider.password.letters == len(without_spaces(password)) != len(password):
        sentence = "The app password works without its spaces."
        yield Change("password-without-spaces", sentence, password_without_spaces=True)
    literal = provider.literal_usernames(server.host) if provider else ()
    if literal and username not in literal:
        sentence = f"The username has to be the word {literal[0]}."
        yield Change("literal-username", sentence, username=literal[0])
    elif not literal and username and "@" not in username:
        sentence = "The username has to be the whole address."
        yield Change("username-with-domain", sentence, username=f"{username}@{domain}")
    # A password may travel to another region of the same provider: both names are in our own catalogue.
    for host in provider.hosts if provider and provider.host_named(server.host) else ():
        if host.name != server.host and host.pattern is None:
            sentence = f"These credentials belong to {host.name}."
            yield Change("other-region", sentence, host=host.name)
