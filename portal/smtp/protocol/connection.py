"""The line between us and a server nobody vouches for: one deadline, one byte budget, bounded lines.

A timeout for each ``recv`` bounds nothing: a server that drips one byte every 0.4 s never meets it. So every
wait is cut to what is left of the conversation's absolute deadline, and every byte is paid from one budget.
"""

from __future__ import annotations

import re
import select
import ssl
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from ..failure import Reason, Stage, SubmissionFailure
from .reply import Reply, plain_text
from .transcript import Redactor

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ..server import Limits
    from .transcript import Transcript

_LINE_LIMIT = 2000  # octets; RFC 5321 section 4.5.3.1.5 allows 512, real EHLO lines are sometimes longer
_LINES_LIMIT = 100  # lines of one reply; the longest honest EHLO has about 25
_TICK = 5.0  # seconds of one wait at most; setting a timeout costs a system call, so it is set to this once
_PAUSE = 0.005  # seconds after which whoever waits for the server may do something else first
_USUAL_LIMIT = 50  # replies remembered; a server says the same few words to each message
_TRANSACTION = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA})
_CHUNK = 65_536  # octets handed to the kernel at once, so that a slow reader cannot outlast the deadline
_REPLY = re.compile(r"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)  # RFC 5321 section 4.2
_GREETING = re.compile(r"(?:220|[45]\d\d)(?:[ -]|$)")  # all else is not SMTP, or no SMTP meant for clients


class Budget:
    """What is left of one conversation: a moment and a number of octets."""

    def __init__(self, deadline: float, received: int) -> None:
        self._ends = monotonic() + deadline
        self._received = received

    def left(self) -> float:
        """Return the seconds left, at least zero."""
        return max(0.0, self._ends - monotonic())

    def until(self, cap: float | None) -> float:
        """Return the moment at which a wait of at most ``cap`` seconds ends."""
        return self._ends if cap is None else min(self._ends, monotonic() + cap)

    def spend(self, octets: int) -> bool:
        """Pay for received octets; return whether the budget covers them."""
        self._received -= octets
        return self._received >= 0


@dataclass(frozen=True)
class _Fault:
    """Why a socket call failed, without the exception: its traceback could hold what was being sent."""

    reason: Reason
    detail: str = ""


class SmtpConnection:
    """A connected socket spoken to in commands and replies. ``stage`` names the rung of its failures."""

    def __init__(self, sock: socket.socket, limits: Limits, budget: Budget, transcript: Transcript) -> None:
        self.sock = sock
        self.limits = limits
        self.budget = budget
        self.transcript = transcript
        self.stage = Stage.GREETING
        self.owed = 0  # replies to commands already sent; zero again before the next group of commands
        self.idle: Callable[[], None] | None = None  # called once, when the server takes its time
        self._buffer = bytearray()
        self._scrubber: Redactor | None = None
        self._usual: dict[bytes, tuple[str, Reply]] = {}

    @property
    def encrypted(self) -> bool:
        return isinstance(self.sock, ssl.SSLSocket)

    def hide(self, plain: str, *encoded: str) -> None:
        """Keep a secret, and its encoded forms, out of every later reply and transcript line."""
        self._scrubber = Redactor(plain, encoded)
        self._usual.clear()

    def fail(self, reason: Reason, reply: Reply | None = None, **evidence: str) -> SubmissionFailure:
        """Return the failure of the current stage, to be raised by the caller."""
        return SubmissionFailure(self.stage, reason, reply, evidence=evidence)

    # -- writing

    def send_lines(self, lines: list[str]) -> None:
        """Send commands, several in one segment where the server allows it (PIPELINING, RFC 2920).

        Arguments were validated before: a line break here would be a second command.
        """
        data = _commands(lines)
        self.refuse_words_unasked()
        self.owed += len(lines)
        for line in lines:
            self.transcript.add("C", line)
        self._raise_fault(self._push(data))

    def send_secret(self, shown: str, produce: Callable[[], str]) -> None:
        """Send the line ``produce`` returns, of which the transcript sees ``shown`` only.

        The line lives in no variable of a frame that an exception passes through, so that no traceback
        with locals can show it.
        """
        self.refuse_words_unasked()
        self.owed += 1
        self.transcript.add("C", shown)
        self._raise_fault(self._push(produce().encode("ascii") + b"\r\n"))

    def send_body(self, data: bytes, shown: str, ahead: list[str]) -> None:
        """Send message octets that are already dot-stuffed and terminated, and what belongs to the next message.

        RFC 2920 section 3.1 allows the end of a message to begin a group of commands. The transcript of the
        next message, not of this one, tells of them: see ``recall``.
        """
        data += _commands(ahead)
        self.refuse_words_unasked()
        self.owed += 1 + len(ahead)
        self.transcript.add("C", shown)
        self._raise_fault(self._push(data))

    def recall(self, ahead: list[str]) -> None:
        """Write into the transcript what was said before the transcript began."""
        self.transcript.add("*", "said together with the end of the message before:")
        for line in ahead:
            self.transcript.add("C", line)

    def ask(self, line: str) -> Reply:
        """Send one command and read its reply."""
        self.send_lines([line])
        return self.read_reply(self.limits.reply)

    def require(self, reply: Reply, *codes: int) -> Reply:
        """Return a reply that has one of the codes; raise REPLIED for a refusal and GARBLED for nonsense."""
        if reply.code in codes:
            return reply
        raise self.fail(Reason.GARBLED if reply.positive else Reason.REPLIED, reply)

    def refuse_words_unasked(self) -> None:
        """Raise if a reply lies there that no command asked for, lest it be matched to the wrong one.

        A 421 may come at any time and means what it says (RFC 5321 section 3.8).
        """
        if not self._buffer:
            return
        reply = self.read_reply(self.limits.reply)
        raise self.fail(Reason.REPLIED if reply.code == 421 else Reason.GARBLED, reply)

    def _raise_fault(self, fault: _Fault | None) -> None:
        if fault is not None:
            evidence = {"detail": fault.detail} if fault.detail else {}
            raise SubmissionFailure(self.stage, fault.reason, evidence=evidence)

    def _push(self, data: bytes) -> _Fault | None:
        view = memoryview(data)
        while view:
            left = self.budget.left()
            if left <= 0:
                return _Fault(Reason.TIMED_OUT)
            try:
                self._wait_at_most(left)
                view = view[self.sock.send(view[:_CHUNK]) :]
            except TimeoutError:
                self._use_the_pause()  # a wait may be shorter than what is left, never longer
            except OSError as error:
                return _fault_of(error)
        return None

    def _use_the_pause(self) -> None:
        idle, self.idle = self.idle, None
        if idle is not None:
            idle()

    def _wait_at_most(self, seconds: float) -> None:
        wait = min(seconds, _TICK if self.idle is None else _PAUSE)
        if self.sock.gettimeout() != wait:
            self.sock.settimeout(wait)

    # -- reading

    def read_reply(self, cap: float | None) -> Reply:
        """Read one complete reply within ``cap`` seconds (None: whatever the deadline leaves).

        Raises SubmissionFailure: TIMED_OUT, DISCONNECTED, TOO_MUCH, GARBLED.
        """
        ends = self.budget.until(cap)
        raw = self._read_line(ends)
        usual = self._usual.get(raw)
        if usual is not None and self.stage in _TRANSACTION:
            self.transcript.add("S", usual[0])
            self.owed -= 1
            return usual[1]
        code, texts = None, []
        for number in range(_LINES_LIMIT):
            if number:
                raw = self._read_line(ends)
            line, clean = self._heard(raw)
            found = _REPLY.fullmatch(line)
            if found is None or code not in (None, found.group(1)):
                raise self._no_reply(line)
            code = found.group(1)
            # A line that cleaning leaves as it is needs it no second time for its text.
            texts.append((found.group(3) or "") if clean == line else self._clean(found.group(3) or ""))
            if found.group(2) != "-":
                self.owed -= 1
                reply = Reply.of(int(code), texts)
                if not number and self.stage in _TRANSACTION and len(self._usual) < _USUAL_LIMIT:
                    self._usual[raw] = (clean, reply)
                return reply
        raise self.fail(Reason.TOO_MUCH, limit=f"{_LINES_LIMIT} lines in one reply")

    def _no_reply(self, line: str) -> SubmissionFailure:
        """Tell another protocol from broken SMTP; what the other said is told by its kind, not repeated.

        A web server says nothing until it is spoken to, so it gives itself away at EHLO.
        """
        kind = other_protocol(line)
        if kind and self.stage in (Stage.GREETING, Stage.EHLO):
            return self.fail(Reason.NOT_SMTP, answers=kind)
        return self.fail(Reason.NOT_SMTP if self.stage is Stage.GREETING else Reason.GARBLED)

    def _read_line(self, ends: float) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LINE_LIMIT:
                raise self._line_too_long()
            self._fill(ends)
        if end > _LINE_LIMIT:
            raise self._line_too_long()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _heard(self, raw: bytes) -> tuple[str, str]:
        """Decode a line and write it into the transcript; return it as it came, and cleaned."""
        line = raw.decode("utf-8", "replace").removesuffix("\r")
        # What some other service says about itself is none of our business (no banner grabbing).
        foreign = self.stage is Stage.GREETING and not _GREETING.match(line)
        clean = self._clean(line)
        self.transcript.add("S", "[this is not SMTP]" if foreign else clean)
        return line, clean

    def _line_too_long(self) -> SubmissionFailure:
        return self.fail(Reason.TOO_MUCH, limit=f"{_LINE_LIMIT} characters in one line")

    def _clean(self, text: str) -> str:
        # Controls go first: a secret with an invisible character inside would slip past the scrubber.
        cleaned = plain_text(text, _LINE_LIMIT)
        if self._scrubber is None:
            return cleaned
        return self._scrubber.clean(cleaned, logging_in=self.stage is Stage.AUTH)

    def _fill(self, ends: float) -> None:
        chunk = self._pull(ends)
        if isinstance(chunk, _Fault):
            self._refuse_other_protocol()
            self._raise_fault(chunk)
            return
        if not self.budget.spend(len(chunk)):
            raise self.fail(Reason.TOO_MUCH, limit="bytes of one conversation")
        self._buffer += chunk

    def _pull(self, ends: float) -> bytes | _Fault:
        while (left := ends - monotonic()) > 0:
            try:
                self._wait_at_most(left)
                return self.sock.recv(4096) or _Fault(Reason.DISCONNECTED)
            except TimeoutError:
                self._use_the_pause()
            except OSError as error:
                return _fault_of(error)
        return _Fault(Reason.TIMED_OUT)

    def _refuse_other_protocol(self) -> None:
        """Name what began to answer with something else and then fell silent: a TLS alert has no line end."""
        kind = other_protocol(bytes(self._buffer).decode("latin-1"))
        if self.stage is Stage.GREETING and kind:
            raise self.fail(Reason.NOT_SMTP, answers=kind)

    # -- what must not be there

    def spoke_unasked(self) -> bool:
        """Return whether octets, or the end of the stream, wait although we asked for nothing."""
        if self._buffer:
            return True
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            return True
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    def surplus(self) -> bool:
        """Return whether more than the replies asked for has already been read."""
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


def _fault_of(error: OSError) -> _Fault:
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return _Fault(Reason.DISCONNECTED)
    if isinstance(error, ssl.SSLError):
        return _Fault(Reason.TLS_FAILED, plain_text(str(error.reason or "TLS error")))
    if isinstance(error, TimeoutError):
        return _Fault(Reason.TIMED_OUT)
    return _Fault(Reason.DISCONNECTED)


def other_protocol(text: str) -> str | None:
    """Return the name of a protocol that is not SMTP, by how its first line begins."""
    beginnings = {
        "HTTP/": "HTTP",
        "<": "HTTP",
        "* OK": "IMAP",
        "* BYE": "IMAP",
        "* PREAUTH": "IMAP",
        "+OK": "POP3",
        "-ERR": "POP3",
        "SSH-": "SSH",
        "RFB ": "VNC",
        "\x15\x03": "TLS",  # an alert record, RFC 8446 section 5.1
        "\x16\x03": "TLS",
    }
    return next((name for start, name in beginnings.items() if text.upper().startswith(start)), None)
