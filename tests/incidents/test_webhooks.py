"""Events are posted to an owner's address: signed, guarded, tried for a day, and without anything secret."""

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
from tests.incidents.conftest import REFUSED, happens, mails, owe, work

pytestmark = pytest.mark.thorough


def deliveries() -> list[WebhookDelivery]:
    db.session.rollback()
    query = select(WebhookDelivery).order_by(WebhookDelivery.id)
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def shown_secret(page) -> str:
    return re.search(r"whsec_[\w+/=]+", html.unescape(page.get_data(as_text=True)))[0]


def deliver() -> None:
    for _, ident in webhooks.find_due_work(utcnow()):
        webhooks.deliver(ident)


def verified(secret: str, headers: Message, body: bytes) -> dict:
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
    given = [part.split(",", 1) for part in headers["webhook-signature"].split(" ")]
    assert any(version == "v1" and base64.b64decode(text) == expected for version, text in given)
    return json.loads(body)


def test_start_and_end_are_posted_and_verified_with_the_secret_that_was_shown(brightleaf, receiver, clock):
    shown = policy.save_webhook(brightleaf, receiver.url)
    owe(brightleaf, 1)
    happens(brightleaf, diagnosis=REFUSED, reply_code=535, reply_text="no, affiliate1@visitors.example")
    work()
    deliver()
    events = [verified(shown.secret, *receiver.seen[0])]
    happens(brightleaf, Outcome.ACCEPTED)
    clock.shift(61)
    work()
    deliver()
    events += [verified(shown.secret, *receiver.seen[1])]
    assert [one["event"] for one in events] == ["incident.opened", "incident.ended"]
    assert events[0]["incident"]["waiting"] == 1
    assert events[0]["incident"]["cause"].endswith("(535).")
    assert [headers["webhook-id"] for headers, _ in receiver.seen] == [one["id"] for one in events]
    assert not [
        name for headers, _ in receiver.seen for name in headers if name.lower().startswith("signet-")
    ]
    assert b"visitors.example" not in b"".join(body for _, body in receiver.seen)
    assert [one.state for one in deliveries()] == [WebhookState.DELIVERED] * 2


def test_the_specification_signs_its_own_example_alike():
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    at = datetime.fromtimestamp(1614265330, tz=UTC)
    headers = webhooks.signed_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", body, at)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_from_before_the_standard_is_rewritten_by_the_receiver_alone(brightleaf, receiver):
    policy.save_webhook(brightleaf, receiver.url)
    old = "whsec_" + secrets.token_urlsafe(32)  # as the portal made them
    row = db.session.scalars(select(IncidentPolicy)).one()
    row.sealed_secret = vault().seal(old, policy.secret_binding(row))
    db.session.commit()
    webhooks.send_test(brightleaf, now=utcnow())
    deliver()
    rewritten = old[:6] + old[6:].replace("-", "+").replace("_", "/") + "="
    assert verified(rewritten, *receiver.seen[0])["event"] == "test"


def test_a_repeated_delivery_keeps_its_id_and_body_and_gets_a_new_timestamp(brightleaf, receiver, clock):
    shown = policy.save_webhook(brightleaf, receiver.url)
    receiver.status = 503
    happens(brightleaf, diagnosis=REFUSED)
    work()
    for _ in range(3):
        deliver()
        verified(shown.secret, *receiver.seen[-1])
        clock.shift(3600)
    assert len({headers["webhook-id"] for headers, _ in receiver.seen}) == 1
    assert len({body for _, body in receiver.seen}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in receiver.seen}) == 3


def test_what_is_not_taken_is_tried_again_for_a_day_and_given_up(brightleaf, receiver, clock):
    policy.save_webhook(brightleaf, receiver.url)
    receiver.status = 500
    happens(brightleaf, diagnosis=REFUSED)
    work()
    deliver()
    (one,) = deliveries()
    assert (one.state, one.attempts, one.status_code) == (WebhookState.WAITING, 1, 500)
    deliver()
    assert len(receiver.seen) == 1, "not before its time"
    for _ in range(100):
        clock.shift(1800)
        deliver()
    (one,) = deliveries()
    assert one.state is WebhookState.FAILED
    assert 8 < one.attempts < 20
    receiver.status = 200
    clock.shift(86_400)
    deliver()
    assert deliveries()[0].state is WebhookState.FAILED


