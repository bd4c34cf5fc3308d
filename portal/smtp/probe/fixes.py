"""Verified fixes: a change of the settings is tried with a dry run before it is offered to the owner.

Providers lock accounts after too many failed log-ins. The failed attempt and all dry runs that follow it
therefore make at most two log-in attempts together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..diagnosis.diagnose import Diagnosis, DiagnosisKind
from ..diagnosis.matching import other_mechanisms
from ..failure import Reason, Stage, SubmissionFailure
from ..providers import remove_spaces
from ..server import Mechanism, Secret, Security, Server
from .dry_run import probe
from .port_detection import CANDIDATES, Candidate, detect_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..protocol.stages import StageResult
    from ..providers import Provider

MAX_LOGINS = 2
DEADLINE_S = 10.0  # of one port detection, and of one dry run

# There was no SMTP conversation on this port, or not with these settings: another port or encryption may work.
_WRONG_PORT_OR_ENCRYPTION = {
    Reason.CONNECT_REFUSED,
    Reason.CONNECT_TIMED_OUT,
    Reason.UNREACHABLE,
    Reason.TLS_NOT_SPOKEN,
    Reason.STARTTLS_MISSING,
    Reason.NOT_SMTP,
    Reason.AUTH_MISSING,
}
# The server refused the mechanism, or broke off when it read it; what was typed may be right.
_MECHANISM_KINDS = {DiagnosisKind.MECHANISM, DiagnosisKind.PROTOCOL, DiagnosisKind.SERVER_FAULT}
# No greeting: the server probably expects TLS from the first byte, as on port 465.
_SILENT = {Reason.TIMED_OUT, Reason.DISCONNECTED}


@dataclass(frozen=True)
class SettingsChange:
    """New values for fields of the settings; None keeps the old value. Never contains the password."""

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
        """Return the changed server, with the deadline of a dry run."""
        password = server.password
        if self.password_without_spaces and password is not None:
            password = Secret(remove_spaces(password.reveal()))
        return replace(
            server,
            host=self.host or server.host,
            port=self.port or server.port,
            security=self.security or server.security,
            username=self.username or server.username,
            mechanism=self.mechanism or server.mechanism,
            password=password,
            ehlo_name=self.ehlo_name or server.ehlo_name,
            limits=replace(server.limits, deadline=min(DEADLINE_S, server.limits.deadline)),
        )


@dataclass(frozen=True)
class FailedAttempt:
    """A conversation that failed; ``provider`` is None when the host is in no card."""

    server: Server
    failure: SubmissionFailure
    diagnosis: Diagnosis
    provider: Provider | None


@dataclass(frozen=True)
class VerifiedFix:
    """A change whose dry run passed, with the results of its stages."""

    change: SettingsChange
    stages: tuple[StageResult, ...]


def find_fix(
    failed: FailedAttempt, *, sender: str, recipient: str, envelope_sender: str = ""
) -> VerifiedFix | None:
    """Return the first change whose dry run passes, None if there is none.

    ``sender`` is the From address, which the envelope has as well unless ``envelope_sender`` is given.

    Limited to MAX_LOGINS log-in attempts, including the one that failed, and to ``DEADLINE_S`` for each
    dry run. Raises no SubmissionFailure.
    """
    logins = int(_password_was_sent(failed.failure))
    for change in _possible_changes(failed, sender.rpartition("@")[2]):
        if logins >= MAX_LOGINS:
            break
        report = probe(change.applied_to(failed.server), envelope_sender or sender, recipient)
        if report.passed:
            return VerifiedFix(change, report.stages)
        logins += int(report.failure is not None and _password_was_sent(report.failure))
    return None


def _password_was_sent(failure: SubmissionFailure) -> bool:
    if failure.stage is Stage.AUTH:
        return failure.reason in (Reason.REPLIED, Reason.TIMED_OUT, Reason.DISCONNECTED, Reason.GARBLED)
    return failure.stage in (Stage.MAIL, Stage.RCPT, Stage.DATA)


def _possible_changes(failed: FailedAttempt, domain: str) -> Iterator[SettingsChange]:
    server, failure, kind = failed.server, failed.failure, failed.diagnosis.kind
    if server.security is Security.PLAINTEXT:
        return
    no_greeting = failure.stage is Stage.GREETING and failure.reason in _SILENT
    if failure.reason in _WRONG_PORT_OR_ENCRYPTION or no_greeting:
        yield from _other_port_or_encryption(server, failed.provider)
    elif kind is DiagnosisKind.EHLO_NAME and server.ehlo_name != domain:
        sentence = f"The server wants to be greeted by another name; it accepts {domain}."
        yield SettingsChange("other-ehlo-name", sentence, ehlo_name=domain)
    elif server.tokens is not None:
        return  # the other changes would send the token as a password, or to another host
    elif failure.reason is Reason.MECHANISM_MISSING and server.mechanism is not Mechanism.AUTOMATIC:
        sentence = "The server accepts a log-in of another kind, which Automatic chooses."
        yield SettingsChange("automatic-mechanism", sentence, mechanism=Mechanism.AUTOMATIC)
    elif failure.stage is Stage.AUTH and kind in (DiagnosisKind.CREDENTIALS, DiagnosisKind.APP_PASSWORD):
        yield from _other_credentials(server, failed.provider, domain)
        yield from _other_mechanisms(failure)
    elif failure.stage is Stage.AUTH and failure.evidence.get("mechanism") and kind in _MECHANISM_KINDS:
        yield from _other_mechanisms(failure)


def _other_mechanisms(failure: SubmissionFailure) -> Iterator[SettingsChange]:
    """Yield the mechanisms that the server offers beside the refused one.

    Some servers list PLAIN and accept LOGIN only; they answer PLAIN as they answer a wrong password.
    """
    if failure.reply is not None and failure.reply.transient:
        return
    for mechanism in other_mechanisms(failure):
        sentence = f"The server accepts the log-in by {mechanism.value.upper()}."
        yield SettingsChange("other-mechanism", sentence, mechanism=mechanism)


def _other_port_or_encryption(server: Server, provider: Provider | None) -> Iterator[SettingsChange]:
    found = detect_port(server, _other_candidates(server, provider), DEADLINE_S).found
    if found is None:
        return
    port, security = found
    encryption = "STARTTLS" if security is Security.STARTTLS else "SSL/TLS from the first byte"
    sentence = f"{server.host} answers on port {port} with {encryption}."
    yield SettingsChange("other-way", sentence, port=port, security=security)


def _other_candidates(server: Server, provider: Provider | None) -> list[Candidate]:
    """Return what to try: the same port with the other encryption, the provider's ports, the common ports."""
    encrypted = (Security.STARTTLS, Security.IMPLICIT_TLS)
    same_port = [(server.port, security) for security in encrypted]
    own = [(port.number, port.security) for port in provider.ports] if provider else []
    failed = (server.port, server.security)
    return [candidate for candidate in dict.fromkeys([*same_port, *own, *CANDIDATES]) if candidate != failed]


def _other_credentials(server: Server, provider: Provider | None, domain: str) -> Iterator[SettingsChange]:
    """Yield corrections of what was typed, the likeliest first, because one log-in attempt is left for them."""
    username, password = server.username or "", server.password.reveal() if server.password else ""
    if provider and provider.password.letters == len(remove_spaces(password)) != len(password):
        sentence = "The app password works without its spaces."
        yield SettingsChange("password-without-spaces", sentence, password_without_spaces=True)
    literal = provider.literal_usernames(server.host) if provider else ()
    if provider and not provider.takes_username(server.host, username):
        sentence = f"The username has to be the word {literal[0]}."
        yield SettingsChange("literal-username", sentence, username=literal[0])
    elif not literal and username and "@" not in username:
        sentence = "The username has to be the whole address."
        yield SettingsChange("username-with-domain", sentence, username=f"{username}@{domain}")
    # The password may be sent to another region of the same provider: both hosts are on its card.
    for host in provider.hosts if provider and provider.host_named(server.host) else ():
        if host.name != server.host and host.pattern is None:
            sentence = f"These credentials belong to {host.name}."
            yield SettingsChange("other-region", sentence, host=host.name)
