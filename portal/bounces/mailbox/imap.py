"""An IMAP connection with limits: guarded, encrypted, read-only (RFC 3501, RFC 9051, RFC 7628).

``imaplib`` speaks the protocol. This module gives it a socket whose address the SSRF guard has checked and whose
certificate is verified, and bounds what a server may send: ``imaplib`` itself reads as many bytes as the server announces.
"""

from __future__ import annotations

import imaplib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ...smtp.failure import Reason, SubmissionFailure
from ...smtp.network.dial import Deadline, dial
from ...smtp.network.guard import permits_plaintext, resolve_allowed
from ...smtp.protocol import tls
from ...smtp.server import Limits, Security, Server

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    from ...smtp.network.guard import EgressPolicy
    from ...smtp.server import Secret

PORTS = frozenset({993, 143})
TIME_LIMIT_S = 120.0  # of one connection, from the DNS query to the log-out
_LIMITS = Limits(deadline=TIME_LIMIT_S, connect=10.0)
_MAX_LINE_BYTES = 64 * 1024
_MAX_LITERAL_BYTES = 1024 * 1024
_MAX_TOTAL_BYTES = 16 * 1024 * 1024  # of one connection
_UID_DIGITS = 10  # of a number of 32 bits
_UID = re.compile(rb"\bUID (\d{1,10})\b")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d{1,19})\b")
UID_SPAN = 5_000  # of one search, so that its answer fits in a line


class ImapFailure(Exception):
    """The mailbox cannot be read. ``code`` is stable; no text of the server is kept."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class ImapServer:
    """Where the mailbox is. ``security`` is implicit TLS or STARTTLS; plaintext needs a private target that permits it."""

    host: str  # canonical
    port: int
    security: Security
    policy: EgressPolicy


@dataclass(frozen=True)
class MailSummary:
    """The headers of a mail, and its size in bytes."""

    uid: int
    size: int
    headers: bytes


class _BoundedImap(imaplib.IMAP4):
    """IMAP4 over a connected socket, with limits of time and bytes."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._deadline, self._left, self._buffer = deadline, _MAX_TOTAL_BYTES, bytearray()
        self._given = sock
        super().__init__("", 0)

    def open(self, host: str = "", port: int = 0, timeout: float | None = None) -> None:  # noqa: ARG002
        self.host, self.port = host, port
        self.sock = self._given

    def shutdown(self) -> None:
        self.sock.close()

    def replace_socket(self, sock: socket.socket) -> None:
        """Go on over TLS. Bytes that came before the handshake would be unencrypted answers (CVE-2011-0411)."""
        if self._buffer:
            raise ImapFailure("tls")
        self.sock = sock

    def _receive(self) -> None:
        self.sock.settimeout(max(self._deadline.remaining(), 0.001))
        try:
            data = self.sock.recv(min(65_536, self._left))
        except TimeoutError:
            raise ImapFailure("timed-out") from None
        except OSError:
            raise ImapFailure("disconnected") from None
        if self._deadline.remaining() <= 0:
            raise ImapFailure("timed-out")
        self._left -= len(data)
        if self._left <= 0:
            raise ImapFailure("too-much")
        if not data:
            raise ImapFailure("disconnected")
        self._buffer += data

    def read(self, size: int) -> bytes:
        if size > _MAX_LITERAL_BYTES:
            raise ImapFailure("too-much")
        while len(self._buffer) < size:
            self._receive()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def readline(self) -> bytes:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > _MAX_LINE_BYTES:
                raise ImapFailure("protocol")
            self._receive()
        return self.read(end + 1)

    def send(self, data: Any) -> None:
        self.sock.settimeout(max(self._deadline.remaining(), 0.001))
        try:
            self.sock.sendall(data)
        except OSError:
            raise ImapFailure("disconnected") from None


