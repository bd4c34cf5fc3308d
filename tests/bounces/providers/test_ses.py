"""Amazon SES by SNS: what its events mean, signatures, the topic, and where requests may go."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from portal.bounces import verifying
from portal.bounces.meaning import Meaning, Report
from portal.bounces.models import BounceEvent, BounceHook, EventState
from portal.bounces.providers.adapter import Call
from portal.bounces.providers.catalogue import ADAPTERS
from portal.bounces.recording import read_call
from portal.clock import utcnow
from portal.config import WEBHOOK_POLICY
from portal.db import db
from portal.smtp.network.guard import EgressPolicy, HostOverride
from tests.bounces.providers import sns_server
from tests.bounces.providers.sns_server import HOST, TOPIC, SnsServer, notification, signed, subscription
from tests.bounces.support import events, hook_row, make_hook, outcome, post, run_worker, send, state_of
from tests.conftest import make_config
from tests.smtp import badserver

AT = datetime(2026, 3, 2, 9, 0, 5, tzinfo=UTC)
STAMP = "2026-03-02T09:00:05.000Z"
UNKNOWN = {"status": "5.1.1", "action": "failed", "diagnosticCode": "smtp; 550 5.1.1 no such mailbox"}


@pytest.fixture(scope="module")
def sns() -> Iterator[SnsServer]:
    with SnsServer() as server:
        yield server


@pytest.fixture
def config(tmp_path, sns):
    """SNS's name leads to the server on loopback; every other request of the portal leads nowhere."""
    sns.paths.clear()
    sns.status = 200
    policy = EgressPolicy(
        ports=WEBHOOK_POLICY.ports,
        ca_file=badserver.ca_file(),
        host_overrides=(HostOverride(HOST, 443, ip_address("127.0.0.1"), sns.port),),
    )
    return make_config(tmp_path / "instance", webhook_policy=policy)


def run_jobs() -> None:
    """Run the jobs of stored calls, then the others."""
    db.session.rollback()
    for _, event_id in verifying.find_due_work(utcnow() + timedelta(seconds=1)):
        verifying.run(event_id)
    run_worker()


@pytest.fixture
def hook(app, brightleaf) -> str:
    """A hook whose subscription was confirmed."""
    path = make_hook(brightleaf, "ses")
    assert post(app, path, signed(subscription())) == 200
    run_jobs()
    assert hook_row(brightleaf, "ses").topic == TOPIC
    return path


def ses(sent, kind: str, *, published: bool = False, **details: Any) -> dict[str, Any]:
    """Return an event about a message. Published events have tags; feedback notifications only headers, if ticked."""
    mail = {
        "timestamp": "2026-03-02T09:00:00.000Z",
        "messageId": sent.queue_id,
        "destination": [sent.recipient],
        "source": "info@brightleaf.example",
        "headersTruncated": False,
        "headers": [
            {"name": "X-Signet-Ref", "value": sent.reference},
            {"name": "Message-ID", "value": "<x@y.example>"},
        ],
    }
    if published:
        mail = {
            **mail,
            "headers": [],
            "tags": {"signet": [sent.reference], "ses:operation": ["SendSmtpEmail"]},
        }
    body = {"timestamp": STAMP, **details}
    return {
        "eventType" if published else "notificationType": kind,
        "mail": mail,
        kind[:1].lower() + kind[1:]: body,
    }


