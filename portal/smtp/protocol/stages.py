"""Stages of an SMTP conversation: each is timed and recorded with its result, a sentence and evidence.

The sentences describe what happened; ``diagnosis`` decides what a failure means and how to fix it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..failure import Reason, Stage, SubmissionFailure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from ..server import Server


class StageStatus(StrEnum):
    """How a stage ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"  # not needed with these settings


@dataclass(frozen=True)
class StageResult:
    """Result of one stage. ``sentence`` is for the owner; ``evidence`` holds facts without control characters."""

    stage: Stage
    status: StageStatus
    duration_ms: int
    sentence: str
    evidence: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return the result as JSON types. The keys are stored and published, so they do not change."""
        return {
            "stage": self.stage.value,
            "verdict": self.status.value,
            "milliseconds": self.duration_ms,
            "sentence": self.sentence,
            "evidence": dict(self.evidence),
        }


Observer = Callable[[StageResult], None]  # called after each stage, in the thread of the conversation


@dataclass
class StageNotes:
    """Findings collected while a stage runs. A stage that passes without a sentence is not recorded."""

    sentence: str = ""
    evidence: dict[str, str] = field(default_factory=dict)


class StageRecorder:
    """Records the stages of one conversation and notifies the observer.

    ``sender`` and ``recipient`` appear in the sentences of failures.
    """

    def __init__(self, server: Server, observer: Observer | None) -> None:
        self._recorded: list[tuple[Any, ...]] = []  # arguments of StageResult; most results are never read
        self.sender = self.recipient = ""
        self._server = server
        self._observer = observer

    def stage(self, stage: Stage) -> _TimedStage:
        """Return a context that times ``stage`` and records how it ended; exceptions pass through."""
        return _TimedStage(self, stage)

    def finish(self, stage: Stage, notes: StageNotes, started: float, error: BaseException | None) -> None:
        """Record how a stage ended. Any error but SubmissionFailure is not about the server: not recorded.

        Args:
            started: ``time.monotonic()`` at the beginning of the stage.
        """
        if isinstance(error, SubmissionFailure):
            reply = {"reply": str(error.reply)} if error.reply else {}
            sentence = failure_sentence(error, self._server, self.sender, self.recipient)
            evidence = notes.evidence | dict(error.evidence) | reply
            self._record(stage, StageStatus.FAILED, _milliseconds_since(started), sentence, evidence)
        elif error is None and notes.sentence:
            duration_ms = _milliseconds_since(started)
            self._record(stage, StageStatus.PASSED, duration_ms, notes.sentence, notes.evidence)

    def skip(self, stage: Stage, sentence: str) -> None:
        """Record that a stage is not needed with these settings."""
        self._record(stage, StageStatus.SKIPPED, 0, sentence, {})

    def reset(self) -> None:
        """Discard all recorded stages."""
        self._recorded.clear()

    @property
    def results(self) -> tuple[StageResult, ...]:
        """The recorded stages, in the order in which they ended."""
        return tuple(StageResult(*arguments) for arguments in self._recorded)

    def _record(self, *arguments: Any) -> None:
        self._recorded.append(arguments)
        if self._observer is not None:
            self._observer(StageResult(*arguments))


class _TimedStage:
    """One running stage. A class, because a generator-based context manager costs more than the stage itself."""

    __slots__ = ("_notes", "_recorder", "_stage", "_started")

    def __init__(self, recorder: StageRecorder, stage: Stage) -> None:
        self._recorder, self._stage, self._notes = recorder, stage, StageNotes()
        self._started = monotonic()

    def __enter__(self) -> StageNotes:
        return self._notes

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._recorder.finish(self._stage, self._notes, self._started, error)


def _milliseconds_since(started: float) -> int:
    return round((monotonic() - started) * 1000)


_FAILURES = {
    Reason.NAME_UNKNOWN: "There is no public server named {host}.",
    Reason.NAME_UNANSWERED: "The name {host} could not be looked up just now.",
    Reason.TARGET_REFUSED: "This server address and port are not allowed here.",
    Reason.CONNECT_REFUSED: "Nothing at {host} accepts connections on port {port}.",
    Reason.CONNECT_TIMED_OUT: "{host} did not answer on port {port} in time.",
    Reason.UNREACHABLE: "{host} cannot be reached from here.",
    Reason.TIMED_OUT: "{host} stopped answering.",
    Reason.DISCONNECTED: "{host} closed the connection in the middle of the conversation.",
    Reason.CANCELLED: "The wait for {host} was ended from here.",
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
    Reason.LOGIN_REQUIRED: "This portal sends through {host} with a log-in only.",
    Reason.AUTH_NEEDS_TLS: "The connection is not encrypted, so the password was not sent.",
    Reason.TOKEN_REFUSED: "No permission to log in at {host} could be obtained.",
    Reason.TOKEN_UNAVAILABLE: "The permission to log in at {host} could not be renewed just now.",
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

_TRANSIENT_REFUSALS = {
    Stage.AUTH: "The server could not check the log-in just now.",
    Stage.MAIL: "The log-in worked, but just now the server takes no mail from {sender}.",
    Stage.RCPT: "Just now the server takes no mail for {recipient}.",
    Stage.DATA: "Just now the server does not take the message.",
}


def failure_sentence(
    failure: SubmissionFailure, server: Server, sender: str = "", recipient: str = ""
) -> str:
    """Return what happened, as one sentence for the owner; the diagnosis adds what to do about it."""
    if failure.ambiguous:
        return "The message was handed over, but the connection broke before the server confirmed it."
    if failure.reason is not Reason.REPLIED:
        return _FAILURES[failure.reason].format(host=server.host, port=server.port)
    if failure.reply is not None and failure.reply.code == 421:
        return f"{server.host} is closing the connection and asks to come back later."
    if failure.stage is Stage.MAIL and server.username is None:
        return f"Without a log-in, this server will not take mail from {sender}."
    transient = failure.reply is not None and failure.reply.transient
    sentences = _TRANSIENT_REFUSALS if transient and failure.stage in _TRANSIENT_REFUSALS else _REFUSALS
    sentence = sentences.get(failure.stage, "{host} refused.")
    return sentence.format(host=server.host, sender=sender, recipient=recipient)


def tls_sentence(facts: Mapping[str, str], host: str) -> str:
    """Return which TLS version was negotiated and how many days the certificate is still valid."""
    days = facts.get("days_left", "0")
    version = facts.get("version") or "TLS"
    if days == "1":
        return f"Encrypted with {version}; the certificate is for {host} and valid for one more day."
    return f"Encrypted with {version}; the certificate is for {host} and valid for {days} more days."