class ImapSession:
    """An open connection. Use it as a context manager; every method raises ImapFailure."""

    def __init__(self, server: ImapServer) -> None:
        deadline = Deadline(TIME_LIMIT_S)
        self._sock, ca_file = _connect(server, deadline)
        try:
            with _failures():
                self._imap = _BoundedImap(self._sock, deadline)
                if server.security is Security.STARTTLS:
                    self._start_tls(server.host, ca_file, deadline)
        except BaseException:
            self._sock.close()
            raise

    def _start_tls(self, host: str, ca_file: str | None, deadline: Deadline) -> None:
        if "STARTTLS" not in self._imap.capabilities:
            raise ImapFailure("starttls-missing")
        if self._imap._simple_command("STARTTLS")[0] != "OK":
            raise ImapFailure("starttls-missing")
        self._sock = _encrypt(self._sock, host, ca_file, deadline)
        self._imap.replace_socket(self._sock)
        self._imap._get_capabilities()

    def __enter__(self) -> ImapSession:
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self._imap.logout()
        except (ImapFailure, imaplib.IMAP4.error, OSError):
            pass
        finally:
            self._sock.close()

    def log_in(self, username: str, password: Secret) -> None:
        """Log in with a password: by AUTH=PLAIN where the server offers it, because LOGIN carries ASCII only."""
        with _failures("login-refused"):
            if "AUTH=PLAIN" in self._imap.capabilities:
                answer = f"\0{username}\0{password.reveal()}".encode()
                self._imap.authenticate("PLAIN", lambda _challenge: answer)
            elif "LOGINDISABLED" in self._imap.capabilities:
                raise ImapFailure("login-not-offered")
            else:
                self._imap.login(username, password.reveal())

    def log_in_with_token(self, username: str, token: Secret) -> None:
        """Log in with an access token by XOAUTH2, as Google and Microsoft document it."""
        if "AUTH=XOAUTH2" not in self._imap.capabilities:
            raise ImapFailure("login-not-offered")
        answers = iter([f"user={username}\1auth=Bearer {token.reveal()}\1\1".encode(), b""])
        with _failures("token-refused"):
            self._imap.authenticate("XOAUTH2", lambda _challenge: next(answers, b""))

    def examine(self, folder: str) -> int:
        """Open a folder read-only; return its UIDVALIDITY."""
        with _failures("no-folder"):
            status, _data = self._imap.select(_quoted(folder), readonly=True)
            if status != "OK":
                raise ImapFailure("no-folder")
            _name, values = self._imap.response("UIDVALIDITY")
        first = values[0] if values else None
        if not isinstance(first, bytes) or not first.isdigit():
            raise ImapFailure("protocol")
        return int(first)

    def next_uid(self) -> int:
        """Return the UID that the next mail has at least.

        A server need not state it when the folder is opened (RFC 3501 section 6.3.1); then it follows the highest one, 1 in an
        empty folder.
        """
        _name, values = self._imap.response("UIDNEXT")
        first = values[0] if values else None
        if isinstance(first, bytes) and first.isdigit():
            return int(first)
        _name, values = self._imap.response("EXISTS")
        return self._highest_uid() + 1 if values and values[-1] not in {None, b"0"} else 1

    def _highest_uid(self) -> int:
        with _failures():
            status, data = self._imap.uid("SEARCH", "UID *")
        if status != "OK":
            raise ImapFailure("protocol")
        return max(_uids_in(data), default=0)

    def uids_between(self, first: int, last: int) -> list[int]:
        """Return the UIDs of the mails from ``first`` to ``last``, in order. The span is at most ``UID_SPAN``."""
        with _failures():
            status, data = self._imap.uid("SEARCH", f"UID {first}:{last}")
        if status != "OK":
            raise ImapFailure("protocol")
        return sorted({one for one in _uids_in(data) if first <= one <= last})

    def summaries(self, uids: Sequence[int]) -> Iterator[MailSummary]:
        """Yield the headers of these mails."""
        for metadata, body in self._fetch(uids, "(UID RFC822.SIZE BODY.PEEK[HEADER]<0.8192>)"):
            uid, size = _UID.search(metadata), _SIZE.search(metadata)
            if uid:
                yield MailSummary(int(uid[1]), int(size[1]) if size else 0, body)

    def beginning(self, uid: int, size: int) -> bytes:
        """Return the first ``size`` bytes of a mail, which stays unread."""
        return next((body for _meta, body in self._fetch([uid], f"(UID BODY.PEEK[]<0.{size}>)")), b"")

    def _fetch(self, uids: Sequence[int], items: str) -> Iterator[tuple[bytes, bytes]]:
        with _failures():
            status, data = self._imap.uid("FETCH", ",".join(map(str, uids)), items)
        if status != "OK":
            raise ImapFailure("protocol")
        for index, one in enumerate(data):
            if isinstance(one, tuple) and len(one) == 2:
                after = (
                    data[index + 1] if index + 1 < len(data) and isinstance(data[index + 1], bytes) else b""
                )
                yield bytes(one[0]) + b" " + cast("bytes", after), bytes(one[1])