def bounce(
    sent, kind: str, subtype: str, recipient: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    told = [{"emailAddress": sent.recipient, **(UNKNOWN if recipient is None else recipient)}]
    return ses(
        sent,
        "Bounce",
        bounceType=kind,
        bounceSubType=subtype,
        bouncedRecipients=told,
        feedbackId="f1",
        **more,
    )


def complaint(sent, kind: str = "abuse", **more: Any) -> dict[str, Any]:
    told = [{"emailAddress": sent.recipient}]
    return ses(sent, "Complaint", complainedRecipients=told, complaintFeedbackType=kind, **more)


def delivery(sent, **more: Any) -> dict[str, Any]:
    return ses(sent, "Delivery", recipients=[sent.recipient], smtpResponse="250 ok", **more)


def delay(sent) -> dict[str, Any]:
    told = [{"emailAddress": sent.recipient, "status": "4.4.1", "diagnosticCode": "smtp; 451 later"}]
    return ses(
        sent,
        "DeliveryDelay",
        published=True,
        delayType="TransientCommunicationFailure",
        delayedRecipients=told,
    )


CASES = [
    (lambda sent: bounce(sent, "Permanent", "General"), Meaning.HARD, False),
    (lambda sent: bounce(sent, "Permanent", "NoEmail"), Meaning.HARD, False),
    (lambda sent: bounce(sent, "Permanent", "Suppressed"), Meaning.HARD, True),
    (lambda sent: bounce(sent, "Permanent", "OnAccountSuppressionList"), Meaning.HARD, True),
    (
        lambda sent: bounce(
            sent, "Permanent", "General", {"status": "5.7.1", "diagnosticCode": "smtp; 550 5.7.1 policy"}
        ),
        Meaning.BLOCKED,
        False,
    ),
    (lambda sent: bounce(sent, "Transient", "MailboxFull", {"status": "5.2.2"}), Meaning.SOFT, False),
    (lambda sent: bounce(sent, "Transient", "ContentRejected", {}), Meaning.BLOCKED, False),
    (
        lambda sent: bounce(
            sent, "Transient", "General", {"status": "5.4.4", "diagnosticCode": "host not found"}
        ),
        Meaning.HARD,
        False,
    ),
    (lambda sent: bounce(sent, "Undetermined", "Undetermined", {}), Meaning.SOFT, False),
    (complaint, Meaning.COMPLAINT, False),
    (lambda sent: complaint(sent, ""), Meaning.COMPLAINT, False),
    (delivery, Meaning.DELIVERED, False),
    (lambda sent: delivery(sent, published=True), Meaning.DELIVERED, False),
    (delay, Meaning.DELAYED, False),
]


@pytest.mark.parametrize(("make", "meaning", "listed"), CASES)
def test_each_event_has_its_meaning(app, brightleaf, hook, make, meaning, listed):
    sent = send(brightleaf)
    assert post(app, hook, signed(notification(make(sent)))) == 200
    run_jobs()
    row = outcome(sent.id)
    assert (row.meaning, row.is_listed, row.occurred_at) == (meaning, listed, AT)


@pytest.mark.parametrize(
    "make", [lambda sent: bounce(sent, "Transient", "General", {}), lambda sent: complaint(sent, "not-spam")]
)
def test_absence_notes_and_reversed_complaints_are_no_outcome(app, brightleaf, hook, make):
    sent = send(brightleaf)
    post(app, hook, signed(notification(make(sent))))
    run_jobs()
    assert [row.meaning for row in events()] == [Meaning.AUTO_REPLY]
    assert outcome(sent.id) is None


def test_the_id_of_the_submission_identifies_a_message_without_headers(app, brightleaf, hook):
    sent = send(brightleaf, queue_id="0102018abc-000000")
    event = delivery(sent)
    del event["mail"]["headers"]
    post(app, hook, signed(notification(event)))
    run_jobs()
    assert outcome(sent.id).meaning is Meaning.DELIVERED


def test_several_recipients_in_one_event_are_distinguished(app, brightleaf, hook):
    first, second = (
        send(brightleaf, "a@receiver.example", queue_id="same"),
        send(brightleaf, "b@receiver.example", queue_id="same"),
    )
    event = bounce(first, "Permanent", "General")
    del event["mail"]["headers"]
    event["bounce"]["bouncedRecipients"].append({"emailAddress": second.recipient, **UNKNOWN})
    post(app, hook, signed(notification(event)))
    run_jobs()
    assert [outcome(sent.id).meaning for sent in (first, second)] == [Meaning.HARD, Meaning.HARD]


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{}, {"Subject": "Amazon SES"}])
def test_both_signature_versions_with_and_without_a_subject(app, brightleaf, hook, version, subject):
    sent = send(brightleaf)
    post(app, hook, signed(notification(delivery(sent), **subject), version=version))
    run_jobs()
    assert outcome(sent.id) is not None


def test_a_sentence_instead_of_an_event_is_ignored(app, brightleaf, hook):
    for text in (
        "Successfully validated SNS topic for Amazon SES event publishing.",
        '{"notificationType":"AmazonSnsSubscriptionSucceeded"}',
    ):
        post(app, hook, signed(notification(text)))
    run_jobs()
    assert events() == []
    assert hook_row(brightleaf, "ses").refused == 0


