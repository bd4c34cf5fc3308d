"""One rung of the ladder of proof, and the plain sentence that tells an owner what happened on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ..failure import Reason, Stage, SubmissionFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..server import Server


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"  # not needed with these settings


@dataclass(frozen=True)
class Rung:
    """What one stage came to. ``evidence`` holds cleaned facts; ``sentence`` is for the owner."""

    stage: Stage
    verdict: Verdict
    milliseconds: int
    sentence: str
    evidence: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return the rung as JSON can hold it."""
        return {
            "stage": self.stage.value,
            "verdict": self.verdict.value,
            "milliseconds": self.milliseconds,
            "sentence": self.sentence,
            "evidence": dict(self.evidence),
        }


_SENTENCES = {
    Reason.NAME_UNKNOWN: "There is no server named {host}.",
    Reason.NAME_UNANSWERED: "The name {host} could not be looked up just now.",
    Reason.TARGET_REFUSED: "This server address and port are not allowed here.",
    Reason.CONNECT_REFUSED: "Nothing at {host} accepts connections on port {port}.",
    Reason.CONNECT_TIMED_OUT: "{host} did not answer on port {port} in time.",
    Reason.UNREACHABLE: "{host} cannot be reached from here.",
    Reason.TIMED_OUT: "{host} stopped answering.",
    Reason.DISCONNECTED: "{host} closed the connection in the middle of the conversation.",
    Reason.TOO_MUCH: "{host} sent far more text than a mail server does, so we hung up.",
    Reason.NOT_SMTP: "Something answers at {host}, port {port}, but it is not a mail server.",
    Reason.GARBLED: "{host} gave an answer that makes no sense in a mail conversation.",
    Reason.STARTTLS_MISSING: "{host} offers no encryption on port {port}, so no password was sent.",
    Reason.TLS_NOT_SPOKEN: "{host} does not encrypt from the start on port {port}.",
    Reason.TLS_FAILED: "No encrypted connection with {host} could be agreed on.",
    Reason.CERTIFICATE_UNTRUSTED: "The certificate of {host} was not issued by a trusted authority.",
    Reason.CERTIFICATE_EXPIRED: "The certificate of {host} is not valid today.",
    Reason.CERTIFICATE_NAME: "The certificate that was shown is not for {host}.",
    Reason.AUTH_MISSING: "A username is set, but {host} offers no log-in on port {port}.",
    Reason.MECHANISM_MISSING: "{host} does not offer the chosen way to log in.",
    Reason.AUTH_NEEDS_TLS: "The connection is not encrypted, so the password was not sent.",
    Reason.MESSAGE_TOO_BIG: "The message is larger than {host} accepts.",
    Reason.NEEDS_SMTPUTF8: "{host} cannot handle an email address with letters beyond a-z.",
}

_REFUSALS = {
    Stage.GREETING: "{host} turned us away before the conversation began.",
    Stage.EHLO: "{host} did not accept our introduction.",
    Stage.TLS: "{host} refused to encrypt the connection.",
    Stage.AUTH: "The server did not accept the log-in.",
    Stage.MAIL: "The log-in worked, but this server will not let it send as {sender}.",
    Stage.RCPT: "The server accepts mail from {sender}, but will not take it for {recipient}.",
    Stage.DATA: "The server accepted sender and recipient, but refused the message itself.",
}

_DELAYS = {
    Stage.AUTH: "The server could not check the log-in just now.",
    Stage.MAIL: "The log-in worked, but just now the server takes no mail from {sender}.",
    Stage.RCPT: "Just now the server takes no mail for {recipient}.",
    Stage.DATA: "Just now the server does not take the message.",
}


def failure_sentence(
    failure: SubmissionFailure, server: Server, sender: str = "", recipient: str = ""
) -> str:
    """Return what happened, in one sentence; what to do about it is the diagnosis's business."""
    if failure.ambiguous:
        return "The message was handed over, but the connection broke before the server confirmed it."
    if failure.reason is not Reason.REPLIED:
        return _SENTENCES[failure.reason].format(host=server.host, port=server.port)
    if failure.reply is not None and failure.reply.code == 421:
        return f"{server.host} is closing the connection and asks to come back later."
    if failure.stage is Stage.MAIL and server.username is None:
        return f"Without a log-in, this server will not take mail from {sender}."
    later = failure.reply is not None and failure.reply.transient
    wordings = _DELAYS if later and failure.stage in _DELAYS else _REFUSALS
    wording = wordings.get(failure.stage, "{host} refused.")
    return wording.format(host=server.host, sender=sender, recipient=recipient)


def tls_sentence(facts: Mapping[str, str], host: str) -> str:
    """Tell which encryption was agreed on and how long the certificate lasts."""
    days = facts.get("days_left", "0")
    unit = "day" if days == "1" else "days"
    version = facts.get("version") or "TLS"
    return f"Encrypted with {version}; the certificate is for {host} and valid for {days} more {unit}."
