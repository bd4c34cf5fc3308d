"""HTTP client of webhooks, token endpoints and SNS: one request, with the SSRF guard, a deadline and no redirects.

The host name is resolved once, every address it resolves to must be allowed, and the connection goes to a checked
address. Of the response to a webhook only the status code is kept, so that the operator's network cannot be read
through it; the body of a token endpoint's answer, whose host the operator configures, is read up to a limit, and so is that
of a GET, whose host the caller has checked against a list.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlencode, urlsplit

from .smtp.failure import Reason, SubmissionFailure
from .smtp.network.dial import Deadline, Peer, dial
from .smtp.network.guard import (
    EgressPolicy,
    HostError,
    canonical_host,
    permits_plaintext,
    resolve_allowed,
    target_refused,
)
from .smtp.protocol import tls
from .smtp.server import Limits, Security, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

PORTS = frozenset({443, 8443})
_DEADLINE_S = 10.0  # for the whole exchange, from the DNS query to the last byte
_MAX_BODY_BYTES = 64 * 1024
_LIMITS = Limits(deadline=_DEADLINE_S, connect=5.0)
_REASONS = {
    Reason.NAME_UNKNOWN: "There is no public server of that name.",
    Reason.NAME_UNANSWERED: "The server's name could not be looked up.",
    Reason.TARGET_REFUSED: "This address is not allowed here: it does not lead to a public web server.",
    Reason.CONNECT_REFUSED: "The server does not accept connections.",
    Reason.CONNECT_TIMED_OUT: "The server did not answer in time.",
    Reason.UNREACHABLE: "The server cannot be reached from here.",
    Reason.TIMED_OUT: "The server did not answer in time.",
    Reason.DISCONNECTED: "The server closed the connection.",
    Reason.CERTIFICATE_EXPIRED: "The server's certificate is not valid today.",
    Reason.CERTIFICATE_NAME: "The server's certificate is for another name.",
    Reason.CERTIFICATE_UNTRUSTED: "The server's certificate was not issued by a trusted authority.",
}


class InvalidAddress(ValueError):
    """The URL is not acceptable; the message is one sentence for the person who entered it."""


class PostFailed(Exception):
    """The POST failed; the message is one sentence that contains no text from the server."""

    def __init__(
        self,
        sentence: str,
        status: int | None = None,
        *,
        refused_target: str = "",
        is_name_unknown: bool = False,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.refused_target = refused_target  # host:port that the SSRF guard refused
        self.is_name_unknown = is_name_unknown  # the host name does not exist


@dataclass(frozen=True)
class Address:
    """A parsed and checked URL."""

    host: str  # canonical
    port: int
    path: str  # with its query
    encrypted: bool


def parse_address(url: str, policy: EgressPolicy) -> Address:
    """Parse and check a URL without resolving its host name. Raises InvalidAddress."""
    parts, port = _split(url)
    if parts.scheme not in {"https", "http"}:
        raise InvalidAddress("Enter an address that begins with https://.")
    encrypted = parts.scheme == "https"
    if not encrypted and not any(t.plaintext and t.port == (port or 80) for t in policy.private_targets):
        raise InvalidAddress(
            "Enter an address that begins with https://, so that no one else can read what is sent."
        )
    if "@" in parts.netloc:
        raise InvalidAddress(
            "Leave username and password out of the address; the signature proves who posts."
        )
    if parts.fragment:
        raise InvalidAddress("Leave out the part from # on; servers never see it.")
    port = port or (443 if encrypted else 80)
    if port not in policy.ports and not any(t.port == port for t in policy.private_targets):
        raise InvalidAddress("Use the usual port 443, or 8443; others are not allowed here.")
    try:
        host = canonical_host(parts.hostname or "")
    except HostError:
        raise InvalidAddress("The address has no usable server name.") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(host, port, path, encrypted)


def _split(url: str) -> tuple[SplitResult, int | None]:
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise InvalidAddress("The address holds characters that web addresses cannot have.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidAddress("This is not a web address.") from None
    return parts, port


@dataclass(frozen=True)
class FormAnswer:
    """The answer to a form: its status, and its body as text."""

    status: int
    text: str = field(repr=False)


def post(url: str, body: bytes, headers: Mapping[str, str], policy: EgressPolicy) -> int:
    """Post a body and return the status code, one of 200 to 299. Raises PostFailed."""
    status, _ = _post(url, body, headers, policy, body_limit=0)
    if 300 <= status < 400:
        raise PostFailed("The server answered with a redirect, and redirects are not followed.", status)
    if not 200 <= status < 300:
        raise PostFailed(f"The server answered with status {status}.", status)
    return status


def post_form(url: str, fields: Mapping[str, str], policy: EgressPolicy) -> FormAnswer:
    """Post a form and return the answer, whatever its status. Raises PostFailed without an answer, or for a long one."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    body = urlencode(fields).encode("ascii")
    status, answer = _post(url, body, headers, policy, body_limit=_MAX_BODY_BYTES)
    if len(answer) > _MAX_BODY_BYTES:
        raise PostFailed("The server sent far more than an answer.", status)
    return FormAnswer(status, answer.decode("utf-8", "replace"))