def test_a_redirect_is_not_followed(brightleaf, receiver, clock):
    policy.save_webhook(brightleaf, receiver.url)
    receiver.status, receiver.location = 307, receiver.url
    webhooks.send_test(brightleaf, now=utcnow())
    deliver()
    assert len(receiver.seen) == 1
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
def test_internal_addresses_are_never_dialled(url):
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
def test_an_address_that_is_none_is_refused_with_a_sentence(url, owner, brightleaf):
    page = owner.submit("/incidents/alerts/webhook", {"url": url}, page="/incidents/alerts")
    assert page.status_code == 422
    text = page.get_data(as_text=True)
    assert "There is a problem" in text and 'aria-invalid="true"' in text


def test_a_name_is_looked_up_once_and_every_address_of_it_is_judged(monkeypatch):
    asked = []

    def answer(name, *_args, **_more):
        asked.append(name)
        return [(socket.AF_INET, 1, 6, "", (ip, 0)) for ip in ("93.184.216.34", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with pytest.raises(http_client.PostFailed, match="not allowed"):
        http_client.post("https://rebinding.example/", b"{}", {}, EgressPolicy(ports=http_client.PORTS))
    assert asked == ["rebinding.example"]


def test_a_server_that_speaks_no_http_is_a_sentence_and_not_its_words(brightleaf, receiver, app, clock):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def rude():
            peer, _ = listening.accept()
            peer.recv(10_000)
            peer.sendall(b"220 secret.internal ESMTP\r\n")
            peer.close()

        threading.Thread(target=rude, daemon=True).start()
        policy = get_state(app).config.webhook_policy
        target = policy.private_targets[0]
        from dataclasses import replace

        allowed = replace(policy, private_targets=(replace(target, port=port),))
        with pytest.raises(http_client.PostFailed) as refused:
            http_client.post(f"http://127.0.0.1:{port}/", b"{}", {}, allowed)
    assert "secret" not in str(refused.value)


def test_the_secret_is_shown_once_and_sealed_in_the_table(brightleaf, owner, receiver):
    answer = owner.submit("/incidents/alerts/webhook", {"url": receiver.url}, page="/incidents/alerts")
    secret = shown_secret(answer)
    assert "whsec_" not in owner.get("/incidents/alerts").get_data(as_text=True)
    row = db.session.scalars(select(IncidentPolicy)).one()
    assert secret.encode() not in row.sealed_secret
    assert policy.open_secret(row) == secret
    again = owner.submit("/incidents/alerts/webhook/secret", {}, page="/incidents/alerts")
    other = shown_secret(again)
    assert other != secret


def test_a_test_is_posted_logged_and_not_repeated(brightleaf, owner, receiver):
    owner.submit("/incidents/alerts/webhook", {"url": receiver.url}, page="/incidents/alerts")
    receiver.status = 404
    assert owner.submit("/incidents/alerts/webhook/test", {}, page="/incidents/alerts").status_code == 303
    deliver()
    (one,) = deliveries()
    assert (one.event, one.state, one.status_code) == ("test", WebhookState.FAILED, 404)
    assert "The server answered with status 404." in owner.get("/incidents/alerts").get_data(as_text=True)


def test_a_webhook_that_was_stopped_gets_nothing_more(brightleaf, owner, receiver):
    owner.submit("/incidents/alerts/webhook", {"url": receiver.url}, page="/incidents/alerts")
    happens(brightleaf, diagnosis=REFUSED)
    work()
    owner.submit("/incidents/alerts/webhook/stop", {}, page="/incidents/alerts")
    deliver()
    assert receiver.seen == []
    assert deliveries()[0].state is WebhookState.FAILED


def test_alerts_by_mail_and_by_webhook_are_switched_apart(brightleaf, receiver):
    policy.save_webhook(brightleaf, receiver.url)
    policy.set_email_alerts(brightleaf, on=False)
    happens(brightleaf, diagnosis=REFUSED)
    work()
    deliver()
    assert mails() == [] and len(receiver.seen) == 1
