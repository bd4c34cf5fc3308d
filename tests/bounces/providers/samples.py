"""Calls of each provider that posts them unsigned or signs the body, in the form that it documents, with our own values."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from portal.bounces.meaning import Meaning
from portal.clock import utcnow
from tests.bounces.providers import mailgun
from tests.bounces.support import Sent

AT = datetime(2026, 3, 2, 9, 0, 5, tzinfo=UTC)
UNKNOWN_USER = "550 5.1.1 The mailbox is unknown here"
POLICY = "550 5.7.1 Refused by our policy"
FULL = "452 4.2.2 The mailbox is full"
LATER = "451 4.7.1 Try again in a while"
_PRIVATE = ec.generate_private_key(ec.SECP256R1())
_PUBLIC = _PRIVATE.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
SENDGRID_KEY = base64.b64encode(_PUBLIC).decode()
RESEND_KEY = "whsec_" + base64.b64encode(b"a signing secret of the tests 12").decode()

Signed = tuple[bytes, dict[str, str]]  # body and headers


@dataclass(frozen=True)
class Sample:
    """A provider with a call for each meaning that it can report, and how it signs a body."""

    key: str
    events: dict[Meaning, Callable[[Sent], Any]]
    sign: Callable[[bytes], dict[str, str]] = lambda _body: {}

    def call(self, meaning: Meaning, sent: Sent) -> Signed:
        body = json.dumps(self.events[meaning](sent)).encode()
        return body, self.sign(body)


def sign_sendgrid(body: bytes, at: datetime | None = None) -> dict[str, str]:
    timestamp = str(int((at or utcnow()).timestamp()))
    signature = _PRIVATE.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }


def sign_svix(body: bytes, at: datetime | None = None) -> dict[str, str]:
    """Sign as Svix; the id belongs to the event, so a repeated call has the same one."""
    svix_id = "msg_" + hashlib.sha256(body).hexdigest()[:27]
    timestamp = str(int((at or utcnow()).timestamp()))
    key = base64.b64decode(RESEND_KEY.removeprefix("whsec_"))
    mac = hmac.new(key, f"{svix_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(b'another key').decode()} v1,{base64.b64encode(mac).decode()}"
    return {"svix-id": svix_id, "svix-timestamp": timestamp, "svix-signature": signature}


def _id(sent: Sent, kind: str) -> str:
    return hashlib.sha256(f"{sent.id} {kind}".encode()).hexdigest()[:20]


def sendgrid(kind: str, **more: Any) -> Callable[[Sent], Any]:
    def event(sent: Sent) -> Any:
        base = {
            "email": sent.recipient,
            "event": kind,
            "timestamp": int(AT.timestamp()),
            "sg_event_id": _id(sent, f"{kind} {more}"),
            "sg_message_id": f"{sent.queue_id}.recvd-0a1b2c-1-0",
            "smtp-id": "<unreliable@provider.example>",
            "signet": sent.reference,
        }
        opened = {**base, "event": "open", "sg_event_id": _id(sent, "open")}
        return [base | more, opened, base | more]  # events come in batches, at times twice

    return event


def postmark(record: str, **more: Any) -> Callable[[Sent], Any]:
    def event(sent: Sent) -> Any:
        return {
            "RecordType": record,
            "MessageID": f"883953f4-0000-4000-8000-{sent.id:012d}",
            "MessageStream": "outbound",
            "ServerID": 23,
            "Metadata": {"signet": sent.reference},
            **more,
            **({"ID": more["ID"] + sent.id * 10**7} if "ID" in more else {}),
            ("Email" if record == "Bounce" else "Recipient"): sent.recipient,
        }

    return event


def _postmark_bounce(kind: str, code: int, details: str, *, inactive: bool = False) -> Callable[[Sent], Any]:
    at = "2026-03-02T10:00:05.0000000+01:00"
    more = {"ID": code * 10 + 7, "Type": kind, "TypeCode": code, "Details": details, "BouncedAt": at}
    return postmark("Bounce", Inactive=inactive, CanActivate=True, **more)


def brevo(kind: str, **more: Any) -> Callable[[Sent], Any]:
    def event(sent: Sent) -> Any:
        return {
            "event": kind,
            "email": sent.recipient,
            "id": 26224,
            "date": "2026-03-02 10:00:05",
            "ts": 1772442005,
            "message-id": sent.header_id,
            "ts_event": 1772442005,
            "ts_epoch": int(AT.timestamp() * 1000),
            "subject": "A subject",
            "X-Mailin-custom": f"signet:{sent.reference}",
            "sending_ip": "192.0.2.7",
            **more,
        }

    return event


def mailjet(kind: str, **more: Any) -> Callable[[Sent], Any]:
    def event(sent: Sent) -> Any:
        base = {
            "event": kind,
            "time": int(AT.timestamp()),
            "MessageID": 19421777396190490 + sent.id,
            "Message_GUID": "00000000-0000-4000-8000-00000000000a",
            "email": sent.recipient,
            "mj_campaign_id": 7257,
            "CustomID": sent.reference,
            "Payload": "",
        }
        return [base | more]

    return event


def sparkpost(kind: str, wrapper: str = "message_event", **more: Any) -> Callable[[Sent], Any]:
    def event(sent: Sent) -> Any:
        base = {
            "type": kind,
            "event_id": _id(sent, f"{kind} {more}"),
            "message_id": "000443ee14578172be22",
            "transmission_id": "65832150921904138",
            "raw_rcpt_to": sent.recipient,
            "rcpt_to": sent.recipient,
            "rcpt_meta": {"signet": sent.reference},
            "timestamp": str(int(AT.timestamp())),
        }
        return [{"msys": {wrapper: base | more}}, {"msys": {}}]

    return event


def resend(kind: str, **data: Any) -> Callable[[Sent], Any]:
    def event(sent: Sent) -> Any:
        return {
            "type": kind,
            "created_at": "2026-03-02T09:00:05.000Z",
            "data": {
                "created_at": "2026-03-02 09:00:00.000000+00",
                "email_id": "56761188-0000-4000-8000-8898ff6fc54c",
                "from": "info@brightleaf.example",
                "to": [sent.recipient],
                "subject": "A subject",
                "headers": [{"name": "X-Signet-Ref", "value": sent.reference}],
                **data,
            },
        }

    return event


def _signed_mailgun(make: Callable[[Sent], Any]) -> Callable[[Sent], Any]:
    # A repeated call has the same token, and so has each event of these tests.
    return lambda sent: mailgun.call(
        make(sent), token=hashlib.sha256(json.dumps(make(sent)).encode()).hexdigest()
    )


def _mailgun_at(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "timestamp": AT.timestamp()}


SAMPLES = {
    "mailgun": Sample(
        mailgun.KEY,
        {
            Meaning.DELAYED: _signed_mailgun(
                lambda sent: _mailgun_at(
                    mailgun.failed(sent, severity="temporary", reason="generic", code=451, message="later")
                )
            ),
            Meaning.DELIVERED: _signed_mailgun(lambda sent: _mailgun_at(mailgun.event(sent, "delivered"))),
            Meaning.HARD: _signed_mailgun(lambda sent: _mailgun_at(mailgun.failed(sent))),
            Meaning.COMPLAINT: _signed_mailgun(lambda sent: _mailgun_at(mailgun.event(sent, "complained"))),
        },
    ),
    "sendgrid": Sample(
        SENDGRID_KEY,
        {
            Meaning.DELAYED: sendgrid("deferred", response=LATER),
            Meaning.DELIVERED: sendgrid("delivered", response="250 OK"),
            Meaning.SOFT: sendgrid("bounce", type="bounce", status="5.2.2", reason="552 5.2.2 over quota"),
            Meaning.BLOCKED: sendgrid("bounce", type="blocked", status="5.7.1", reason=POLICY),
            Meaning.HARD: sendgrid(
                "bounce",
                type="bounce",
                status="5.1.1",
                reason=UNKNOWN_USER,
                bounce_classification="Invalid Address",
            ),
            Meaning.COMPLAINT: sendgrid("spamreport"),
        },
        sign_sendgrid,
    ),
    "postmark": Sample(
        "",
        {
            Meaning.DELAYED: _postmark_bounce("Transient", 2, LATER),
            Meaning.DELIVERED: postmark("Delivery", DeliveredAt="2026-03-02T09:00:05Z", Details="250 OK"),
            Meaning.SOFT: _postmark_bounce("SoftBounce", 4096, FULL),
            Meaning.BLOCKED: _postmark_bounce("Blocked", 100006, POLICY),
            Meaning.HARD: _postmark_bounce("HardBounce", 1, "smtp;" + UNKNOWN_USER, inactive=True),
            Meaning.COMPLAINT: postmark(
                "SpamComplaint",
                ID=42,
                Type="SpamComplaint",
                TypeCode=100001,
                BouncedAt="2026-03-02T09:00:05Z",
            ),
        },
    ),
    "brevo": Sample(
        "",
        {
            Meaning.DELAYED: brevo("deferred", reason=LATER),
            Meaning.DELIVERED: brevo("delivered"),
            Meaning.SOFT: brevo("soft_bounce", reason=FULL),
            Meaning.BLOCKED: brevo("blocked"),
            Meaning.HARD: brevo("hard_bounce", reason=UNKNOWN_USER),
            Meaning.COMPLAINT: brevo("spam"),
        },
    ),
    "mailjet": Sample(
        "",
        {
            Meaning.DELAYED: mailjet(
                "bounce", blocked=False, hard_bounce=False, error_related_to="domain", error="greylisted"
            ),
            Meaning.DELIVERED: mailjet("sent", smtp_reply="sent (250 2.0.0 OK)"),
            Meaning.SOFT: mailjet(
                "bounce",
                blocked=False,
                hard_bounce=False,
                error_related_to="recipient",
                error="quota exceeded",
            ),
            Meaning.BLOCKED: mailjet("blocked", error_related_to="mailjet", error="preblocked"),
            Meaning.HARD: mailjet(
                "bounce", blocked=False, hard_bounce=True, error_related_to="recipient", error="user unknown"
            ),
            Meaning.COMPLAINT: mailjet("spam", source="JMRPP"),
        },
    ),
    "sparkpost": Sample(
        "",
        {
            Meaning.DELAYED: sparkpost(
                "delay", bounce_class="21", error_code="454", raw_reason="454 4.4.4 no MX"
            ),
            Meaning.DELIVERED: sparkpost("delivery"),
            Meaning.SOFT: sparkpost(
                "bounce", bounce_class="22", error_code="552", raw_reason="552 5.2.2 full"
            ),
            Meaning.BLOCKED: sparkpost("bounce", bounce_class="51", error_code="554", raw_reason=POLICY),
            Meaning.HARD: sparkpost(
                "out_of_band", bounce_class="10", error_code="550", raw_reason=UNKNOWN_USER
            ),
            Meaning.COMPLAINT: sparkpost("spam_complaint", fbtype="abuse"),
        },
    ),
    "resend": Sample(
        RESEND_KEY,
        {
            Meaning.DELAYED: resend("email.delivery_delayed"),
            Meaning.DELIVERED: resend("email.delivered"),
            Meaning.SOFT: resend(
                "email.bounced", bounce={"type": "Transient", "subType": "MailboxFull", "message": "full"}
            ),
            Meaning.BLOCKED: resend("email.failed", failed={"reason": "reached_daily_quota"}),
            Meaning.HARD: resend(
                "email.bounced", bounce={"type": "Permanent", "subType": "General", "message": "gone"}
            ),
            Meaning.COMPLAINT: resend("email.complained"),
        },
        sign_svix,
    ),
}
