"""SmtpConnection: sends commands on a socket and matches replies to them, within an absolute deadline and a byte limit.

The server is untrusted. A timeout for each ``recv`` does not bound the conversation, because a server that
sends one byte every 0.4 s never exceeds it. Every wait is therefore cut to what is left of the deadline, every
received byte counts towards one limit, and the length of a line and the lines of a reply are bounded.
"""

from __future__ import annotations

import re
import select
import ssl
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from ..failure import Reason, Stage, SubmissionFailure
from .charsets import decode_guessing, is_utf8
from .reply import Reply, other_protocol, plain_text
from .transcript import Redactor

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ..network.dial import Deadline
    from ..server import Limits
    from .transcript import Transcript

_MAX_LINE_BYTES = 2000  # RFC 5321 section 4.5.3.1.5 allows 512; real EHLO lines are sometimes longer
_MAX_REPLY_LINES = 100  # the longest genuine EHLO reply has about 25
_SOCKET_TIMEOUT_S = 5.0  # setting a timeout costs a system call, so the same one is kept while it fits
_KEEP_WAITING_EVERY_S = 1.0  # between two calls of ``keep_waiting``
_ON_WAIT_AFTER_S = 0.03  # of silence, after which ``on_wait`` is called; on most roads the reply comes before
_MAX_CACHED_REPLIES = 50  # a server answers each message with the same few lines
_TRANSACTION = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA})
_CHUNK_BYTES = 65_536  # passed to one send(), so that a slow reader cannot make it outlast the deadline
_REPLY = re.compile(r"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)  # RFC 5321 section 4.2
_GREETING = re.compile(
    r"(?:220|[45]\d\d)(?:[ -]|$)"
)  # other greetings are not SMTP, or not meant for clients


@dataclass(frozen=True)
class _SocketFailure:
    """Why a socket call failed. Replaces the exception, whose traceback could hold the bytes being sent."""

    reason: Reason
    detail: str = ""


class SmtpConnection:
    """A connected socket with SMTP commands and replies. ``stage`` is the stage of the failures it raises.

    Args:
        sock: the connected socket; TLS replaces it.
        limits: timeouts and the byte limit.
        deadline: the absolute end of all waiting.
        transcript: records commands and replies.
    """

    def __init__(
        self, sock: socket.socket, limits: Limits, deadline: Deadline, transcript: Transcript
    ) -> None:
        self.sock = sock
        self.stage = Stage.GREETING
        self.logged_in = False
        self.pending_replies = 0  # replies to commands already sent; zero before the next group of commands
        self.on_wait: Callable[[], None] | None = None  # called once, when the server takes its time
        self.keep_waiting: Callable[[], bool] | None = None  # called every second of a wait; False ends it
        self._buffer = bytearray()
        self._redactor: Redactor | None = None
        self._cached_replies: dict[bytes, tuple[str, Reply]] = {}
        self.begin_message(limits, deadline, transcript)

    def begin_message(self, limits: Limits, deadline: Deadline, transcript: Transcript) -> None:
        """Set the bounds and the transcript of what follows; the byte count starts again."""
        self.limits = limits
        self.deadline = deadline
        self.transcript = transcript
        self._bytes_left = limits.received

    @property
    def encrypted(self) -> bool:
        return isinstance(self.sock, ssl.SSLSocket)

    def redact(self, secret: str, *encoded: str) -> None:
        """Replace a secret and its encoded forms by "[hidden]" in every later reply and transcript line."""
        self._redactor = Redactor(secret, encoded)
        self._cached_replies.clear()

    def failure(self, reason: Reason, reply: Reply | None = None, **evidence: str) -> SubmissionFailure:
        """Return the failure of the current stage; the caller raises it."""
        return SubmissionFailure(self.stage, reason, reply, evidence=evidence)

    # -- writing

    def send_commands(self, lines: list[str]) -> None:
        """Send commands, several in one segment where the server offers PIPELINING (RFC 2920).

        Raises ValueError for a line break within a command, which would be a second command.
        """
        data = _commands(lines)
        self.check_no_unsolicited_reply()
        self.pending_replies += len(lines)
        for line in lines:
            self.transcript.add("C", line)
        self._raise_failure(self._send(data))

    def send_secret(self, shown: str, produce: Callable[[], str]) -> None:
        """Send the line that ``produce`` returns; the transcript records ``shown`` instead.

        No frame that an exception passes through holds the line in a variable, so a traceback with local
        variables cannot show it.
        """
        self.check_no_unsolicited_reply()
        self.pending_replies += 1
        self.transcript.add("C", shown)
        self._raise_failure(self._send(produce().encode("ascii") + b"\r\n"))

    def send_body(self, data: bytes, shown: str, next_commands: list[str]) -> None:
        """Send a message that is dot-stuffed and terminated, and the envelope commands of the next message.

        RFC 2920 section 3.1 allows the end of a message to begin a group of commands. ``next_commands`` are
        recorded in the transcript of the next message, by ``record_pipelined``.
        """
        data += _commands(next_commands)
        self.check_no_unsolicited_reply()
        self.pending_replies += 1 + len(next_commands)
        self.transcript.add("C", shown)
        self._raise_failure(self._send(data))

    def record_pipelined(self, commands: list[str]) -> None:
        """Record commands in the transcript that were sent before the transcript began."""
        self.transcript.add("*", "sent together with the end of the message before:")
        for line in commands:
            self.transcript.add("C", line)

    def command(self, line: str) -> Reply:
        """Send one command and read its reply."""
        self.send_commands([line])
        return self.read_reply(self.limits.reply)

    def expect(self, reply: Reply, *codes: int) -> Reply:
        """Return ``reply`` if it has one of the codes; raise REPLIED for a refusal, GARBLED for another code."""
        if reply.code in codes:
            return reply
        raise self.failure(Reason.GARBLED if reply.positive else Reason.REPLIED, reply)

    def check_no_unsolicited_reply(self) -> None:
        """Raise if a reply was received that no command asked for; it would be matched to the next command.

        A 421 may arrive at any time and closes the connection (RFC 5321 section 3.8): REPLIED. Any other
        reply is GARBLED.
        """
        if not self._buffer:
            return
        reply = self.read_reply(self.limits.reply)
        raise self.failure(Reason.REPLIED if reply.code == 421 else Reason.GARBLED, reply)

    def _raise_failure(self, failure: _SocketFailure | None) -> None:
        if failure is not None:
            evidence = {"detail": failure.detail} if failure.detail else {}
            raise SubmissionFailure(self.stage, failure.reason, evidence=evidence)

    def _send(self, data: bytes) -> _SocketFailure | None:
        view = memoryview(data)
        while view:
            left = self.deadline.remaining()
            if left <= 0:
                return _SocketFailure(Reason.TIMED_OUT)
            try:
                self._set_timeout(left)
                view = view[self.sock.send(view[:_CHUNK_BYTES]) :]
            except TimeoutError:  # the socket's timeout may be shorter than the time left, never longer
                if not self._may_keep_waiting():
                    return _SocketFailure(Reason.CANCELLED)
            except OSError as error:
                return _classify(error)
        return None

    def _may_keep_waiting(self) -> bool:
        """Call the caller's functions for a wait; return whether it goes on."""
        on_wait, self.on_wait = self.on_wait, None
        if on_wait is not None:
            on_wait()
        return self.keep_waiting is None or self.keep_waiting()

    def _set_timeout(self, left: float) -> None:
        usual = _SOCKET_TIMEOUT_S if self.keep_waiting is None else _KEEP_WAITING_EVERY_S
        timeout = min(left, usual if self.on_wait is None else _ON_WAIT_AFTER_S)
        if self.sock.gettimeout() != timeout:
            self.sock.settimeout(timeout)

    # -- reading

    def read_reply(self, timeout: float | None) -> Reply:
        """Read one complete reply within ``timeout`` seconds; None means the rest of the deadline.

        Raises SubmissionFailure: TIMED_OUT, DISCONNECTED, TOO_MUCH, GARBLED.
        """
        ends = self.deadline.until(timeout)
        raw = self._read_line(ends)
        cached = self._cached_replies.get(raw)
        if cached is not None and self.stage in _TRANSACTION:
            self.transcript.add("S", cached[0])
            self.pending_replies -= 1
            return cached[1]
        code, texts = None, []
        for number in range(_MAX_REPLY_LINES):
            if number:
                raw = self._read_line(ends)
            line, clean = self._decode(raw)
            match = _REPLY.fullmatch(line)
            if match is None or code not in (None, match.group(1)):
                raise self._not_a_reply(line)
            code = match.group(1)
            # A line that cleaning leaves unchanged needs no second cleaning of its text.
            texts.append((match.group(3) or "") if clean == line else self._clean(match.group(3) or ""))
            if match.group(2) != "-":
                self.pending_replies -= 1
                reply = Reply.from_lines(int(code), texts)
                if (
                    not number
                    and self.stage in _TRANSACTION
                    and len(self._cached_replies) < _MAX_CACHED_REPLIES
                ):
                    self._cached_replies[raw] = (clean, reply)
                return reply
        raise self.failure(Reason.TOO_MUCH, limit=f"{_MAX_REPLY_LINES} lines in one reply")

    def _not_a_reply(self, line: str) -> SubmissionFailure:
        """Tell another protocol from broken SMTP. The evidence names the protocol and repeats none of its text.

        A web server sends nothing before it receives a request, so it is recognised at EHLO.
        """
        protocol = other_protocol(line)
        if protocol and self.stage in (Stage.GREETING, Stage.EHLO):
            return self.failure(Reason.NOT_SMTP, answers=protocol)
        return self.failure(Reason.NOT_SMTP if self.stage is Stage.GREETING else Reason.GARBLED)

    def _read_line(self, ends: float) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _MAX_LINE_BYTES:
                raise self._line_too_long()
            self._receive(ends)
            if self.stage is Stage.GREETING and self._buffer.startswith((b"\x15\x03", b"\x16\x03")):
                self._check_other_protocol()  # a TLS record has no line end to wait for
        if end > _MAX_LINE_BYTES:
            raise self._line_too_long()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _decode(self, raw: bytes) -> tuple[str, str]:
        """Decode a line and record it in the transcript; return the decoded line and the cleaned one."""
        line = self._text(raw).removesuffix("\r")
        # The greeting of another service is not recorded: the portal is no tool to read banners with.
        foreign = self.stage is Stage.GREETING and not _GREETING.match(line)
        clean = self._clean(line)
        self.transcript.add("S", "[this is not SMTP]" if foreign else clean)
        return line, clean

    def _text(self, raw: bytes) -> str:
        """Decode a line; one that is not UTF-8 by the charset that fits, unless that would show the password."""
        if is_utf8(raw):
            return raw.decode("utf-8", "replace")
        if self._redactor is not None:
            raw = self._redactor.redact_octets(raw)
        plain = raw.decode("utf-8", "replace")
        return plain if "[hidden]" in self._clean(plain) else decode_guessing(raw)

    def _line_too_long(self) -> SubmissionFailure:
        return self.failure(Reason.TOO_MUCH, limit=f"{_MAX_LINE_BYTES} characters in one line")

    def _clean(self, text: str) -> str:
        # Remove controls first: a secret with an invisible character inside would not match the redactor.
        cleaned = plain_text(text, _MAX_LINE_BYTES)
        if self._redactor is None:
            return cleaned
        return self._redactor.redact(cleaned, logging_in=self.stage is Stage.AUTH)

    def _receive(self, ends: float) -> None:
        chunk = self._recv(ends)
        if isinstance(chunk, _SocketFailure):
            self._check_other_protocol()
            self._raise_failure(chunk)
            return
        self._bytes_left -= len(chunk)
        if self._bytes_left < 0:
            raise self.failure(Reason.TOO_MUCH, limit="bytes of one conversation")
        self._buffer += chunk

    def _recv(self, ends: float) -> bytes | _SocketFailure:
        while (left := ends - monotonic()) > 0:
            try:
                self._set_timeout(left)
                return self.sock.recv(4096) or _SocketFailure(Reason.DISCONNECTED)
            except TimeoutError:
                if not self._may_keep_waiting():
                    return _SocketFailure(Reason.CANCELLED)
            except OSError as error:
                return _classify(error)
        return _SocketFailure(Reason.TIMED_OUT)

    def _check_other_protocol(self) -> None:
        """Raise NOT_SMTP for the incomplete first line of another protocol; a TLS alert has no line end."""
        protocol = other_protocol(bytes(self._buffer).decode("latin-1"))
        if self.stage is Stage.GREETING and protocol:
            raise self.failure(Reason.NOT_SMTP, answers=protocol)

    # -- data that no command asked for

    def has_unsolicited_data(self) -> bool:
        """Return whether bytes, or the end of the stream, can be read although no reply is pending."""
        if self._buffer:
            return True
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            return True
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    def has_buffered_data(self) -> bool:
        """Return whether more bytes have been received than the replies that were read."""
        return bool(self._buffer)

    def close(self) -> None:
        """Close the socket; never raises."""
        try:
            self.sock.close()
        except OSError:
            return


def _commands(lines: list[str]) -> bytes:
    joined = "".join([f"{line}\r\n" for line in lines])
    if joined.count("\n") != len(lines) or joined.count("\r") != len(lines) or "\0" in joined:
        raise ValueError("A command holds a line break.")
    return joined.encode()


def _classify(error: OSError) -> _SocketFailure:
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return _SocketFailure(Reason.DISCONNECTED)
    if isinstance(error, ssl.SSLError):
        return _SocketFailure(Reason.TLS_FAILED, plain_text(str(error.reason or "TLS error")))
    if isinstance(error, TimeoutError):
        return _SocketFailure(Reason.TIMED_OUT)
    return _SocketFailure(Reason.DISCONNECTED)
