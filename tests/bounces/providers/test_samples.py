"""Every provider's events: their meaning, any order, many times, at once; and calls with wrong proofs."""

from __future__ import annotations

import itertools
import json
import threading
from datetime import timedelta

import pytest

from portal.affiliates.models import SuppressionReason
from portal.bounces import processing
from portal.bounces.meaning import Meaning
from portal.bounces.providers.catalogue import ADAPTERS
from portal.bounces.providers.setup import setup_of
from portal.clock import utcnow
from portal.db import db
from tests.bounces.providers import samples
from tests.bounces.providers.samples import AT, SAMPLES, sign_sendgrid, sign_svix
from tests.bounces.support import (
    GRACE,
    events,
    hook_row,
    make_hook,
    outcome,
    post,
    run_worker,
    send,
    state_of,
    suppressed,
)

EVENTS = [(name, meaning) for name, sample in SAMPLES.items() for meaning in sample.events]
_SUPPRESSED = {Meaning.HARD: SuppressionReason.BOUNCED, Meaning.COMPLAINT: SuppressionReason.COMPLAINED}
STORY = (Meaning.DELAYED, Meaning.DELIVERED, Meaning.HARD, Meaning.COMPLAINT)
ORDERS = [order for number, order in enumerate(itertools.permutations(STORY)) if number in (0, 10, 17, 23)]


@pytest.mark.parametrize(("provider", "meaning"), EVENTS)
def test_each_event_has_its_meaning(app, brightleaf, provider, meaning):
    hook, sent = make_hook(brightleaf, provider, SAMPLES[provider].key), send(brightleaf)
    assert post(app, hook, *SAMPLES[provider].call(meaning, sent)) == 200
    run_worker()
    assert [row.meaning for row in events()] == [meaning]
    assert outcome(sent.id).meaning is meaning
    assert outcome(sent.id).occurred_at == AT
    assert suppressed(brightleaf) == ({GRACE: _SUPPRESSED[meaning]} if meaning in _SUPPRESSED else {})


