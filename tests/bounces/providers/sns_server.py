"""Amazon SNS on loopback: it serves its certificate, takes confirmations, and signs messages as its documentation describes."""

from __future__ import annotations

import base64
import datetime as dt
import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from portal.clock import utcnow
from tests.smtp import badserver

REGION = "eu-west-1"
HOST = f"sns.{REGION}.amazonaws.com"
TOPIC = f"arn:aws:sns:{REGION}:123456789012:signet-events"
CERTIFICATE_URL = f"https://{HOST}/SimpleNotificationService-0a1b2c.pem"
_SIGNED = {
    "Notification": ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
    "SubscriptionConfirmation": [
        "Message",
        "MessageId",
        "SubscribeURL",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    ],
}
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _certificate() -> bytes:
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_KEY.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=3650))
        .not_valid_after(now + dt.timedelta(days=3650))
        .sign(_KEY, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


@dataclass
class SnsServer:
    """``paths`` holds what was asked for; ``status`` is that of the next answers."""

    port: int = 0
    status: int = 200
    paths: list[str] = field(default_factory=list)
    certificate: bytes = field(default_factory=_certificate)

    def __enter__(self) -> Self:
        sns = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sns.paths.append(self.path)
                body = sns.certificate if self.path.endswith(".pem") else b"<ConfirmSubscriptionResponse/>"
                self.send_response(sns.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        badserver.authority().issue_cert(HOST).configure_cert(tls)
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def signed(message: dict[str, Any], *, key: rsa.RSAPrivateKey = _KEY, version: str = "2") -> dict[str, Any]:
    """Sign a message with SHA-256, or with SHA-1 as version 1."""
    names = [name for name in _SIGNED[message["Type"]] if name in message]
    text = "".join(f"{name}\n{message[name]}\n" for name in names).encode()
    algorithm = hashes.SHA256() if version == "2" else hashes.SHA1()
    signature = base64.b64encode(key.sign(text, padding.PKCS1v15(), algorithm)).decode()
    return {**message, "SignatureVersion": version, "Signature": signature}


def notification(event: dict[str, Any] | str, number: int = 1, **changes: Any) -> dict[str, Any]:
    """Return an unsigned notification about an event of SES."""
    return {
        "Type": "Notification",
        "MessageId": f"22b80b92-0000-4000-8000-{number:012d}",
        "TopicArn": TOPIC,
        "Message": event if isinstance(event, str) else json.dumps(event),
        "Timestamp": utcnow().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "SigningCertURL": CERTIFICATE_URL,
        "UnsubscribeURL": f"https://{HOST}/?Action=Unsubscribe",
        **changes,
    }


def subscription(**changes: Any) -> dict[str, Any]:
    """Return an unsigned request to confirm a subscription."""
    return {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9-0000-4000-8000-000000000001",
        "Token": "2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92",
        "TopicArn": TOPIC,
        "Message": "You have chosen to subscribe to the topic.",
        "SubscribeURL": f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336",
        "Timestamp": "2026-03-02T09:00:00.000Z",
        "SigningCertURL": CERTIFICATE_URL,
        **changes,
    }
