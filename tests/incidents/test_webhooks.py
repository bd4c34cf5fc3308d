"""Webhooks: signature, retries, the guard against internal addresses, and payloads without secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import re
import secrets
import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime
from email.message import Message

import pytest
from sqlalchemy import select

from portal import http_client
from portal.clock import utcnow
from portal.db import db
from portal.incidents import policy, webhooks
from portal.incidents.models import IncidentPolicy, WebhookDelivery, WebhookState
from portal.outbox.models import Outcome
from portal.smtp.network.guard import EgressPolicy
from portal.state import get_state, vault
from tests.incidents.conftest import (
    REFUSED,
    alert_emails,
    enqueue,
    process_attempt,
    run_worker_jobs,
)

pytestmark = pytest.mark.thorough


def deliveries() -> list[WebhookDelivery]:
    db.session.rollback()
    query = select(WebhookDelivery).order_by(WebhookDelivery.id)
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def shown_secret(page) -> str:
    return re.search(r"whsec_[\w+/=]+", html.unescape(page.get_data(as_text=True)))[0]


def deliver() -> None:
    for _, delivery_id in webhooks.find_due_work(utcnow()):
        webhooks.deliver(delivery_id)


def verify(secret: str, headers: Message, body: bytes) -> dict:
    """Verify a request by the text of the Standard Webhooks specification 1.0.0, without the portal's code.

    The key is the base64 after the prefix, read as strictly as the published verifiers read it.
    """
    prefix, encoded = secret[:6], secret[6:]
    assert prefix == "whsec_"
    key = base64.b64decode(encoded, validate=True)
    assert 24 <= len(key) <= 64
    id_, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    assert "." not in id_ and timestamp.isdecimal()
    assert abs(int(timestamp) - utcnow().timestamp()) <= 300, "the receiver's clock would refuse it"
    expected = hmac.new(key, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    signatures = [part.split(",", 1) for part in headers["webhook-signature"].split(" ")]
    assert any(version == "v1" and base64.b64decode(text) == expected for version, text in signatures)
    return json.loads(body)


def test_start_and_end_are_posted_and_signed_with_the_displayed_secret(brightleaf, receiver, clock):
    saved = policy.save_webhook(brightleaf, receiver.url)
    enqueue(brightleaf, 1)
    process_attempt(
        brightleaf, diagnosis=REFUSED, reply_code=535, reply_text="no, affiliate1@visitors.example"
    )
    run_worker_jobs()
    deliver()
    events = [verify(saved.secret, *receiver.requests[0])]
    process_attempt(brightleaf, Outcome.ACCEPTED)
    clock.shift(61)
    run_worker_jobs()
    deliver()
    events += [verify(saved.secret, *receiver.requests[1])]
    assert [event["event"] for event in events] == ["incident.opened", "incident.ended"]
    assert events[0]["incident"]["waiting"] == 1
    assert events[0]["incident"]["cause"].endswith("(535).")
    assert [headers["webhook-id"] for headers, _ in receiver.requests] == [event["id"] for event in events]
    assert not [
        name for headers, _ in receiver.requests for name in headers if name.lower().startswith("signet-")
    ]
    assert b"visitors.example" not in b"".join(body for _, body in receiver.requests)
    assert [delivery.state for delivery in deliveries()] == [WebhookState.DELIVERED] * 2


def test_the_example_of_the_specification_gets_the_same_signature():
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    at = datetime.fromtimestamp(1614265330, tz=UTC)
    headers = webhooks.signed_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", body, at)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_from_before_the_standard_stay_valid(brightleaf, receiver):
    policy.save_webhook(brightleaf, receiver.url)
    old = "whsec_" + secrets.token_urlsafe(32)  # the former format
    row = db.session.scalars(select(IncidentPolicy)).one()
    row.sealed_secret = vault().seal(old, policy.secret_binding(row))
    db.session.commit()
    webhooks.send_test(brightleaf, now=utcnow())
    deliver()
    rewritten = old[:6] + old[6:].replace("-", "+").replace("_", "/") + "="
    assert verify(rewritten, *receiver.requests[0])["event"] == "test"


def test_a_repeated_delivery_keeps_its_id_and_body_and_gets_a_new_timestamp(brightleaf, receiver, clock):
    saved = policy.save_webhook(brightleaf, receiver.url)
    receiver.status = 503
    process_attempt(brightleaf, diagnosis=REFUSED)
    run_worker_jobs()
    for _ in range(3):
        deliver()
        verify(saved.secret, *receiver.requests[-1])
        clock.shift(3600)
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
    assert len({body for _, body in receiver.requests}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in receiver.requests}) == 3


def test_a_failed_delivery_is_retried_for_a_day(brightleaf, receiver, clock):
    policy.save_webhook(brightleaf, receiver.url)
    receiver.status = 500
    process_attempt(brightleaf, diagnosis=REFUSED)
    run_worker_jobs()
    deliver()
    (delivery,) = deliveries()
    assert (delivery.state, delivery.attempts, delivery.status_code) == (WebhookState.WAITING, 1, 500)
    deliver()
    assert len(receiver.requests) == 1, "the retry is not due yet"
    for _ in range(100):
        clock.shift(1800)
        deliver()
    (delivery,) = deliveries()
    assert delivery.state is WebhookState.FAILED
    assert 8 < delivery.attempts < 20
    receiver.status = 200
    clock.shift(86_400)
    deliver()
    assert deliveries()[0].state is WebhookState.FAILED


def test_a_redirect_is_not_followed(brightleaf, receiver, clock):
    policy.save_webhook(brightleaf, receiver.url)
    receiver.status, receiver.location = 307, receiver.url
    webhooks.send_test(brightleaf, now=utcnow())
    deliver()
    assert len(receiver.requests) == 1
    assert "redirects are not followed" in deliveries()[0].problem


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://[::1]/x",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/x",
        "https://192.168.1.1:8443/x",
        "https://0x7f.1/x",
        "https://2130706433/",
    ],
)
def test_no_connection_is_made_to_internal_addresses(url):
    with pytest.raises(http_client.PostFailed) as refused:
        http_client.post(url, b"{}", {}, EgressPolicy(ports=http_client.PORTS))
    assert "not allowed" in str(refused.value) or "no usable server name" in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://user:secret@example.com/",
        "https://example.com:22/",
        "https://example.com/#part",
        "https://example.com/a b",
        "https://example.com/\r\nX-Header: 1",
        "https://exämple.com/",
        "https://",
        "//example.com",
        "https://example.com:99999/",
        "https://[::1",
        "javascript:alert(1)",
        "nonsense",
    ],
)
def test_an_invalid_address_is_refused_with_a_message(url, owner, brightleaf):
    page = owner.submit("/incidents/alerts/webhook", {"url": url}, page="/incidents/alerts")
    assert page.status_code == 422
    text = page.get_data(as_text=True)
    assert "There is a problem" in text and 'aria-invalid="true"' in text


def test_a_name_is_resolved_once_and_all_its_addresses_are_checked(monkeypatch):
    resolved = []

    def response(name, *_args, **_more):
        resolved.append(name)
        return [(socket.AF_INET, 1, 6, "", (ip, 0)) for ip in ("93.184.216.34", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", response)
    with pytest.raises(http_client.PostFailed, match="not allowed"):
        http_client.post("https://rebinding.example/", b"{}", {}, EgressPolicy(ports=http_client.PORTS))
    assert resolved == ["rebinding.example"]


def test_a_reply_that_is_not_http_is_not_quoted(brightleaf, receiver, app, clock):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def reply():
            peer, _ = listening.accept()
            peer.recv(10_000)
            peer.sendall(b"220 secret.internal ESMTP\r\n")
            peer.close()

        threading.Thread(target=reply, daemon=True).start()
        policy = get_state(app).config.webhook_policy
        target = policy.private_targets[0]
        allowed = replace(policy, private_targets=(replace(target, port=port),))
        with pytest.raises(http_client.PostFailed) as refused:
            http_client.post(f"http://127.0.0.1:{port}/", b"{}", {}, allowed)
    assert "secret" not in str(refused.value)


def test_the_secret_is_shown_once_and_stored_sealed(brightleaf, owner, receiver):
    response = owner.submit("/incidents/alerts/webhook", {"url": receiver.url}, page="/incidents/alerts")
    secret = shown_secret(response)
    assert "whsec_" not in owner.get("/incidents/alerts").get_data(as_text=True)
    row = db.session.scalars(select(IncidentPolicy)).one()
    assert secret.encode() not in row.sealed_secret
    assert policy.open_secret(row) == secret
    response = owner.submit("/incidents/alerts/webhook/secret", {}, page="/incidents/alerts")
    assert shown_secret(response) != secret


def test_a_test_delivery_is_posted_logged_and_not_retried(brightleaf, owner, receiver):
    owner.submit("/incidents/alerts/webhook", {"url": receiver.url}, page="/incidents/alerts")
    receiver.status = 404
    assert owner.submit("/incidents/alerts/webhook/test", {}, page="/incidents/alerts").status_code == 303
    deliver()
    (delivery,) = deliveries()
    assert (delivery.event, delivery.state, delivery.status_code) == ("test", WebhookState.FAILED, 404)
    assert "The server answered with status 404." in owner.get("/incidents/alerts").get_data(as_text=True)


def test_a_removed_webhook_gets_no_further_deliveries(brightleaf, owner, receiver):
    owner.submit("/incidents/alerts/webhook", {"url": receiver.url}, page="/incidents/alerts")
    process_attempt(brightleaf, diagnosis=REFUSED)
    run_worker_jobs()
    owner.submit("/incidents/alerts/webhook/stop", {}, page="/incidents/alerts")
    deliver()
    assert receiver.requests == []
    assert deliveries()[0].state is WebhookState.FAILED


def test_alerts_by_email_and_by_webhook_are_switched_independently(brightleaf, receiver):
    policy.save_webhook(brightleaf, receiver.url)
    policy.set_email_alerts(brightleaf, on=False)
    process_attempt(brightleaf, diagnosis=REFUSED)
    run_worker_jobs()
    deliver()
    assert alert_emails() == [] and len(receiver.requests) == 1
