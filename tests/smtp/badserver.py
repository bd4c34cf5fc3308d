"""A scripted SMTP server on a loopback socket that records every octet it receives.

A script is a function of a ``Peer``. Most scripts are ``serve_correctly``, which acts as a correct server, with a few
answers replaced.
"""

from __future__ import annotations

import atexit
import base64
import datetime as dt
import shutil
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Self

import trustme

from portal.smtp.network.guard import EgressPolicy, PrivateTarget
from portal.smtp.server import Limits, Mechanism, Secret, Security, Server

USERNAME = "ada@example.org"
PASSWORD = "canary-7Gü#pass phrase"
SENDER, RECIPIENT = "info@example.org", "bob@example.net"
MESSAGE = b"Subject: Welcome\r\n\r\nHello\r\n.a line with a dot\r\n"
LIMITS = Limits(deadline=600.0, connect=300.0, greeting=300.0, reply=300.0, received=64 * 1024)
# For a server that does not reply: the test waits for one of them.
SHORT_LIMITS = Limits(deadline=4.0, connect=2.0, greeting=1.0, reply=1.0, received=64 * 1024)
THREAD_TIMEOUT_S = 300


class DisconnectedError(Exception):
    """The client closed the connection, or the test has ended."""


@dataclass
class Peer:
    """The connection to the client, as a script uses it."""

    sock: socket.socket
    server: BadServer
    buffer: bytearray = field(default_factory=bytearray)

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            raise DisconnectedError from None

    def trickle(self, data: bytes, pause: float) -> None:
        """Send one octet at a time, each in its own segment."""
        for octet in data:
            self.send(bytes([octet]))
            self.pause(pause)

    def pause(self, seconds: float) -> None:
        if self.server.stopped.wait(seconds):
            raise DisconnectedError

    def receive(self, end: bytes = b"\r\n") -> bytes:
        """Read up to and including ``end``."""
        while (at := self.buffer.find(end)) < 0:
            self.buffer += self._receive_some()
        at += len(end)
        received = bytes(self.buffer[:at])
        del self.buffer[:at]
        return received

    def read_until_closed(self) -> None:
        """Read until the client closes the connection, and send nothing."""
        while True:
            self._receive_some()

    def encrypt(self, certificate: str | ssl.SSLContext = "good") -> None:
        tls = context(certificate) if isinstance(certificate, str) else certificate
        try:
            self.sock = tls.wrap_socket(self.sock, server_side=True)
        except OSError:
            raise DisconnectedError from None

    def disconnect(self) -> None:
        raise DisconnectedError

    def _receive_some(self) -> bytes:
        try:
            data = self.sock.recv(65_536)
        except OSError:
            raise DisconnectedError from None
        if not data:
            raise DisconnectedError
        self.server.received += data
        return data


Script = Callable[[Peer], None]
Answer = bytes | Callable[[Peer, bytes], None]


def disconnect(peer: Peer, _line: bytes = b"") -> None:
    peer.disconnect()


def mute(peer: Peer, _line: bytes = b"") -> None:
    peer.read_until_closed()


GREETING = b"220 mail.example.net ESMTP ready\r\n"
OFFER = (b"SIZE 100000", b"8BITMIME", b"ENHANCEDSTATUSCODES", b"AUTH PLAIN LOGIN")


def ehlo_reply(offers: tuple[bytes, ...]) -> bytes:
    lines = [b"mail.example.net", *offers]
    return b"".join(b"250-%s\r\n" % line for line in lines[:-1]) + b"250 %s\r\n" % lines[-1]