def get(url: str, policy: EgressPolicy, *, limit: int) -> bytes:
    """Return the body of a document, if the status is 200. Raises PostFailed, also for a body of more than ``limit`` bytes.

    The caller checks the host of ``url`` against a list of its own first.
    """
    status, body = _request("GET", url, None, {"Accept": "*/*"}, policy, body_limit=limit)
    if status != 200 or len(body) > limit:
        raise PostFailed(f"The server answered with status {status}.", status)
    return body


def _post(
    url: str, body: bytes, headers: Mapping[str, str], policy: EgressPolicy, *, body_limit: int
) -> tuple[int, bytes]:
    return _request("POST", url, body, headers, policy, body_limit=body_limit)


def _request(  # noqa: PLR0913
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    policy: EgressPolicy,
    *,
    body_limit: int,
) -> tuple[int, bytes]:
    try:
        address = parse_address(url, policy)
    except InvalidAddress as refused:
        raise PostFailed(str(refused)) from None
    try:
        sock = _connect(address, policy)
    except SubmissionFailure as failure:
        sentence = _REASONS.get(failure.reason, "The connection could not be encrypted.")
        target = f"{address.host}:{address.port}" if failure.is_refused_target else ""
        is_unknown = failure.reason is Reason.NAME_UNKNOWN
        raise PostFailed(sentence, refused_target=target, is_name_unknown=is_unknown) from None
    return _exchange(sock, address, _Request(method, body, headers), body_limit)


@dataclass(frozen=True)
class _Request:
    method: str
    body: bytes | None
    headers: Mapping[str, str]


def _connect(address: Address, policy: EgressPolicy) -> socket.socket:
    """Return a connected socket, encrypted unless the operator allows plaintext for this target."""
    security = Security.IMPLICIT_TLS if address.encrypted else Security.PLAINTEXT
    server = Server(address.host, address.port, security, policy=policy, limits=_LIMITS)
    deadline = Deadline(_DEADLINE_S)
    found = resolve_allowed(
        address.host, address.port, policy, deadline.remaining(), plaintext=not address.encrypted
    )
    sock, peer = dial(found, server, _LIMITS, deadline)
    if not address.encrypted:
        if not permits_plaintext(peer.address, address.port, policy):
            sock.close()
            raise target_refused()
        return sock
    return _encrypt(sock, peer, address, deadline)


def _encrypt(sock: socket.socket, peer: Peer, address: Address, deadline: Deadline) -> socket.socket:
    try:
        return tls.wrap_socket(sock, address.host, peer.ca_file, deadline.remaining())[0]
    except SubmissionFailure:
        sock.close()
        raise


def _exchange(sock: socket.socket, address: Address, request: _Request, body_limit: int) -> tuple[int, bytes]:
    """Send the request; read the status line, the headers, and one byte more of the body than the limit allows.

    With a limit of 0 no byte of the body is read.
    """
    connection = HTTPConnection(address.host, address.port)
    connection.sock, connection.auto_open = sock, 0
    sock.settimeout(_DEADLINE_S)
    # The socket timeout restarts with every byte received, so a slow sender would never reach it; this timer ends it.
    alarm = threading.Timer(_DEADLINE_S, _close_socket, [sock])
    alarm.daemon = True
    alarm.start()
    try:
        connection.request(request.method, address.path, request.body, dict(request.headers))
        response = connection.getresponse()
        return response.status, response.read(body_limit + 1) if body_limit else b""
    except (OSError, HTTPException, ValueError):
        raise PostFailed("The server did not answer as a web server does, or not in time.") from None
    finally:
        alarm.cancel()
        connection.close()


def _close_socket(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
