"""One conversation with a submission server, from its name to its acceptance of messages.

Whatever goes wrong is a SubmissionFailure, and the connection is closed by then unless it can honestly serve
the next message.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self, TypeVar

from ..failure import Reason, Stage, SubmissionFailure
from .connection import Budget
from .envelope import Acceptance, Envelope, OutgoingMessage
from .handshake import Handshake
from .transaction import MailTransaction, is_genuine_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from ..server import Server
    from .stages import Observer

_GOODBYE = 1.0  # seconds that politeness may cost: QUIT, or a RSET after a refusal
_GOODBYE_OCTETS = 4096
_T = TypeVar("_T")
_LINE_ENDS = re.compile(r"\r\n|\r|\n")


class Session(Handshake):
    """A conversation with ``server``, usable for many messages: ``open``, ``submit`` ..., ``close``.

    As a context manager it opens and closes itself.
    """

    def __init__(self, server: Server, observer: Observer | None = None) -> None:
        super().__init__(server, observer)
        self.last_acceptance: Acceptance | None = None
        # Called once a message: when the server takes its time, and when all of the message was said.
        self.on_wait: Callable[[], None] | None = None
        self.on_body_sent: Callable[[], None] | None = None
        self._announced: OutgoingMessage | None = None
        self._ahead: list[str] | None = None  # commands of the next message whose replies were not read yet
        self._ahead_of: OutgoingMessage | None = None  # that message
        self._says_ahead = self._in_groups = True  # until the server shows that it cannot follow

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
        """Hand over one message; return the server's acceptance.

        ``message`` has CRLF line ends and lines of at most 998 octets; ValueError is raised for anything else
        and for addresses that are none, before a word is said. Raises SubmissionFailure; afterwards the
        session is either ready for the next message or closed (see ``alive``).
        """
        following, self._announced = self._announced, None
        return self.send(OutgoingMessage.of(sender, recipient, message, tuple(mail_options)), following)

    def announce_next(self, following: OutgoingMessage | None) -> None:
        """Tell which message comes after the one that ``submit`` is called with next; see ``hand_in``."""
        self._announced = following

    def send(self, outgoing: OutgoingMessage, following: OutgoingMessage | None = None) -> Acceptance:
        """Do as ``submit``, and let the envelope of ``following`` travel with the end of this message.

        Where the server offers PIPELINING, a message then costs one round trip. Only the envelope of
        ``following`` leaves before ``following`` is handed in itself, so what became of this message can be
        recorded in between. Handing in another one instead is safe, but may cost the connection.
        """
        self.last_acceptance = None
        if self._ahead is not None and not self._is_announced(outgoing):
            self._forget_ahead()
        self.last_acceptance = self._transact(outgoing.envelope, lambda: self._deliver(outgoing, following))
        return self.last_acceptance

    def submit_many(self, messages: Iterable[OutgoingMessage]) -> Iterator[Acceptance | SubmissionFailure]:
        """Hand in one message after the other; yield what became of each, in order.

        A message is not finished before the outcome of the one before was taken and the next asked for, so
        whoever records each outcome in its loop never has two in doubt. ``messages`` is read one ahead. Each
        has its own limits and transcript; a connection that ended is opened again.
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
        """Ask for sender and recipient as ``submit`` does, then reset without sending anything."""
        envelope = Envelope.of(sender, recipient)
        self._forget_ahead()
        self._transact(envelope, lambda: self._exchange().envelope(envelope, None))
        self._reset()

    def _deliver(self, outgoing: OutgoingMessage, following: OutgoingMessage | None) -> Acceptance:
        exchange = self._exchange()
        if not self._asked_ahead(exchange, outgoing):
            exchange = self._exchange()
            exchange.envelope(outgoing.envelope, outgoing.message)
            exchange.consent()
        try:
            return exchange.message(outgoing.message, following if self._says_ahead else None)
        finally:
            self._ahead, self._ahead_of = exchange.said_ahead, following

    def _asked_ahead(self, exchange: MailTransaction, outgoing: OutgoingMessage) -> bool:
        """Return whether the server asked for this message already, its envelope having been said ahead.

        If the answers are not what they should be, the message was not begun, so it is safe to say it all
        again. Some servers take no envelope together with the end of a message (Haraka 3: "503 pipelined after
        end of DATA"). One that even lost step gets a new connection and one command at a time.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return False
        try:
            exchange.envelope(outgoing.envelope, outgoing.message, ahead)
            exchange.consent()
        except SubmissionFailure as failure:
            if is_genuine_refusal(failure) or self._budget.left() <= 0:
                raise
            self._says_ahead = False
            self.transcript.add("*", "that does not fit; from here on each message by itself")
            self._recover(failure)
            if self._wire is None:
                self._in_groups = False
                self.transcript.add("*", "a new connection, with one command at a time")
                self._climb_or_leave()
            return False
        return True

    def _exchange(self) -> MailTransaction:
        if self._wire is None:
            raise SubmissionFailure(Stage.MAIL, Reason.DISCONNECTED)
        in_groups = self._in_groups and "PIPELINING" in self.features
        logged_in = self.server.username is not None
        return MailTransaction(
            self._wire,
            self.features,
            self._recorder,
            logged_in=logged_in,
            in_groups=in_groups,
            on_body_sent=self.on_body_sent,
        )

    def _is_announced(self, outgoing: OutgoingMessage) -> bool:
        """Whether what was said ahead is the envelope of this very message, or of one whose envelope is the same."""
        commands = outgoing.envelope.commands
        return self._ahead_of is outgoing or self._ahead == commands(self.features, outgoing.message)

    def _transact(self, envelope: Envelope, act: Callable[[], _T]) -> _T:
        self._recorder.sender, self._recorder.recipient = str(envelope.sender), str(envelope.recipient)
        if self._wire is not None:
            self._wire.idle = self.on_wait
        try:
            result = act()
        except SubmissionFailure as failure:
            self._recover(failure)
            raise
        except BaseException:
            self._abandon()
            raise
        if self._ahead is None and self._wire is not None and self._wire.surplus():
            self._abandon()  # a reply too many: the next would be matched to the wrong command
        return result

    def sendmail(
        self,
        from_addr: str,
        to_addrs: str | Sequence[str],
        msg: str | bytes,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> dict[str, tuple[int, bytes]]:
        """Submit, called as ``smtplib.SMTP.sendmail`` is, so that a session can be a mail library's host.

        Exactly one recipient: with several, part of them could be refused behind an apparent success. The
        acceptance is in ``last_acceptance``; the returned dict of refused recipients is always empty.
        """
        recipients = [to_addrs] if isinstance(to_addrs, str) else list(to_addrs)
        if len(recipients) != 1 or rcpt_options:
            raise ValueError("A message goes to exactly one recipient, without recipient options.")
        message = _LINE_ENDS.sub("\r\n", msg).encode() if isinstance(msg, str) else msg
        self.submit(from_addr, recipients[0], message, mail_options)
        return {}

    # -- between and after messages

    def is_usable(self) -> bool:
        """Return whether the next message can go over this connection; a server's farewell closes it."""
        if self._wire is not None and self._ahead is None and self._wire.spoke_unasked():
            self._abandon()
        return self._wire is not None

    def close(self) -> None:
        """Take leave within a second and close. Never raises: a result already delivered stays a result."""
        if self._wire is None:
            return
        self._wire.budget = Budget(_GOODBYE, _GOODBYE_OCTETS)
        self._forget_ahead()
        if self._wire is None:
            return
        try:
            self._wire.ask("QUIT")
        except SubmissionFailure:
            return
        finally:
            self._abandon()

    quit = close

    def _recover(self, failure: SubmissionFailure) -> None:
        """Make a connection whose server said no ready for the next message, or close it."""
        if failure.reason in (Reason.MESSAGE_TOO_BIG, Reason.NEEDS_SMTPUTF8):
            return  # nothing had been said yet
        refused = failure.reason is Reason.REPLIED and failure.reply is not None and failure.reply.code != 421
        if refused and self._ahead is not None:
            return  # the message was refused; the answers to the next envelope follow as they should
        if refused and self._drained():
            self._reset()
        else:
            self._abandon()

    def _forget_ahead(self) -> None:
        """Give up a transaction whose envelope was said ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        if self._drained():
            self._reset()
        else:
            self._abandon()

    def _drained(self) -> bool:
        """Read the replies still owed to a refused group of commands; return whether all was as it should be.

        If DATA is among them and was granted, a message is expected: the lone dot that RFC 2920 advises could
        deliver an empty one at a server that lost count, so we rather hang up.
        """
        wire = self._wire
        try:
            while wire is not None and wire.owed > 0:
                if wire.read_reply(_GOODBYE).code in (354, 421):
                    return False
        except SubmissionFailure:
            return False
        return wire is not None

    def _reset(self) -> None:
        """Forget a transaction that will not be finished; a connection on which that fails is closed."""
        wire = self._wire
        if wire is None:
            return
        try:
            wire.send_lines(["RSET"])
            wire.require(wire.read_reply(_GOODBYE), 250)
        except SubmissionFailure:
            self._abandon()

    def _abandon(self) -> None:
        self._ahead = None
        super()._abandon()
