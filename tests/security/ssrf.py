"""Addresses inside the network, in every spelling, in the two fields with which an owner makes the portal connect.

An audit hook of the interpreter sees each connection that Python opens, so nothing is replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from portal.egress import WEBHOOK_POLICY
from portal.http_client import PostFailed, post
from portal.smtp.failure import SubmissionFailure
from portal.smtp.network.guard import EgressPolicy
from portal.smtp.protocol.session import Session
from portal.smtp.server import Security
from tests.security.rows import Row, none_of
from tests.smtp.badserver import SHORT_LIMITS, BadServer, disconnect, server_at
from tests.smtp.network.test_guard import FORBIDDEN

# More spellings of addresses; a name of these would be looked up and is refused by its form or its address.
MORE = ["127.0.0.1:25", "user@127.0.0.1", "127.0.0.1%00.example.com",
        "0300.0250.1.1", "3232235777", "169.254.43518", "00000000177.1", "127.000.000.001", "[::ffff:a9fe:a9fe]",
        "[::ffff:127.0.0.1]", "[::]", "loc\u00adalhost", "localhost\u200b", "\u202e127.0.0.1", "127.0.0.1\r\nRCPT",
        "169.254.170.2", "fd00::1"]  # fmt: skip
PORTS = ((587, Security.STARTTLS), (465, Security.IMPLICIT_TLS), (25, Security.STARTTLS))
URLS = ["https://127.0.0.1:22/", "https://a@127.0.0.1/", "https://127.0.0.1\\@example.com/", "gopher://127.0.0.1/",
        "https://example.com#@127.0.0.1/", "file:///etc/passwd", "https://[::1", "https:///x", "//127.0.0.1/",
        "https://%31%32%37.0.0.1/", "https://0x7f.1/", "HTTPS://LOCALHOST/", "https://localhost:0443/",
        "https://127.0.0.1:443:80/", "ftp://127.0.0.1", "https://example.com\r\nX: y/"]  # fmt: skip

_connections: list[str] = []
_hooked: list[bool] = []


def _see(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        _connections.append(repr(arguments[1]))


@contextmanager
def connections() -> Iterator[list[str]]:
    """Yield the addresses that this process connects to within the block."""
    if not _hooked:
        sys.addaudithook(_see)  # cannot be removed
        _hooked.append(True)
    del _connections[:]
    yield _connections


def rows() -> list[Row]:
    """Try every address in both fields with the policies of a public portal."""
    hosts = [*FORBIDDEN, *MORE]
    smtp, hooks = [], []
    with connections() as seen:
        for host in hosts:
            for port, security in PORTS:
                smtp += _connect(host, port, security, seen)
        urls = [*_urls(hosts), *URLS]
        for url in urls:
            hooks += _post(url, seen)
    return [
        none_of("inner addresses as SMTP server: connections", len(hosts) * len(PORTS), smtp),
        none_of("inner addresses as webhook: connections", len(urls), hooks),
        _control(),
    ]


def _connect(host: str, port: int, security: Security, seen: list[str]) -> list[str]:
    server = replace(server_at(port, security, host=host, limits=SHORT_LIMITS), policy=EgressPolicy())
    del seen[:]
    session = Session(server)
    try:
        session.open()
    except SubmissionFailure:
        return [f"{host!r} port {port}: {one}" for one in seen]
    finally:
        session.close()
    return [f"{host!r} port {port} opened"]


def _urls(hosts: list[str]) -> list[str]:
    bracketed = [f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host for host in hosts]
    return [
        f"{scheme}://{host}{port}/x"
        for host in bracketed
        for scheme, port in (("https", ""), ("https", ":8443"), ("http", ""))
    ]


def _post(url: str, seen: list[str]) -> list[str]:
    del seen[:]
    try:
        post(url, b"{}", {}, WEBHOOK_POLICY)
    except PostFailed:
        return [f"{url!r}: {one}" for one in seen]
    return [f"{url!r} was posted to"]


def _control() -> Row:
    """Show that a connection is seen."""
    with BadServer(disconnect) as server, connections() as seen:
        session = Session(server_at(server.port))
        try:
            session.open()
        except SubmissionFailure:
            count = len(seen)
        finally:
            session.close()
    return Row("control: a permitted connection is seen", "at least 1", count, count >= 1)