def test_it_confirms_its_subscription_itself_at_sns_and_once(app, brightleaf, hook, sns):
    confirmations = [path for path in sns.paths if "ConfirmSubscription" in path]
    assert len(confirmations) == 1
    assert "Token=2336412f37fb687f" in confirmations[0]
    assert TOPIC.replace(":", "%3A") in confirmations[0]


ARN = "arn:aws:sns:eu-west-1:123456789012:another-topic"
OTHER_REGION = "arn:aws:sns:us-east-1:123456789012:signet-events"


def forgeries(sent) -> list[dict[str, Any]]:
    right = notification(delivery(sent))
    return [
        {**signed(right), "Message": json.dumps(bounce(sent, "Permanent", "General"))},
        signed(right, key=sns_server.OTHER_KEY),
        {**signed(right), "Signature": ""},
        {**signed(right), "Signature": "é"},
        {**signed(right), "SignatureVersion": "3"},
        signed({**right, "TopicArn": ARN}),
        signed({**right, "TopicArn": OTHER_REGION}),
        signed({**right, "TopicArn": "nonsense"}),
        signed(
            {
                **right,
                "TopicArn": "arn:aws:sns:s3-eu-west-1:123456789012:x",
                "SigningCertURL": "https://sns.s3-eu-west-1.amazonaws.com/x.pem",
            }
        ),
        {**right, "Type": "Invented", "SignatureVersion": "2", "Signature": "AAAA"},
        *(
            signed({**right, "SigningCertURL": url})
            for url in (
                f"http://{HOST}/SimpleNotificationService-0a1b2c.pem",
                f"https://{HOST}.evil.example/x.pem",
                f"https://evil.example/{HOST}/x.pem",
                f"https://{HOST}@evil.example/x.pem",
                f"https://{HOST}:8443/x.pem",
                f"https://{HOST}/x.pem?y=.pem",
                f"https://{HOST}/../x.pem",
                f"https://{HOST}/x.txt",
                "https://sns.us-east-1.amazonaws.com/x.pem",
                "https://127.0.0.1/x.pem",
                "https://[::1/x.pem",
                "file:///etc/passwd",
                "",
            )
        ),
        signed(subscription(TopicArn=ARN)),
    ]


def test_forged_calls_change_nothing_are_counted_and_lead_to_no_request_elsewhere(app, brightleaf, hook, sns):
    sent = send(brightleaf)
    before = len(sns.paths)
    calls = forgeries(sent)
    assert [post(app, hook, one) for one in calls] == [200] * len(calls), "the worker verifies them"
    run_jobs()
    assert events() == []
    assert outcome(sent.id) is None
    row = hook_row(brightleaf, "ses")
    assert (row.refused, row.topic) == (len(calls), TOPIC)
    assert len(sns.paths) == before, "the certificate is known, and no other address was asked"


def test_before_a_subscription_no_notification_counts(app, brightleaf):
    path, sent = make_hook(brightleaf, "ses"), send(brightleaf)
    post(app, path, signed(notification(delivery(sent))))
    run_jobs()
    assert outcome(sent.id) is None
    assert hook_row(brightleaf, "ses").refused == 1


@pytest.mark.parametrize("status", [500, 429])
def test_a_certificate_that_cannot_be_fetched_is_tried_again(app, brightleaf, sns, status):
    path, sent = make_hook(brightleaf, "ses"), send(brightleaf)
    sns.status = status
    post(app, path, signed(subscription()))
    for _ in range(5):
        db.session.execute(update(BounceEvent).values(next_at=utcnow()))
        db.session.commit()
        run_jobs()
        (row,) = events()
        assert row.state is EventState.UNVERIFIED
        assert row.next_at > utcnow()
    sns.status = 200
    db.session.execute(update(BounceEvent).values(next_at=utcnow()))
    db.session.commit()
    run_jobs()
    assert hook_row(brightleaf, "ses").topic == TOPIC
    post(app, path, signed(notification(delivery(sent))))
    run_jobs()
    assert outcome(sent.id).meaning is Meaning.DELIVERED


