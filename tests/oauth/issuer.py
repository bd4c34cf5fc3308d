"""A token endpoint on loopback with scripted answers, and a mail server that accepts its tokens only."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl

from tests.smtp.badserver import Answer, Peer, serve_correctly

TokenAnswer = tuple[int, dict[str, Any] | str]
REFUSAL_JSON = base64.b64encode(b'{"status":"401","schemes":"bearer","scope":"mail"}')


@dataclass
class Issuer:
    """Answers each request with a new token, or as ``script`` says; ``requests`` holds path and form of each."""

    script: Callable[[dict[str, str]], TokenAnswer | None] = lambda _form: None
    lifetime_s: int = 3600
    padding: str = ""  # appended to each token
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    valid: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        issuer, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                form = dict(parse_qsl(self.rfile.read(length).decode()))
                with lock:
                    issuer.requests.append((self.path, form))
                    number = len(issuer.requests)
                status, body = issuer.script(form) or (200, issuer.new_token(number))
                data = (body if isinstance(body, str) else json.dumps(body)).encode()
                with suppress(OSError):
                    self.send_response(status)
                    if status == 302:
                        self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_arguments: object) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def new_token(self, number: int) -> dict[str, Any]:
        token = f"canary-token-{number}{self.padding}"
        self.valid.add(token)
        return {"token_type": "Bearer", "expires_in": self.lifetime_s, "access_token": token}

    def revoke_all(self) -> None:
        """Make the mail server refuse every token issued so far."""
        self.valid.clear()


def serve_tokens(issuer: Issuer, peer: Peer, refusal: bytes = b"", **answers: Answer) -> None:
    """Act as a mail server that accepts XOAUTH2 with a token of the issuer, and refuses as Microsoft or by ``refusal``.

    ``answers`` are those of ``serve_correctly``.
    """

    def log_in(peer: Peer, _line: bytes) -> None:
        peer.send(b"334 \r\n")
        said = base64.b64decode(peer.receive()).decode()
        token = said.partition("auth=Bearer ")[2].rstrip("\x01")
        if token in issuer.valid and not refusal:
            peer.send(b"235 2.7.0 Authentication successful\r\n")
            return
        peer.send(b"334 " + REFUSAL_JSON + b"\r\n")
        peer.receive()
        peer.send(refusal or b"535 5.7.3 Authentication unsuccessful [AM0PR01CA0101.example]\r\n")

    serve_correctly(
        peer,
        {"AUTH": log_in, **answers},
        offers=(b"SIZE 100000", b"AUTH LOGIN XOAUTH2"),
        certificate="providers",
    )
