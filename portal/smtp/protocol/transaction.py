"""One mail transaction: MAIL, RCPT, DATA and the message, each reply matched to its command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..failure import Reason, Stage, SubmissionFailure
from .envelope import Acceptance, Envelope, OutgoingMessage, dot_stuff, parse_queue_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import SmtpConnection
    from .reply import EhloFeatures, Reply
    from .stages import StageRecorder

_TAKEN = (250, 251, 252)  # done, will forward, cannot verify but will try
_LAST_WORDS = 1.0  # seconds granted to a server that hung up on a message to say why
_OUT_OF_ORDER = (500, 502, 503)  # unknown command, not implemented, bad sequence: RFC 5321 section 4.2.3


class MailTransaction:
    """The envelope and the message of one transaction, said over a wire whose session is open.

    ``in_groups`` tells whether commands may travel together (PIPELINING, RFC 2920). ``on_body_sent`` is called while
    the server reads the message.
    """

    def __init__(
        self,
        wire: SmtpConnection,
        features: EhloFeatures,
        recorder: StageRecorder,
        *,
        logged_in: bool,
        in_groups: bool,
        on_body_sent: Callable[[], None] | None = None,
    ) -> None:
        self._wire = wire
        self._features = features
        self._recorder = recorder
        self._freely = "" if logged_in else " without a log-in"
        self._in_groups = in_groups
        self._on_body_sent = on_body_sent
        self.said_ahead: list[str] | None = None  # the next envelope, once it left with this message's end

    def envelope(self, envelope: Envelope, message: bytes | None, ahead: list[str] | None = None) -> None:
        """Have sender and recipient accepted. With a message at hand the server is asked for all it takes.

        ``ahead``: these commands went out with the end of the message before, and only their replies are
        read. Raises SubmissionFailure at MAIL or RCPT.
        """
        wire = self._wire
        commands = ahead or envelope.commands(self._features, message)
        # RFC 2920 section 3.1: DATA must be the last of a group, for its reply decides what follows.
        together = message is not None and self._in_groups
        with self._recorder.stage(Stage.MAIL) as notes:
            wire.stage = Stage.MAIL
            self._refuse_what_server_cannot(envelope, message)
            if ahead is None:
                wire.send_lines(commands if together else commands[:1])
            else:
                wire.recall(ahead)
            notes.evidence["reply"] = str(wire.require(self._next_reply(), *_TAKEN))
            notes.sentence = f"The server lets us send as {envelope.sender}{self._freely}."
        with self._recorder.stage(Stage.RCPT) as notes:
            wire.stage = Stage.RCPT
            if not wire.owed:
                wire.send_lines(commands[1:2])
            notes.evidence["reply"] = str(wire.require(self._next_reply(), *_TAKEN))
            notes.sentence = f"The server takes mail for {envelope.recipient}."

    def consent(self) -> None:
        """Have the message asked for. Raises SubmissionFailure at DATA."""
        with self._recorder.stage(Stage.DATA):
            self._wire.stage = Stage.DATA
            if not self._wire.owed:  # otherwise DATA went out together with the envelope
                self._wire.send_lines(["DATA"])
            self._wire.require(self._next_reply(), 354)
            self._wire.refuse_words_unasked()

    def message(self, message: bytes, following: OutgoingMessage | None) -> Acceptance:
        """Hand over the message once it was asked for. Raises SubmissionFailure at DATA.

        ``following``: the message that comes next, whose envelope may travel with the end of this one.
        """
        with self._recorder.stage(Stage.DATA) as notes:
            self._wire.stage = Stage.DATA
            self._hand_over(message, self._ahead(following))
            if self._on_body_sent is not None:
                self._on_body_sent()
            reply = self._final_reply()
            acceptance = Acceptance(reply, parse_queue_id(reply))
            notes.evidence["reply"] = str(reply)
            notes.sentence = "The server accepted the message."
            return acceptance

    def _ahead(self, following: OutgoingMessage | None) -> list[str]:
        if following is None or not self._in_groups or self._refusal(following.envelope, following.message):
            return []
        return following.envelope.commands(self._features, following.message)

    def _next_reply(self) -> Reply:
        return self._wire.read_reply(self._wire.limits.reply)

    def _refuse_what_server_cannot(self, envelope: Envelope, message: bytes | None) -> None:
        reason = self._refusal(envelope, message)
        if reason is Reason.MESSAGE_TOO_BIG:
            raise self._wire.fail(reason, size=str(len(message or b"")), limit=str(self._features.size))
        if reason is not None:
            raise self._wire.fail(reason)

    def _refusal(self, envelope: Envelope, message: bytes | None) -> Reason | None:
        """Return why this server cannot take the message, as far as it told in advance."""
        limit = self._features.size
        if message is not None and limit is not None and len(message) > limit:
            return Reason.MESSAGE_TOO_BIG
        if envelope.needs_smtputf8 and "SMTPUTF8" not in self._features:
            return Reason.NEEDS_SMTPUTF8
        return None

    def _hand_over(self, message: bytes, ahead: list[str]) -> None:
        """Send the body. A server that hangs up in the middle has often said why; that then counts."""
        try:
            self._wire.send_body(dot_stuff(message), f"[message, {len(message)} octets]", ahead)
        except SubmissionFailure as broken:
            if broken.reason is not Reason.DISCONNECTED:
                raise
            raise self._last_words(broken) from None
        self.said_ahead = ahead or None

    def _last_words(self, broken: SubmissionFailure) -> SubmissionFailure:
        try:
            reply = self._wire.read_reply(_LAST_WORDS)
        except SubmissionFailure:
            return broken
        return broken if reply.positive else self._wire.fail(Reason.REPLIED, reply)

    def _final_reply(self) -> Reply:
        """Read the reply to the final dot; whatever prevents that leaves open whether the message is theirs.

        It may take all of the deadline that is left: RFC 5321 section 4.5.3.2.6 grants ten minutes, because
        every impatience here risks a second copy.
        """
        try:
            reply = self._wire.read_reply(None)
            if 200 <= reply.code < 300:
                return reply
            return self._wire.require(reply)
        except SubmissionFailure as failure:
            failure.ambiguous = failure.reason is not Reason.REPLIED
            raise


def is_genuine_refusal(failure: SubmissionFailure) -> bool:
    """Return whether an envelope said ahead was refused for its own sake, and not for having been early.

    A recipient or a message may be refused at any time. The sender was good a moment ago, so a refusal
    there, silence, nonsense, or a complaint about the order of commands is a reason to ask again, slowly.
    """
    reply = failure.reply
    if failure.reason in (Reason.MESSAGE_TOO_BIG, Reason.NEEDS_SMTPUTF8):
        return True
    if failure.reason is not Reason.REPLIED or reply is None or failure.stage is Stage.MAIL:
        return False
    about_order = reply.code in _OUT_OF_ORDER or (reply.enhanced or "")[1:].startswith(".5.")
    words = reply.text.lower()
    return not (about_order or reply.code == 421 or "pipelin" in words or "synchroni" in words)
