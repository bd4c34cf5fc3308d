"""Messages of Amazon SNS: whose signature fits, and the confirmation of a subscription.

A certificate is fetched only from ``sns.<region>.amazonaws.com`` (``.com.cn`` in China), by HTTPS and without redirects, and a
subscription is confirmed only there. The region is that of the topic.
Source: docs.aws.amazon.com/sns, Verifying the signatures of Amazon SNS messages.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ...http_client import PostFailed, get
from ...state import get_state
from .adapter import Forged

if TYPE_CHECKING:
    from datetime import datetime

    from ...smtp.network.guard import EgressPolicy
    from .adapter import Item

# The form of a region is strict: sns.s3-eu-west-1.amazonaws.com would be a bucket of Amazon S3 with the name sns.
_ARN = re.compile(
    r"arn:(aws|aws-cn|aws-us-gov):sns:([a-z]{2}(?:-[a-z]{2,12}){1,2}-[0-9]{1,2}):[0-9]{12}:[A-Za-z0-9_.-]{1,256}"
)
_CERTIFICATE_PATH = re.compile(r"/[A-Za-z0-9_-]{1,100}\.pem")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message",
        "MessageId",
        "SubscribeURL",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    ),
}
_SIGNED["UnsubscribeConfirmation"] = _SIGNED["SubscriptionConfirmation"]
_OPTIONAL = "Subject"
_LATER = (408, 429)  # the server is busy
_MAX_CERTIFICATE_BYTES = 16 * 1024
_MAX_ANSWER_BYTES = 16 * 1024
_MAX_CERTIFICATES = 20  # remembered


class Unreachable(Exception):
    """The certificate could not be fetched, or the subscription not be confirmed; it is tried again."""


class Missing(Unreachable):
    """There is no such certificate, or no such region, at present."""


@dataclass
class Certificates:
    """The certificates that were fetched by this process."""

    by_url: dict[str, x509.Certificate] = field(default_factory=dict)


def verify(message: Item, policy: EgressPolicy, *, now: datetime) -> None:
    """Verify the signature of a message. Raises Forged; Unreachable or Missing where the certificate cannot be fetched."""
    kind = message.text("Type")
    if kind not in _SIGNED:
        raise Forged
    names = [name for name in _SIGNED[kind] if name != _OPTIONAL or name in message.data]
    signed = "".join(f"{name}\n{message.text(name)}\n" for name in names).encode("utf-8", "replace")
    try:
        signature = base64.b64decode(message.text("Signature"), validate=True)
    except (binascii.Error, ValueError):
        raise Forged from None
    algorithm = {"1": hashes.SHA1, "2": hashes.SHA256}.get(message.text("SignatureVersion"))
    if algorithm is None:
        raise Forged
    certificate = _certificate(_certificate_url(message), policy)
    key = certificate.public_key()
    if not (certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc):
        raise Forged
    if not isinstance(key, rsa.RSAPublicKey):
        raise Forged
    try:
        key.verify(signature, signed, padding.PKCS1v15(), algorithm())
    except InvalidSignature:
        raise Forged from None


def confirm(message: Item, policy: EgressPolicy) -> None:
    """Confirm the subscription of a verified SubscriptionConfirmation. Raises Unreachable.

    The address is built from the topic and the token, and not taken from the message.
    """
    topic, token = message.text("TopicArn"), message.text("Token")
    query = urlencode({"Action": "ConfirmSubscription", "TopicArn": topic, "Token": token})
    try:
        get(f"https://{_host(topic)}/?{query}", policy, limit=_MAX_ANSWER_BYTES)
    except PostFailed as failure:
        raise Unreachable(str(failure)) from None


def _host(topic: str) -> str:
    """Return the host of the region of a topic. Raises Forged."""
    found = _ARN.fullmatch(topic)
    if found is None:
        raise Forged
    return f"sns.{found[2]}.amazonaws.com" + (".cn" if found[1] == "aws-cn" else "")


def _certificate_url(message: Item) -> str:
    """Return the address of the signing certificate. Raises Forged unless it is SNS's own in the region of the topic."""
    url = message.text("SigningCertURL")
    try:
        parts = urlsplit(url)
        is_plain = parts.port is None and not (parts.query or parts.fragment or "@" in parts.netloc)
    except ValueError:
        raise Forged from None
    if parts.scheme != "https" or parts.netloc != _host(message.text("TopicArn")) or not is_plain:
        raise Forged
    if not _CERTIFICATE_PATH.fullmatch(parts.path):
        raise Forged
    return url


def _certificate(url: str, policy: EgressPolicy) -> x509.Certificate:
    known = get_state().part(Certificates).by_url
    if url not in known:
        try:
            found = x509.load_pem_x509_certificate(get(url, policy, limit=_MAX_CERTIFICATE_BYTES))
        except PostFailed as failure:
            status = failure.status or 0
            is_missing = failure.is_name_unknown or (400 <= status < 500 and status not in _LATER)
            raise (Missing if is_missing else Unreachable)(str(failure)) from None
        except ValueError:
            raise Unreachable("The certificate cannot be read.") from None
        if len(known) >= _MAX_CERTIFICATES:
            known.clear()
        known[url] = found
    return known[url]