def accept_login(peer: Peer, line: bytes) -> None:
    """Answer AUTH as a correct server does."""
    if line.upper().startswith(b"AUTH LOGIN"):
        for prompt in (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"):
            peer.send(prompt)
            peer.receive()
    peer.send(b"235 2.7.0 Authentication successful\r\n")


def receive_message(peer: Peer, _line: bytes = b"") -> None:
    peer.send(b"354 go ahead\r\n")
    peer.server.messages.append(b"\r\n" + peer.receive(b"\r\n.\r\n"))


def serve_correctly(
    peer: Peer,
    answers: Mapping[str, Answer] | None = None,
    *,
    offers: tuple[bytes, ...] = OFFER,
    security: Security = Security.STARTTLS,
    certificate: str = "good",
) -> None:
    """Act as a correct server except for ``answers`` by verb; DOT is the reply to the message."""
    answers = answers or {}
    if security is Security.IMPLICIT_TLS:
        peer.encrypt(certificate)
    _answer(peer, answers.get("GREETING", GREETING), b"")
    plaintext_phase = security is Security.STARTTLS
    while True:
        line = peer.receive()
        verb = line.split()[0].upper().decode("ascii", "replace") if line.split() else ""
        if verb == "STARTTLS" and verb not in answers:
            peer.send(b"220 2.0.0 go ahead\r\n")
            peer.encrypt(certificate)
            plaintext_phase = False
            continue
        offered = (b"STARTTLS", b"8BITMIME") if plaintext_phase else offers
        _answer(peer, answers.get(verb, _correct_answer(verb, offered)), line)
        if verb == "DATA" and verb not in answers:
            _answer(peer, answers.get("DOT", b"250 2.0.0 Ok: queued as 4XyZ1a2b\r\n"), line)
        if verb == "QUIT":
            return


def _correct_answer(verb: str, offered: tuple[bytes, ...]) -> Answer:
    return {
        "EHLO": ehlo_reply(offered),
        "AUTH": accept_login,
        "DATA": receive_message,
        "QUIT": b"221 2.0.0 Bye\r\n",
    }.get(verb, b"250 2.1.0 Ok\r\n")


def _answer(peer: Peer, answer: Answer, line: bytes) -> None:
    if isinstance(answer, bytes):
        peer.send(answer)
    else:
        answer(peer, line)


class BadServer:
    """Context manager that serves a script on a loopback port. ``received`` holds all received octets, decrypted."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.received = bytearray()
        self.messages: list[bytes] = []  # each preceded by CRLF, dots still doubled, closed by the lone dot
        self.connections = 0
        self.stopped = threading.Event()
        self._open: list[socket.socket] = []
        self._sessions: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stopped.set()
        for sock in [self._listener, *self._open]:
            _close(sock)

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(sock)
            session = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._sessions.append(session)
            session.start()

    def _serve(self, sock: socket.socket) -> None:
        peer = Peer(sock, self)
        try:
            self.script(peer)
        except DisconnectedError:
            pass
        finally:
            _close(peer.sock)

    def wait_until_disconnected(self) -> None:
        """Wait until every session has ended: the server then has received everything that the client sent."""
        for session in self._sessions:
            session.join(THREAD_TIMEOUT_S)
            assert not session.is_alive()

    def received_secret(self) -> bool:
        """Return whether the password was received in any form that AUTH uses."""
        return holds_secret(bytes(self.received))

    def unstuffed(self) -> bytes:
        """Return the last message without dot-stuffing."""
        return self.messages[-1].replace(b"\r\n..", b"\r\n.")[2:].removesuffix(b".\r\n")


def _close(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def holds_secret(data: bytes) -> bool:
    """Return whether ``data`` holds the password: as text, hex, Base64, or Base64 at any offset of a longer text."""
    raw = PASSWORD.encode()
    forms = [raw, raw.hex().encode()]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        forms.append(
            encoded[4 if shift else 0 : -4]
        )  # complete groups only; neighbouring octets change the others
    return any(form in data for form in forms)


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def context(certificate: str) -> ssl.SSLContext:
    """Return a server TLS context with a good, untrusted, wrongly named or expired certificate, or one of providers."""
    now = dt.datetime.now(dt.UTC)
    issue = {
        "good": lambda: authority().issue_cert("localhost", "127.0.0.1"),
        "providers": lambda: authority().issue_cert(
            "smtp.office365.com", "smtp.gmail.com", "outlook.office365.com", "imap.gmail.com"
        ),
        "untrusted": lambda: trustme.CA().issue_cert("localhost", "127.0.0.1"),
        "wrong name": lambda: authority().issue_cert("smtp.other.example", "*.other.example"),
        "expired": lambda: authority().issue_cert(
            "localhost", not_before=now - dt.timedelta(days=30), not_after=now - dt.timedelta(days=2)
        ),
    }[certificate]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issue().configure_cert(tls)
    return tls


@cache
def ca_file() -> str:
    folder = tempfile.mkdtemp(prefix="signet-ca-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "ca.pem"
    authority().cert_pem.write_to_path(str(path))
    return str(path)


def loopback(port: int, *, plaintext: bool = False) -> EgressPolicy:
    """Return a policy that allows one loopback port and trusts the tests' authority."""
    networks = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    return EgressPolicy(
        private_targets=tuple(PrivateTarget(n, port, plaintext) for n in networks), ca_file=ca_file()
    )


def server_at(
    port: int,
    security: Security = Security.STARTTLS,
    *,
    username: str | None = USERNAME,
    mechanism: Mechanism = Mechanism.AUTOMATIC,
    limits: Limits = LIMITS,
    host: str = "localhost",
) -> Server:
    """Return the settings of a BadServer."""
    return Server(
        host,
        port,
        security,
        username,
        Secret(PASSWORD) if username else None,
        mechanism,
        "portal.example.org",
        loopback(port, plaintext=security is Security.PLAINTEXT),
        limits,
    )


def send_slowly(peer: Peer, _line: bytes = b"") -> None:
    """Send one octet every 0.4 s, within the timeout of a single read, and never the end of the line."""
    while True:
        peer.send(b"2")
        peer.pause(0.4)


def repeat_endlessly(line: bytes) -> Callable[[Peer, bytes], None]:
    def flood(peer: Peer, _line: bytes = b"") -> None:
        while True:
            peer.send(line * 50)

    return flood


def in_pieces(data: bytes, pause: float = 0.0005) -> Callable[[Peer, bytes], None]:
    return lambda peer, _line: peer.trickle(data, pause)


def then_disconnect(data: bytes) -> Callable[[Peer, bytes], None]:
    def send_and_disconnect(peer: Peer, _line: bytes) -> None:
        peer.send(data)
        time.sleep(0.02)
        peer.disconnect()

    return send_and_disconnect
