"""One mail transaction: MAIL, RCPT, DATA and the message, each reply matched to its command."""

from __future__ import annotations

from .envelope import Acceptance, Envelope, queue_id, stuffed
from .failure import Reason, Stage, SubmissionFailure
from .features import Features
from .ladder import Ladder
from .reply import Reply
from .wire import Wire

_TAKEN = (250, 251, 252)  # done, will forward, cannot verify but will try
_LAST_WORDS = 1.0  # seconds granted to a server that hung up on a message to say why


class Exchange:
    """The envelope and the message of one transaction, said over a wire whose session is open."""

    def __init__(self, wire: Wire, features: Features, ladder: Ladder, *, logged_in: bool) -> None:
        self._wire = wire
        self._features = features
        self._ladder = ladder
        self._freely = "" if logged_in else " without a log-in"

    def envelope(self, envelope: Envelope, message: bytes | None) -> None:
        """Have sender and recipient accepted. With a message at hand the server is asked for all it takes.

        Raises SubmissionFailure at MAIL or RCPT.
        """
        commands = [envelope.mail_command(self._features, message), envelope.rcpt_command(), "DATA"]
        # RFC 2920 section 3.1: DATA must be the last of a group, for its reply decides what follows.
        together = message is not None and "PIPELINING" in self._features
        with self._ladder.climb(Stage.MAIL) as note:
            self._wire.stage = Stage.MAIL
            self._refuse_what_server_cannot(envelope, message)
            self._wire.send_lines(commands if together else commands[:1])
            note.evidence["reply"] = str(self._wire.require(self._next_reply(), *_TAKEN))
            note.sentence = f"The server lets us send as {envelope.sender}{self._freely}."
        with self._ladder.climb(Stage.RCPT) as note:
            self._wire.stage = Stage.RCPT
            if not together:
                self._wire.send_lines(commands[1:2])
            note.evidence["reply"] = str(self._wire.require(self._next_reply(), *_TAKEN))
            note.sentence = f"The server takes mail for {envelope.recipient}."

    def message(self, message: bytes) -> Acceptance:
        """Hand over the message once its envelope is accepted. Raises SubmissionFailure at DATA."""
        with self._ladder.climb(Stage.DATA) as note:
            self._wire.stage = Stage.DATA
            if not self._wire.owed:  # otherwise DATA went out together with the envelope
                self._wire.send_lines(["DATA"])
            self._wire.require(self._next_reply(), 354)
            self._hand_over(message)
            reply = self._final_reply()
            acceptance = Acceptance(reply, queue_id(reply))
            note.evidence["reply"] = str(reply)
            note.sentence = "The server accepted the message."
            return acceptance

    def _next_reply(self) -> Reply:
        return self._wire.read_reply(self._wire.limits.reply)

    def _refuse_what_server_cannot(self, envelope: Envelope, message: bytes | None) -> None:
        limit = self._features.size
        if message is not None and limit is not None and len(message) > limit:
            raise self._wire.fail(Reason.MESSAGE_TOO_BIG, size=str(len(message)), limit=str(limit))
        if envelope.needs_smtputf8 and "SMTPUTF8" not in self._features:
            raise self._wire.fail(Reason.NEEDS_SMTPUTF8)

    def _hand_over(self, message: bytes) -> None:
        """Send the body. A server that hangs up in the middle has often said why; that then counts."""
        try:
            self._wire.send_body(stuffed(message), f"[message, {len(message)} octets]")
        except SubmissionFailure as broken:
            if broken.reason is not Reason.DISCONNECTED:
                raise
            raise self._last_words(broken) from None

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