def test_a_call_whose_certificate_is_missing_holds_no_place_for_a_day(app, brightleaf, sns):
    path = make_hook(brightleaf, "ses")
    sns.status = 404
    post(app, path, signed(subscription()))
    for waiting in (1, 1, 1, 0):
        db.session.execute(update(BounceEvent).values(next_at=utcnow()))
        db.session.commit()
        run_jobs()
        assert len(events()) == waiting
    assert hook_row(brightleaf, "ses").refused == 1
    sns.status = 200
    post(app, path, signed(subscription()))
    run_jobs()
    assert hook_row(brightleaf, "ses").topic == TOPIC


def test_a_call_about_another_topic_leads_to_no_request(app, brightleaf, hook, sns):
    before = len(sns.paths)
    url = f"https://{HOST}/unknown.pem"
    post(app, hook, signed(notification("{}", TopicArn=ARN, SigningCertURL=url)))
    run_jobs()
    assert (events(), len(sns.paths)) == ([], before)


def test_a_removed_hook_leaves_no_call_behind(app, brightleaf, hook):
    post(app, hook, signed(notification(delivery(send(brightleaf)))))
    db.session.delete(db.session.scalars(select(BounceHook)).one())
    db.session.commit()
    run_jobs()
    assert events() == []


def test_calls_are_bounded(app, brightleaf, hook):
    assert post(app, hook, b"x" * (256 * 1024 + 1)) == 413
    first = {
        "account_id": brightleaf,
        "source": "ses",
        "state": EventState.UNVERIFIED,
        "meaning": Meaning.UNKNOWN,
    }
    at = {"occurred_at": utcnow(), "received_at": utcnow(), "next_at": utcnow()}
    db.session.execute(insert(BounceEvent), [{**first, **at, "key": str(number)} for number in range(999)])
    db.session.commit()
    assert [post(app, hook, f"call {number}".encode()) for number in range(2)] == [200, 503]


def test_an_event_about_very_many_recipients_is_bounded(app, brightleaf, hook):
    event = ses(send(brightleaf), "Bounce", bounceType="Permanent", bouncedRecipients=[UNKNOWN] * 2000)
    post(app, hook, signed(notification(event)))
    run_jobs()
    assert len(events()) == 50


def test_an_event_that_no_adapter_expects_is_kept_as_not_understood():
    def fail(_call: Call) -> Iterator[Report]:
        raise KeyError("of a form that no adapter expects")

    adapter = replace(ADAPTERS["ses"], read=fail)
    (found,) = read_call(adapter, Call(b"{}", {}, "", utcnow()))
    assert (found.meaning, found.raw) == (Meaning.UNKNOWN, "{}")


ORDERS = [order for number, order in enumerate(itertools.permutations(range(4))) if number in (0, 7, 16, 23)]


@pytest.mark.thorough
@pytest.mark.both_databases
def test_any_order_46_times_by_8_threads_makes_one_row_and_one_state(app, brightleaf, hook):
    states = []
    for number, order in enumerate(ORDERS):
        sent = send(brightleaf, f"r{number}@receiver{number}.example")
        made = [delay(sent), delivery(sent), bounce(sent, "Permanent", "General"), complaint(sent)]
        calls = [
            json.dumps(signed(notification(made[place], number * 10 + place))).encode() for place in order
        ]

        def repeat(count: int, calls: list[bytes] = calls) -> None:
            with app.app_context():
                client = app.test_client(use_cookies=False)
                for _ in range(count):
                    for body in calls:
                        assert client.post(hook, data=body, content_type="text/plain").status_code == 200
                for _, event_id in verifying.find_due_work(utcnow()):
                    verifying.run(event_id)
                db.session.remove()

        db.session.commit()
        threads = [threading.Thread(target=repeat, args=(6 if n < 6 else 5,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        db.session.execute(
            update(BounceEvent).where(BounceEvent.next_at.is_not(None)).values(next_at=utcnow())
        )
        db.session.commit()
        run_jobs()
        assert len([row for row in events() if row.message_id == sent.id]) == 4
        states.append(state_of(sent.id)[:-1])
    assert len(set(states)) == 1
    assert states[0][0] is Meaning.COMPLAINT
    assert hook_row(brightleaf, "ses").refused == 0