def _uids_in(data: Sequence[object]) -> list[int]:
    """Return the UIDs of an answer to SEARCH."""
    found = b" ".join(one for one in data if isinstance(one, bytes)).split()
    return [int(one) for one in found if one.isdigit() and len(one) <= _UID_DIGITS]


class _failures:  # noqa: N801
    """Turns errors of imaplib into an ImapFailure without the server's text."""

    def __init__(self, refused: str = "protocol") -> None:
        self._refused = refused

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: Any) -> None:
        if kind is None or isinstance(error, ImapFailure):
            return
        if isinstance(error, imaplib.IMAP4.abort):
            raise ImapFailure("protocol") from None  # also BYE
        if isinstance(error, imaplib.IMAP4.error):
            raise ImapFailure(self._refused) from None
        if isinstance(error, (OSError, ValueError, UnicodeError)):
            raise ImapFailure("protocol") from None


def _quoted(folder: str) -> str:
    """Return a folder name as a quoted string in modified UTF-7 (RFC 3501 section 5.1.3)."""
    parts = []
    for run in re.findall(r"[\x20-\x7e]+|[^\x20-\x7e]+", folder):
        if run.isascii():
            parts.append(run.replace("&", "&-"))
        else:
            encoded = run.encode("utf-7").decode("ascii").strip("+-")
            parts.append(f"&{encoded.replace('/', ',')}-")
    escaped = "".join(parts).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_CODES = {
    Reason.NAME_UNKNOWN: "name-unknown",
    Reason.NAME_UNANSWERED: "name-unanswered",
    Reason.TARGET_REFUSED: "target-refused",
    Reason.CONNECT_REFUSED: "connect-refused",
    Reason.CONNECT_TIMED_OUT: "timed-out",
    Reason.UNREACHABLE: "unreachable",
    Reason.CERTIFICATE_EXPIRED: "certificate",
    Reason.CERTIFICATE_NAME: "certificate-name",
    Reason.CERTIFICATE_UNTRUSTED: "certificate",
}


def _connect(server: ImapServer, deadline: Deadline) -> tuple[socket.socket, str | None]:
    """Return a connected socket, encrypted where TLS comes first, and the file of further authorities."""
    plain = server.security is Security.PLAINTEXT
    target = Server(server.host, server.port, server.security, policy=server.policy, limits=_LIMITS)
    try:
        found = resolve_allowed(
            server.host, server.port, server.policy, deadline.remaining(), plaintext=plain
        )
        sock, peer = dial(found, target, _LIMITS, deadline)
    except SubmissionFailure as failure:
        raise ImapFailure(_CODES.get(failure.reason, "unreachable")) from None
    if plain and not permits_plaintext(peer.address, server.port, server.policy):
        sock.close()
        raise ImapFailure("target-refused")
    if server.security is Security.IMPLICIT_TLS:
        sock = _encrypt(sock, server.host, peer.ca_file, deadline)
    return sock, peer.ca_file


def _encrypt(sock: socket.socket, host: str, ca_file: str | None, deadline: Deadline) -> socket.socket:
    try:
        return tls.wrap_socket(sock, host, ca_file, deadline.remaining())[0]
    except SubmissionFailure as failure:
        sock.close()
        raise ImapFailure(_CODES.get(failure.reason, "tls")) from None