@pytest.mark.thorough
@pytest.mark.both_databases
@pytest.mark.parametrize("provider", SAMPLES)
def test_any_order_46_times_by_8_threads_makes_one_row_and_one_state(app, brightleaf, provider):
    sample, states = SAMPLES[provider], []
    hook = make_hook(brightleaf, provider, sample.key)
    for number, order in enumerate(ORDERS):
        sent = send(brightleaf, f"r{number}@receiver{number}.example")
        calls = [sample.call(meaning, sent) for meaning in order]
        answers: list[int] = []

        def repeat(count: int, calls: list[samples.Signed] = calls, answers: list[int] = answers) -> None:
            with app.app_context():
                client = app.test_client(use_cookies=False)
                for _ in range(count):
                    answers += [
                        client.post(hook, data=body, headers=headers).status_code for body, headers in calls
                    ]
                processing.process(brightleaf)
                db.session.remove()

        db.session.commit()
        threads = [threading.Thread(target=repeat, args=(6 if n < 6 else 5,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        assert answers == [200] * 46 * 4
        run_worker()
        assert len([row for row in events() if row.message_id == sent.id]) == 4
        states.append(state_of(sent.id)[:-1])
    assert len(set(states)) == 1
    assert states[0][0] is Meaning.COMPLAINT
    assert set(suppressed(brightleaf).values()) == {SuppressionReason.COMPLAINED}


@pytest.mark.parametrize("provider", SAMPLES)
def test_bodies_without_sense_are_never_an_error(app, brightleaf, provider):
    sample = SAMPLES[provider]
    hook = make_hook(brightleaf, provider, sample.key)
    for body in (b"", b"[]", b"{}", b"[1]", b'[{"msys": 3}]', b'{"event": {}}', b"\xff", b"[" * 9999):
        assert post(app, hook, body, sample.sign(body)) in (200, 401), body[:20]
        run_worker()
    assert all(row.message_id is None for row in events())


@pytest.mark.parametrize("provider", SAMPLES)
def test_a_wrong_secret_in_the_address_changes_nothing(app, brightleaf, provider):
    sample, sent = SAMPLES[provider], send(brightleaf)
    hook = make_hook(brightleaf, provider, sample.key)
    assert post(app, hook[:-1], *sample.call(Meaning.HARD, sent)) == 404
    assert events() == []


def sendgrid_forgeries(body: bytes) -> list[samples.Signed]:
    right = sign_sendgrid(body)
    respelt = json.dumps(json.loads(body), indent=1).encode()
    return [
        (body, {}),
        (respelt, right),
        (body + b"\r\n", right),
        (body, {**right, "X-Twilio-Email-Event-Webhook-Timestamp": "1772442005"}),
        (body, {**right, "X-Twilio-Email-Event-Webhook-Timestamp": "x" * 5000}),
        (body, {**right, "X-Twilio-Email-Event-Webhook-Signature": "AAAA"}),
        (body, {**right, "X-Twilio-Email-Event-Webhook-Signature": "é"}),
        (body, sign_sendgrid(body, utcnow() - timedelta(hours=26))),
    ]


def svix_forgeries(body: bytes) -> list[samples.Signed]:
    right = sign_svix(body)
    return [
        (body, {}),
        (body + b" ", right),
        (body, {**right, "svix-id": "msg_other"}),
        (body, {**right, "svix-timestamp": "0"}),
        (body, {**right, "svix-signature": right["svix-signature"].replace("v1,", "v2,")}),
        (body, {**right, "svix-signature": "v1, v1,é"}),
        (body, sign_svix(body, utcnow() - timedelta(minutes=6))),
        (body, sign_svix(body, utcnow() + timedelta(minutes=6))),
    ]


@pytest.mark.parametrize(
    ("provider", "forgeries"), [("sendgrid", sendgrid_forgeries), ("resend", svix_forgeries)]
)
def test_calls_with_a_wrong_signature_change_nothing_and_are_counted(app, brightleaf, provider, forgeries):
    sample, sent = SAMPLES[provider], send(brightleaf)
    hook = make_hook(brightleaf, provider, sample.key)
    calls = forgeries(sample.call(Meaning.HARD, sent)[0])
    assert [post(app, hook, *one) for one in calls] == [401] * len(calls)
    run_worker()
    assert events() == []
    assert outcome(sent.id) is None
    assert hook_row(brightleaf, provider).refused == len(calls)


@pytest.mark.parametrize(
    "key", ["", "AAAA", "not base64", "é", "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA"]
)
def test_a_key_that_is_none_verifies_nothing(app, brightleaf, key):
    sample, sent = SAMPLES["sendgrid"], send(brightleaf)
    hook = make_hook(brightleaf, "sendgrid", key)
    assert post(app, hook, *sample.call(Meaning.HARD, sent)) == 401


DETAILS = [
    ("sendgrid", samples.sendgrid("dropped", reason="Bounced Address"), Meaning.HARD, True),
    ("sendgrid", samples.sendgrid("dropped", reason="Spam Reporting Address"), Meaning.COMPLAINT, True),
    ("sendgrid", samples.sendgrid("dropped", reason="Spam Content"), Meaning.BLOCKED, False),
    (
        "sendgrid",
        samples.sendgrid("bounce", type="bounce", reason="550 over", bounce_classification="Content"),
        Meaning.BLOCKED,
        False,
    ),
    (
        "postmark",
        samples.postmark(
            "SubscriptionChange",
            SuppressSending=True,
            SuppressionReason="HardBounce",
            ChangedAt="2026-03-02T09:00:05Z",
        ),
        Meaning.HARD,
        True,
    ),
    ("postmark", samples._postmark_bounce("AutoResponder", 64, ""), Meaning.AUTO_REPLY, False),
    ("postmark", samples._postmark_bounce("SpamNotification", 512, ""), Meaning.BLOCKED, False),
    ("brevo", samples.brevo("invalid_email"), Meaning.HARD, False),
    ("brevo", samples.brevo("error", reason="API"), Meaning.BLOCKED, False),
    ("brevo", samples.brevo("hard_bounce", reason="550 5.7.26 unauthenticated"), Meaning.BLOCKED, False),
    ("mailjet", samples.mailjet("blocked", error="spam reporter"), Meaning.COMPLAINT, True),
    (
        "mailjet",
        samples.mailjet("bounce", hard_bounce=True, error="", comment="unknown user"),
        Meaning.HARD,
        False,
    ),
    ("mailjet", samples.mailjet("bounce", hard_bounce=True, error="content blocked"), Meaning.BLOCKED, False),
    ("sparkpost", samples.sparkpost("bounce", bounce_class="60"), Meaning.AUTO_REPLY, False),
    (
        "sparkpost",
        samples.sparkpost(
            "generation_rejection", "gen_event", raw_reason="554 5.7.1 recipient address suppressed"
        ),
        Meaning.BLOCKED,
        True,
    ),
    (
        "sparkpost",
        samples.sparkpost("bounce", bounce_class="1", raw_reason="550 no such user here"),
        Meaning.HARD,
        False,
    ),
    (
        "resend",
        samples.resend(
            "email.suppressed", suppressed={"message": "on its list", "type": "OnAccountSuppressionList"}
        ),
        Meaning.HARD,
        True,
    ),
    (
        "resend",
        samples.resend("email.bounced", bounce={"type": "Permanent", "subType": "ContentRejected"}),
        Meaning.BLOCKED,
        False,
    ),
    ("resend", samples.resend("email.bounced", bounce={"type": "Undetermined"}), Meaning.SOFT, False),
]


@pytest.mark.parametrize(("provider", "make", "meaning", "listed"), DETAILS)
def test_further_events(app, brightleaf, provider, make, meaning, listed):
    sample, sent = SAMPLES[provider], send(brightleaf)
    hook = make_hook(brightleaf, provider, sample.key)
    body = json.dumps(make(sent)).encode()
    assert post(app, hook, body, sample.sign(body)) == 200
    run_worker()
    (row,) = events()
    assert (row.meaning, row.is_listed, row.message_id) == (meaning, listed, sent.id)


UNSUBSCRIPTIONS = [
    ("sendgrid", samples.sendgrid("group_unsubscribe")),
    ("postmark", samples.postmark("SubscriptionChange", SuppressSending=True, SuppressionReason="ManualSuppression")),
    ("brevo", samples.brevo("unsubscribe")),
    ("mailjet", samples.mailjet("unsub")),
    ("sparkpost", samples.sparkpost("list_unsubscribe", "unsubscribe_event")),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "make"), UNSUBSCRIPTIONS)
def test_unsubscriptions(app, brightleaf, provider, make):
    sample, sent = SAMPLES[provider], send(brightleaf)
    hook = make_hook(brightleaf, provider, sample.key)
    body = json.dumps(make(sent)).encode()
    post(app, hook, body, sample.sign(body))
    run_worker()
    assert suppressed(brightleaf) == {GRACE: SuppressionReason.UNSUBSCRIBED}
    assert outcome(sent.id) is None


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=lambda adapter: adapter.id)
def test_every_provider_has_its_set_up_and_the_owner_can_read_it(app, owner, brightleaf, adapter):
    setup = setup_of(adapter.id)
    assert setup.steps
    assert setup.events or adapter.id == "generic"
    make_hook(brightleaf, adapter.id)
    page = owner.get("/settings/bounces").get_data(as_text=True)
    assert f'id="{adapter.id}"' in page
    assert f"/hooks/{adapter.id}/" in page
