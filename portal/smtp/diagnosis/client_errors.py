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
from .phrases import fold, phrase_pattern

_FILE = Path(__file__).parent / "client_errors.toml"
_MAX_CHARS = 4000
_MAX_DETAIL_CHARS = 120
_REPLY = re.compile(r"(?<![\w.:-])[45][0-5]\d[ -](?=\S)|(?<![\w.])[245]\.\d{1,3}\.\d{1,3}(?![\w.])")
_IN_TRANSACTION = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA})
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
    text = text[:_MAX_CHARS]
    if _REPLY.search(text):
        return None
    folded = fold(text)
    is_early = stage is not None and stage not in _IN_TRANSACTION
    error = next((one for one in load_client_errors() if one.matches(folded, is_early=is_early)), None)
    if error is None:
        return None
    evidence = {"detail": plain_text(text, _MAX_DETAIL_CHARS)}
    if error.trouble:
        evidence["trouble"] = error.trouble
    return SubmissionFailure(_stage_of(error.reason, stage), error.reason, evidence=evidence)


def _stage_of(reason: Reason, stage: Stage | None) -> Stage:
    if reason is Reason.TIMED_OUT or reason is Reason.DISCONNECTED:
        return stage if stage and stage is not Stage.CONNECT else Stage.GREETING
    return _STAGES.get(reason, Stage.TLS)


def port_in(text: str) -> int | None:
    """Return the port that an error names, as in "smtp.example.com:587" or "port: 25"."""
    found = (int(one[1]) for one in _PORT.finditer(text[:_MAX_CHARS]))
    return next((port for port in found if port in _PORTS), None)


def security_of(reason: Reason) -> Security | None:
    """Return the encryption that the program had chosen, as far as the error tells it."""
    return Security.IMPLICIT_TLS if reason is Reason.TLS_NOT_SPOKEN else None
