"""One mail transaction: MAIL, RCPT, DATA and the message, with each reply matched to its command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..failure import Reason, Stage, SubmissionFailure
from .envelope import Acceptance, Envelope, OutgoingMessage, dot_stuff, parse_queue_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import SmtpConnection
    from .reply import EhloFeatures, Reply
    from .stages import StageRecorder

_ACCEPTED = (250, 251, 252)  # done; will forward; cannot verify but will try
_REPLY_AFTER_HANG_UP_S = 1.0  # wait for the reply of a server that closed the connection during the message
_SEQUENCE_ERRORS = (500, 502, 503)  # unknown command, not implemented, bad sequence: RFC 5321 section 4.2.3


class MailTransaction:
    """A mail transaction on a connection whose handshake is complete.

    Args:
        pipelining: whether several commands may be sent at once (PIPELINING, RFC 2920).
        on_body_sent: called while the server processes the message.
    """

    def __init__(
        self,
        connection: SmtpConnection,
        features: EhloFeatures,
        recorder: StageRecorder,
        *,
        pipelining: bool,
        on_body_sent: Callable[[], None] | None = None,
    ) -> None:
        self._connection = connection
        self._features = features
        self._recorder = recorder
        self._pipelining = pipelining
        self._on_body_sent = on_body_sent
        self.pipelined: list[str] | None = (
            None  # the next envelope, if it was sent with the end of this message
        )

    def send_envelope(
        self, envelope: Envelope, message: bytes | None, pipelined: list[str] | None = None
    ) -> None:
        """Send MAIL and RCPT and read their replies; with a message, PIPELINING includes DATA.

        ``pipelined``: these commands were sent with the end of the previous message; only their replies are
        read. Raises SubmissionFailure at MAIL or RCPT.
        """
        connection = self._connection
        commands = pipelined or envelope.commands(self._features, message)
        # RFC 2920 section 3.1: DATA must be the last of a group, because its reply decides what follows.
        in_one_group = message is not None and self._pipelining
        with self._recorder.stage(Stage.MAIL) as notes:
            connection.stage = Stage.MAIL
            self._check_supported(envelope, message)
            if pipelined is None:
                connection.send_commands(commands if in_one_group else commands[:1])
            else:
                connection.record_pipelined(pipelined)
            notes.evidence["reply"] = str(connection.expect(self._next_reply(), *_ACCEPTED))
            notes.sentence = (
                f"The server lets us send as {envelope.sender}."
                if connection.logged_in
                else f"The server lets us send as {envelope.sender} without a log-in."
            )
        with self._recorder.stage(Stage.RCPT) as notes:
            connection.stage = Stage.RCPT
            if not connection.pending_replies:
                connection.send_commands(commands[1:2])
            notes.evidence["reply"] = str(connection.expect(self._next_reply(), *_ACCEPTED))
            notes.sentence = f"The server takes mail for {envelope.recipient}."

    def request_data(self) -> None:
        """Wait for the 354 reply to DATA; send DATA if it was not sent yet. Raises SubmissionFailure at DATA."""
        with self._recorder.stage(Stage.DATA):
            self._connection.stage = Stage.DATA
            if not self._connection.pending_replies:  # otherwise DATA was sent together with the envelope
                self._connection.send_commands(["DATA"])
            self._connection.expect(self._next_reply(), 354)
            self._connection.check_no_unsolicited_reply()

    def send_message(self, message: bytes, following: OutgoingMessage | None) -> Acceptance:
        """Send the message after the 354 reply and read the final reply. Raises SubmissionFailure at DATA.

        ``following``: the next message; its envelope may be sent with the end of this one.
        """
        with self._recorder.stage(Stage.DATA) as notes:
            self._connection.stage = Stage.DATA
            self._send_body(message, self._next_commands(following))
            if self._on_body_sent is not None:
                self._on_body_sent()
            reply = self._final_reply()
            acceptance = Acceptance(reply, parse_queue_id(reply))
            notes.evidence["reply"] = str(reply)
            notes.sentence = "The server accepted the message."
            return acceptance

    def _next_commands(self, following: OutgoingMessage | None) -> list[str]:
        if (
            following is None
            or not self._pipelining
            or self._unsupported(following.envelope, following.message)
        ):
            return []
        return following.envelope.commands(self._features, following.message)

    def _next_reply(self) -> Reply:
        return self._connection.read_reply(self._connection.limits.reply)

    def _check_supported(self, envelope: Envelope, message: bytes | None) -> None:
        reason = self._unsupported(envelope, message)
        if reason is Reason.MESSAGE_TOO_BIG:
            raise self._connection.failure(
                reason, size=str(len(message or b"")), limit=str(self._features.size)
            )
        if reason is not None:
            raise self._connection.failure(reason)

    def _unsupported(self, envelope: Envelope, message: bytes | None) -> Reason | None:
        """Return why the server cannot accept the message according to its EHLO reply, or None."""
        limit = self._features.size
        if message is not None and limit is not None and len(message) > limit:
            return Reason.MESSAGE_TOO_BIG
        if envelope.needs_smtputf8 and "SMTPUTF8" not in self._features:
            return Reason.NEEDS_SMTPUTF8
        return None

    def _send_body(self, message: bytes, next_commands: list[str]) -> None:
        """Send the body. A server that closes the connection meanwhile often sent a reply with the reason."""
        try:
            self._connection.send_body(dot_stuff(message), f"[message, {len(message)} octets]", next_commands)
        except SubmissionFailure as failure:
            if failure.reason is not Reason.DISCONNECTED:
                raise
            raise self._failure_after_hang_up(failure) from None
        self.pipelined = next_commands or None

    def _failure_after_hang_up(self, failure: SubmissionFailure) -> SubmissionFailure:
        try:
            reply = self._connection.read_reply(_REPLY_AFTER_HANG_UP_S)
        except SubmissionFailure:
            return failure
        return failure if reply.positive else self._connection.failure(Reason.REPLIED, reply)

    def _final_reply(self) -> Reply:
        """Read the reply to the final dot; any failure but a refusal leaves acceptance unknown.

        The wait lasts up to the deadline, or as long as ``final_reply`` of the settings. RFC 5321 section 4.5.3.2.6 grants ten
        minutes, because a client that gives up early risks a second copy.
        """
        final_reply_s = self._connection.limits.final_reply
        if final_reply_s:
            self._connection.deadline.extend(final_reply_s)
        try:
            reply = self._connection.read_reply(final_reply_s or None)
            if 200 <= reply.code < 300:
                return reply
            return self._connection.expect(reply)
        except SubmissionFailure as failure:
            failure.ambiguous = failure.reason is not Reason.REPLIED
            raise


def is_genuine_refusal(failure: SubmissionFailure) -> bool:
    """Return whether a pipelined envelope was refused for its content, and not for being pipelined.

    A recipient or a message can be refused at any time. The previous message had the same sender and it was
    accepted, so a refusal at MAIL, a timeout, a malformed reply and a complaint about the order of commands
    are reasons to repeat the envelope without pipelining.
    """
    reply = failure.reply
    if failure.reason in (Reason.MESSAGE_TOO_BIG, Reason.NEEDS_SMTPUTF8):
        return True
    if failure.reason is not Reason.REPLIED or reply is None or failure.stage is Stage.MAIL:
        return False
    about_order = reply.code in _SEQUENCE_ERRORS or (reply.enhanced or "")[1:].startswith(".5.")
    text = reply.text.lower()
    return not (about_order or reply.code == 421 or "pipelin" in text or "synchroni" in text)
