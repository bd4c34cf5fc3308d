"""Session: one conversation with a submission server, from the handshake to any number of accepted messages.

Every failure is a SubmissionFailure. Afterwards the connection is closed unless it can safely carry the next
message.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Self, TypeVar

from ..failure import Reason, Stage, SubmissionFailure
from ..network.dial import Deadline
from .envelope import Acceptance, Envelope, OutgoingMessage
from .handshake import Handshake
from .transaction import MailTransaction, is_genuine_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from ..server import Server
    from .stages import Observer

_QUIT_TIMEOUT_S = 1.0  # for QUIT, and for RSET after a refusal
_QUIT_BYTES = 4096
_T = TypeVar("_T")
_LINE_ENDS = re.compile(r"\r\n|\r|\n")


class Session(Handshake):
    """A conversation with ``server`` for many messages: ``open``, ``submit`` ..., ``close``.

    As a context manager it opens and closes itself.

    Attributes:
        on_wait: called at most once a message, when the server takes its time.
        on_body_sent: called once a message, when all of it has been sent.
    """

    def __init__(
        self,
        server: Server,
        observer: Observer | None = None,
        keep_waiting: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(server, observer, keep_waiting)
        self.last_acceptance: Acceptance | None = None
        self.on_wait: Callable[[], None] | None = None
        self.on_body_sent: Callable[[], None] | None = None
        self._pipelined: list[str] | None = None  # commands sent for the next message, replies not read yet
        self._pipelined_for: OutgoingMessage | None = None  # that message
        # Both true until the server shows that it cannot follow:
        self._pipelines_messages = True  # the next envelope with the end of a message
        self._pipelines_commands = True  # several commands of one envelope

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- submitting

    def submit(
        self, sender: str, recipient: str, message: bytes, mail_options: Sequence[str] = ()
    ) -> Acceptance:
        """Submit one message; return the server's acceptance.

        ``message`` has CRLF line ends and lines of at most 998 octets. Raises ValueError for any other
        message and for an invalid address, before a command is sent, and SubmissionFailure; the session is
        then either ready for the next message or closed (see ``is_usable``).
        """
        return self.send(OutgoingMessage.build(sender, recipient, message, tuple(mail_options)))

    def send(self, outgoing: OutgoingMessage, following: OutgoingMessage | None = None) -> Acceptance:
        """Submit ``outgoing``; send the envelope of ``following`` together with the end of the message.

        Where the server offers PIPELINING, a message then costs one round trip. The message of ``following``
        is sent by the next call only, so the caller can record the acceptance of this one in between.
        Calling ``send`` next with another message is safe, but may close the connection.
        """
        self.last_acceptance = None
        if self._pipelined is not None and not self._is_pipelined(outgoing):
            self._cancel_pipelined()
        self.last_acceptance = self._transact(outgoing.envelope, lambda: self._deliver(outgoing, following))
        return self.last_acceptance

    def submit_many(self, messages: Iterable[OutgoingMessage]) -> Iterator[Acceptance | SubmissionFailure]:
        """Submit one message after the other; yield the outcome of each, in order.

        A message is not completed before the caller has taken the outcome of the previous one, so a caller
        that records each outcome in its loop has at most one message whose outcome is unknown. ``messages``
        is read one ahead. Each message has its own limits and transcript; a closed connection is reopened.
        """
        queue = iter(messages)
        outgoing = next(queue, None)
        while outgoing is not None:
            following = next(queue, None)
            yield self._outcome(outgoing, following)
            outgoing = following

    def _outcome(
        self, outgoing: OutgoingMessage, following: OutgoingMessage | None
    ) -> Acceptance | SubmissionFailure:
        try:
            if self.is_usable():
                self.begin_message()
            self.open()
            return self.send(outgoing, following)
        except SubmissionFailure as failure:
            return failure

    def verify_recipient(self, sender: str, recipient: str) -> None:
        """Send MAIL and RCPT as ``submit`` does, then RSET instead of a message."""
        envelope = Envelope.parse(sender, recipient)
        self._cancel_pipelined()
        self._transact(envelope, lambda: self._transaction().send_envelope(envelope, None))
        self._reset()

    def _deliver(self, outgoing: OutgoingMessage, following: OutgoingMessage | None) -> Acceptance:
        transaction = self._transaction()
        if not self._continue_pipelined(transaction, outgoing):
            transaction = self._transaction()
            transaction.send_envelope(outgoing.envelope, outgoing.message)
            transaction.request_data()
        try:
            return transaction.send_message(outgoing.message, following if self._pipelines_messages else None)
        finally:
            self._pipelined, self._pipelined_for = transaction.pipelined, following

    def _continue_pipelined(self, transaction: MailTransaction, outgoing: OutgoingMessage) -> bool:
        """Return whether the server accepted the pipelined envelope and waits for the message.

        With any other reply the message was not begun, so it is safe to repeat the envelope. Some servers do
        not accept commands with the end of a message (Haraka 3: "503 pipelined after end of DATA"). If the
        replies no longer match the commands, a new connection sends one command at a time.
        """
        pipelined, self._pipelined = self._pipelined, None
        if pipelined is None:
            return False
        try:
            transaction.send_envelope(outgoing.envelope, outgoing.message, pipelined)
            transaction.request_data()
        except SubmissionFailure as failure:
            if is_genuine_refusal(failure) or self._deadline.remaining() <= 0:
                raise
            self._pipelines_messages = False
            self.transcript.add("*", "that does not fit; from here on each message by itself")
            self._recover(failure)
            if self._connection is None:
                self._pipelines_commands = False
                self.transcript.add("*", "a new connection, with one command at a time")
                self._connect()
            return False
        return True

    def _transaction(self) -> MailTransaction:
        if self._connection is None:
            raise SubmissionFailure(Stage.MAIL, Reason.DISCONNECTED)
        return MailTransaction(
            self._connection,
            self.features,
            self._recorder,
            pipelining=self._pipelines_commands and "PIPELINING" in self.features,
            on_body_sent=self.on_body_sent,
        )

    def _is_pipelined(self, outgoing: OutgoingMessage) -> bool:
        """Return whether the pipelined commands are those of this message."""
        commands = outgoing.envelope.commands
        return self._pipelined_for is outgoing or self._pipelined == commands(self.features, outgoing.message)

    def _transact(self, envelope: Envelope, act: Callable[[], _T]) -> _T:
        self._recorder.sender, self._recorder.recipient = str(envelope.sender), str(envelope.recipient)
        if self._connection is not None:
            self._connection.on_wait = self.on_wait
        try:
            result = act()
        except SubmissionFailure as failure:
            self._recover(failure)
            raise
        except BaseException:
            self._drop()
            raise
        if self._pipelined is None and self._connection is not None and self._connection.has_buffered_data():
            self._drop()  # a surplus reply would be matched to the next command
        return result

    def sendmail(
        self,
        from_addr: str,
        to_addrs: str | Sequence[str],
        msg: str | bytes,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> dict[str, tuple[int, bytes]]:
        """Submit with the signature of ``smtplib.SMTP.sendmail``, for mail libraries.

        Exactly one recipient: with several, some could be refused although the call succeeds. The acceptance
        is in ``last_acceptance``; the returned dict of refused recipients is always empty.
        """
        recipients = [to_addrs] if isinstance(to_addrs, str) else list(to_addrs)
        if len(recipients) != 1 or rcpt_options:
            raise ValueError("A message goes to exactly one recipient, without recipient options.")
        message = _LINE_ENDS.sub("\r\n", msg).encode() if isinstance(msg, str) else msg
        self.submit(from_addr, recipients[0], message, mail_options)
        return {}

    # -- between and after messages

    def is_usable(self) -> bool:
        """Return whether the connection can carry the next message; close it if the server has closed its end."""
        if (
            self._connection is not None
            and self._pipelined is None
            and self._connection.has_unsolicited_data()
        ):
            self._drop()
        return self._connection is not None

    def close(self) -> None:
        """Send QUIT and close, within about a second. Never raises: the outcome of a message is already known."""
        if self._connection is None:
            return
        limits = replace(self._limits, received=_QUIT_BYTES)
        self._connection.begin_message(limits, Deadline(_QUIT_TIMEOUT_S), self.transcript)
        self._cancel_pipelined()
        if self._connection is None:
            return
        try:
            self._connection.command("QUIT")
        except SubmissionFailure:
            return
        finally:
            self._drop()

    quit = close

    def _recover(self, failure: SubmissionFailure) -> None:
        """Reset the connection after a refusal so that it can carry the next message, or close it."""
        if failure.reason in (Reason.MESSAGE_TOO_BIG, Reason.NEEDS_SMTPUTF8):
            return  # no command was sent
        refused = failure.reason is Reason.REPLIED and failure.reply is not None and failure.reply.code != 421
        if refused and self._pipelined is not None:
            return  # the message was refused; the replies to the next envelope follow in order
        if refused and self._drain_replies():
            self._reset()
        else:
            self._drop()

    def _cancel_pipelined(self) -> None:
        """End a transaction whose envelope was pipelined."""
        pipelined, self._pipelined = self._pipelined, None
        if pipelined is None:
            return
        if self._drain_replies():
            self._reset()
        else:
            self._drop()

    def _drain_replies(self) -> bool:
        """Read the pending replies of a refused group of commands; return whether the session can continue.

        If DATA is among the commands and was accepted, the server expects a message. The lone dot that RFC
        2920 advises could deliver an empty message where the replies are out of step, so the connection is
        closed instead.
        """
        connection = self._connection
        try:
            while connection is not None and connection.pending_replies > 0:
                if connection.read_reply(_QUIT_TIMEOUT_S).code in (354, 421):
                    return False
        except SubmissionFailure:
            return False
        return connection is not None

    def _reset(self) -> None:
        """End an unfinished transaction with RSET; close the connection if that fails."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.send_commands(["RSET"])
            connection.expect(connection.read_reply(_QUIT_TIMEOUT_S), 250)
        except SubmissionFailure:
            self._drop()

    def _drop(self) -> None:
        self._pipelined = None
        super()._drop()
