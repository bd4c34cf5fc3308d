"""Recognises errors that a program reports itself, such as ``ECONNREFUSED`` or ``wrong version number``.

People paste them beside replies. They hold no reply of the server; the failure made of them is the one that this portal's
own engine reports in the same situation, so both get the same diagnosis.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..failure import Reason, Stage, SubmissionFailure
from ..protocol.reply import plain_text
from ..server import Security
from ..toml_tables import TomlTable, read_toml
from .phrases import concepts_in, fold, phrase_pattern
from .program_output import MAX_CHARS

_FILE = Path(__file__).parent / "client_errors.toml"
_MAX_DETAIL_CHARS = 120
# What servers of other protocols send first, and the kind of server; "400" of a web server is no reply code.
_OTHER_PROTOCOL = re.compile(
    r"\b(HTTP)/[12][. ]|\* OK\b[^\n]{0,60}\b(IMAP)|(?:^|[\s'\":=])\+OK\b|\b(SSH)-2\.0", re.IGNORECASE
)
_REPLY = re.compile(
    r"(?<![\w.:-])[45][0-5]\d[ -](?=\S)|(?:Exception|Error): [45][0-57]\d: "
    r"|(?<![\w.])[245]\.\d{1,3}\.\d{1,3}(?![\w.])"
)
_IN_TRANSACTION = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA})
_BEFORE_COMMANDS = frozenset({Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.TLS})
_PORT = re.compile(r"(?:(?<=[a-z0-9\])]):|\bport[ =:\"']{1,4})(\d{2,5})\b", re.IGNORECASE)
_PORTS = frozenset(
    {25, 26, 80, 443, 465, 587, 588, 993, 995, 110, 143, 1025, 2465, 2525, 2526, 2587, 3535, 8025}
)
_STAGES = {
    Reason.NAME_UNKNOWN: Stage.RESOLVE, Reason.NAME_UNANSWERED: Stage.RESOLVE,
    Reason.CONNECT_REFUSED: Stage.CONNECT, Reason.CONNECT_TIMED_OUT: Stage.CONNECT, Reason.UNREACHABLE: Stage.CONNECT,
    Reason.TIMED_OUT: Stage.GREETING, Reason.DISCONNECTED: Stage.GREETING,
    Reason.AUTH_MISSING: Stage.AUTH, Reason.MECHANISM_MISSING: Stage.AUTH, Reason.AUTH_NEEDS_TLS: Stage.AUTH,
}  # fmt: skip


@dataclass(frozen=True)
class ClientError:
    """One row of client_errors.toml."""

    reason: Reason
    trouble: str | None  # for sentences about TLS, see 10-engine.toml
    signatures: tuple[str, ...]
    phrases: tuple[str, ...]

    def matches(self, folded: str, *, is_early: bool) -> bool:
        """Return whether the folded text is this error. ``is_early``: nothing of a message was sent yet."""
        if phrase_pattern(self.signatures).search(folded):
            return True
        return is_early and bool(self.phrases) and bool(phrase_pattern(self.phrases).search(folded))


def _read(entry: TomlTable) -> ClientError:
    error = ClientError(
        entry.choice("reason", Reason),
        entry.optional_text("trouble"),
        entry.texts("signatures", required=True),
        entry.texts("phrases"),
    )
    entry.reject_unknown_keys()
    return error


@cache
def load_client_errors() -> tuple[ClientError, ...]:
    """Return the errors in the order in which they are tried."""
    top = read_toml(_FILE)
    errors = tuple(_read(entry) for entry in top.tables("error", required=True))
    top.reject_unknown_keys()
    return errors


def client_failure(text: str, stage: Stage | None) -> SubmissionFailure | None:
    """Return the failure that a program's own error describes; None if the text holds a reply of a server.

    ``stage`` is None when it is unknown; then only words that no bounce holds are recognised.
    """
    text = text[:MAX_CHARS]
    is_early = stage is not None and stage not in _IN_TRANSACTION
    evidence = {"detail": plain_text(text, _MAX_DETAIL_CHARS)}
    if stage in _BEFORE_COMMANDS and (other := _OTHER_PROTOCOL.search(text)):
        evidence["answers"] = next(filter(None, other.groups()), "POP3").upper()
        return SubmissionFailure(Stage.GREETING, Reason.NOT_SMTP, evidence=evidence)
    if _REPLY.search(text):
        return None
    folded = fold(text)
    if stage is Stage.AUTH and "password" in concepts_in(folded):
        is_early = False  # "failed to connect, no password specified" is about the log-in
    error = next((one for one in load_client_errors() if one.matches(folded, is_early=is_early)), None)
    reason = error.reason if error else _reason_without_server(folded, stage)
    if stage is Stage.TLS and reason is Reason.CONNECT_TIMED_OUT:
        reason = Reason.TIMED_OUT if "unreachable" in concepts_in(folded) else Reason.TLS_FAILED
    if reason is None:
        return None
    if error and error.trouble:
        evidence["trouble"] = error.trouble
    return SubmissionFailure(_stage_of(reason, stage), reason, evidence=evidence)


def _reason_without_server(folded: str, stage: Stage | None) -> Reason | None:
    """Return the reason for other words at a stage before the first reply of a server; None at later stages."""
    if stage is Stage.RESOLVE:
        return Reason.NAME_UNKNOWN if "unknown" in concepts_in(folded) else Reason.NAME_UNANSWERED
    return Reason.CONNECT_TIMED_OUT if stage is Stage.CONNECT else None


def _stage_of(reason: Reason, stage: Stage | None) -> Stage:
    if reason is Reason.TIMED_OUT or reason is Reason.DISCONNECTED:
        return stage if stage and stage is not Stage.CONNECT else Stage.GREETING
    return _STAGES.get(reason, Stage.TLS)


def port_in(text: str) -> int | None:
    """Return the port that an error names, as in "smtp.example.com:587" or "port: 25"."""
    found = (int(one[1]) for one in _PORT.finditer(text[:MAX_CHARS]))
    return next((port for port in found if port in _PORTS), None)


def security_of(reason: Reason) -> Security | None:
    """Return the encryption that the program had chosen, as far as the error shows it."""
    return Security.IMPLICIT_TLS if reason is Reason.TLS_NOT_SPOKEN else None
