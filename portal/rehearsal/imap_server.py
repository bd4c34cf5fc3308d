"""A read-only IMAP server for the mailboxes of the rehearsal, on the loopback address and with TLS.

It answers the commands that the reader of the mailbox for bounces sends (RFC 3501), and refuses all others.
"""

from __future__ import annotations

import base64
import binascii
import re
import socketserver
from typing import TYPE_CHECKING

from ..clock import utcnow
from ..oauth.issuers import REHEARSAL_READ_SCOPE
from . import mailboxes
from .consents import read_login
from .listeners import PASSWORD
from .serving import serve_in_thread

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from .consents import Consents

_CAPABILITIES = b"IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2"
_REFUSED_TOKEN = b'{"status":"401","schemes":"bearer","scope":"imap.read"}'
_TIMEOUT_S = 60.0
_MAX_LINE_BYTES = 8192
_MAX_UIDS = 1000  # of one FETCH
_UID_VALIDITY = 1
_SPAN = re.compile(rb"UID (\d{1,10}):(\d{1,10})$")
_SECTION = re.compile(rb"BODY\.PEEK\[(HEADER)?\](?:<0\.(\d{1,9})>)?")


def serve(
    folder: Path, sock: socket.socket, context: ssl.SSLContext, consents: Consents
) -> Callable[[], None]:
    """Serve on a bound socket in daemon threads; return a function that stops it."""

    class Connection(_Connection):
        pass

    Connection.folder, Connection.context, Connection.consents = folder, context, consents
    server = _Server(sock.getsockname(), Connection, bind_and_activate=False)
    server.socket.close()
    server.socket = sock
    return serve_in_thread(server, "rehearsal-imap")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a connection that broke."""


class _Connection(socketserver.BaseRequestHandler):
    """One connection: TLS from the first byte, a log-in, and the commands of a reader."""

    folder: Path
    context: ssl.SSLContext
    consents: Consents

    def handle(self) -> None:
        self.request.settimeout(_TIMEOUT_S)
        with self.context.wrap_socket(self.request, server_side=True) as sock, sock.makefile("rwb") as file:
            self._file = file
            self._mailbox: Path | None = None
            self._send(b"* OK [CAPABILITY %s] the rehearsal's mailboxes" % _CAPABILITIES)
            while True:
                tag, _space, command = self._line().partition(b" ")
                if not tag or not self._answer(tag, command):
                    return

    def _line(self) -> bytes:
        line: bytes = self._file.readline(_MAX_LINE_BYTES)
        return line.rstrip(b"\r\n") if line.endswith(b"\n") else b""

    def _send(self, *lines: bytes) -> None:
        for line in lines:
            self._file.write(line + b"\r\n")
        self._file.flush()

    def _answer(self, tag: bytes, command: bytes) -> bool:
        """Answer one command; return whether the connection goes on."""
        name = command.partition(b" ")[0].upper()
        done = tag + b" OK done"
        if name == b"LOGOUT":
            self._send(b"* BYE", done)
            return False
        if name == b"CAPABILITY":
            self._send(b"* CAPABILITY " + _CAPABILITIES, done)
        elif name == b"NOOP":
            self._send(done)
        elif name == b"AUTHENTICATE" and command.upper().endswith(b" PLAIN"):
            self._log_in(tag)
        elif name == b"AUTHENTICATE" and command.upper().endswith(b" XOAUTH2"):
            self._log_in_with_token(tag)
        elif self._mailbox is None:
            self._send(tag + b" NO log in first")
        else:
            self._answer_reader(tag, command, self._mailbox)
        return True

    def _answer_reader(self, tag: bytes, command: bytes, mailbox: Path) -> None:
        done = tag + b" OK done"
        if command.upper().startswith(b"EXAMINE "):
            self._examine(tag, command, mailbox)
        elif command.upper().startswith(b"UID SEARCH") and (span := _SPAN.search(command)):
            first, last = int(span[1]), int(span[2])
            found = [b"%d" % uid for uid in mailboxes.uids(mailbox) if first <= uid <= last]
            self._send(b" ".join([b"* SEARCH", *found]), done)
        elif command.upper().startswith(b"UID FETCH") and (section := _SECTION.search(command)):
            self._fetch(command, section, mailbox)
            self._send(done)
        else:
            self._send(tag + b" BAD the rehearsal does not know this command")

    def _log_in(self, tag: bytes) -> None:
        self._send(b"+ ")
        try:
            parts = base64.b64decode(self._line(), validate=True).decode().split("\0")
        except (binascii.Error, ValueError):
            parts = []
        if len(parts) == 3 and "@" in parts[1] and parts[2] == PASSWORD:
            self._mailbox = mailboxes.mailbox_folder(self.folder, parts[1])
            self._send(tag + b" OK logged in")
        else:
            self._send(tag + b" NO [AUTHENTICATIONFAILED] any email address, and the word rehearsal")

    def _log_in_with_token(self, tag: bytes) -> None:
        """Log in by XOAUTH2 with a token that the rehearsal's authorization server gave for reading."""
        self._send(b"+ ")
        try:
            login = read_login(base64.b64decode(self._line(), validate=True))
        except (binascii.Error, ValueError):
            login = None
        if login is not None and self.consents.accepts(login, REHEARSAL_READ_SCOPE, utcnow()):
            self._mailbox = mailboxes.mailbox_folder(self.folder, login.username)
            self._send(tag + b" OK logged in")
            return
        self._send(
            b"+ " + base64.b64encode(_REFUSED_TOKEN)
        )  # the reason; the client answers with an empty line
        self._line()
        self._send(tag + b" NO [AUTHENTICATIONFAILED] the permission is not accepted")

    def _examine(self, tag: bytes, command: bytes, mailbox: Path) -> None:
        if command.partition(b" ")[2].strip(b'"').upper() != b"INBOX":
            self._send(tag + b" NO the only folder is INBOX")
            return
        found = mailboxes.uids(mailbox)
        self._send(
            b"* %d EXISTS" % len(found),
            b"* OK [UIDVALIDITY %d] valid" % _UID_VALIDITY,
            b"* OK [UIDNEXT %d] next" % (max(found, default=0) + 1),
            tag + b" OK [READ-ONLY] done",
        )

    def _fetch(self, command: bytes, section: re.Match[bytes], mailbox: Path) -> None:
        known = set(mailboxes.uids(mailbox))
        asked = [int(one) for one in command.split(b" ")[2].split(b",")[:_MAX_UIDS] if one.isdigit()]
        for number, uid in enumerate(asked, 1):
            if uid not in known:
                continue
            mail = mailboxes.read(mailbox, uid)
            head, gap, _body = mail.partition(b"\r\n\r\n")
            part = head + gap if section[1] else mail
            part = part[: int(section[2])] if section[2] else part
            name = b"BODY[" + (section[1] or b"") + b"]" + (b"<0>" if section[2] else b"")
            items = b"UID %d RFC822.SIZE %d %s {%d}\r\n" % (uid, len(mail), name, len(part))
            self._send(b"* %d FETCH (" % number + items + part + b")")
