"""The page of one message: access, its status and the reason, attempts, and escaping of the server's replies."""

from __future__ import annotations

from datetime import timedelta

import html5lib
import pytest

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import Outcome, Status
from portal.outbox.queue import get_queue, hold
from tests.cases import in_one_test

from .conftest import GREYLISTED, NO_SUCH_MAILBOX, WRONG_PASSWORD, account_of


def _message_page(browser, message) -> str:
    response = browser.get(f"/deliveries/{message.id}")
    assert response.status_code == 200
    return response.get_data(as_text=True)


@pytest.mark.parametrize("rest", ["", "/html"])
def test_a_message_is_shown_to_its_owner_only(owner, stranger, client, enqueue, rest):
    path = f"/deliveries/{enqueue().id}{rest}"
    assert owner.get(path).status_code == 200
    assert stranger.get(path).status_code == 404
    response = client.get(path)
    assert response.status_code == 303
    assert response.location.startswith("/log-in")


@in_one_test(
    "message_id", ["0", "-1", "x", "1.0", "999999999999", "9" * 13, "9" * 400, "1e3", "%00", "1;", "0x1"]
)
@pytest.mark.parametrize("rest", ["", "/html"])
def test_an_invalid_message_id_is_not_found(owner, enqueue, message_id, rest):
    enqueue()
    assert owner.get(f"/deliveries/{message_id}{rest}").status_code == 404


def test_the_html_frame_is_sandboxed(owner, enqueue):
    message = enqueue()
    response = owner.get(f"/deliveries/{message.id}/html")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox;")
    assert "allow-" not in policy
    assert "default-src 'none'" in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.get_data(as_text=True) == message.html
    page = _message_page(owner, message)
    assert f'src="/deliveries/{message.id}/html"' in page
    assert 'sandbox=""' in page


def test_a_message_without_html_is_shown_as_text(owner, enqueue):
    message = enqueue(html="", text="Hello <b>there</b>\n")
    assert "Hello &lt;b&gt;there&lt;/b&gt;" in _message_page(owner, message)
    assert owner.get(f"/deliveries/{message.id}/html").status_code == 404


def test_a_sent_message_is_described_as_accepted_by_the_server(owner, enqueue, add_attempt):
    message = enqueue(status=Status.SENT, message_id="<abc@brightleaf.example>")
    add_attempt(
        message,
        stage="data",
        reply_code=250,
        enhanced_code="2.0.0",
        reply_text="Ok: queued",
        queue_id="4Xyz",
        transcript="    12 ms  C: EHLO signet.example\n    40 ms  C: AUTH PLAIN [hidden]",
    )
    page = _message_page(owner, message)
    for text in (
        "smtp.example.com:587 accepted this email",
        "Version 3 of your settings, smtp.example.com:587",
        "While sending the message",
        "2.0.0",
        "Ok: queued",
        "4Xyz",
        "&lt;abc@brightleaf.example&gt;",
        "EHLO signet.example",
        "[hidden]",
        "Brightleaf &lt;info@brightleaf.example&gt;",
    ):
        assert text in page, text
    assert '<details class="transcript" id="transcript-1">' in page, "collapsed"
    assert "Delivered" not in page


def test_an_untried_message_shows_when_it_leaves(owner, enqueue):
    page = _message_page(owner, enqueue())
    assert "Signet sends this email shortly" in page
    assert "Signet has not tried to send this email yet." in page
    assert 'data-live="on"' in page


def test_a_deferred_message_shows_the_reason_and_the_next_attempt(owner, enqueue, add_attempt):
    next_attempt_at = utcnow().replace(microsecond=0) + timedelta(minutes=12)
    message = enqueue(attempts=1, next_attempt_at=next_attempt_at)
    add_attempt(
        message, Outcome.DEFERRED, version_number=None, stage="rcpt", reply_code=451, diagnosis=GREYLISTED
    )
    page = _message_page(owner, message)
    assert "The platform’s sender" in page
    assert GREYLISTED["cause"] in page
    assert f"Signet tries again at {next_attempt_at.day} {next_attempt_at:%b %Y, %H:%M} UTC" in page
    assert 'data-live="off"' in page


def test_a_paused_queue_delays_the_next_attempt(owner, enqueue, add_attempt):
    message = enqueue(attempts=1)
    add_attempt(message, Outcome.DEFERRED, diagnosis=GREYLISTED)
    until = utcnow() + timedelta(minutes=30)
    get_queue(message.account_id).paused_until = until
    db.session.commit()
    assert f"tries again at {until.day} {until:%b %Y, %H:%M} UTC" in _message_page(owner, message)


def test_a_held_message_shows_the_cause_whose_move_it_is_and_the_fix(owner, enqueue):
    message = enqueue()
    hold(account_of().id, WRONG_PASSWORD, now=utcnow())
    db.session.commit()
    page = _message_page(owner, message)
    assert "This email waits until your settings work again." in page
    assert page.count(WRONG_PASSWORD["cause"]) >= 2, "in the banner and on the page"
    assert "You" in page
    assert WRONG_PASSWORD["fixes"][0] in page
    assert "535 5.7.8 Authentication failed" in page
    assert 'href="/settings/email-preferences#password"' in page
    assert 'href="/settings/email-preferences"' in page


def test_a_permanent_refusal_is_explained(owner, enqueue, add_attempt):
    message = enqueue(status=Status.FAILED)
    add_attempt(
        message,
        Outcome.REJECTED,
        stage="rcpt",
        reply_code=550,
        reply_text="User unknown",
        diagnosis=NO_SUCH_MAILBOX,
    )
    page = _message_page(owner, message)
    assert "The server refused this email permanently, so Signet does not try again." in page
    assert NO_SUCH_MAILBOX["cause"] in page
    assert "While sending the recipient’s address" in page


def test_a_message_that_expired_is_explained(owner, enqueue, add_attempt):
    message = enqueue(status=Status.FAILED)
    add_attempt(message, Outcome.REJECTED, diagnosis=GREYLISTED)
    assert "No server accepted this email within 48 hours" in _message_page(owner, message)


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Outcome.DEFERRED, "the connection ended before the server replied"),
        (Outcome.INTERRUPTED, "Signet was interrupted during this attempt."),
    ],
)
def test_an_attempt_without_a_reply_is_explained(owner, enqueue, add_attempt, outcome, text):
    message = enqueue(attempts=1)
    add_attempt(
        message, outcome, ambiguous=True, diagnosis=GREYLISTED if outcome is Outcome.DEFERRED else None
    )
    page = _message_page(owner, message)
    assert text in page
    assert "the same Message-ID" in page


def test_a_message_that_expired_without_a_reply_is_possibly_delivered(owner, enqueue, add_attempt):
    message = enqueue(status=Status.FAILED)
    add_attempt(message, Outcome.REJECTED, ambiguous=True, diagnosis=GREYLISTED)
    assert "The server may still have the message" in _message_page(owner, message)


def test_attempts_are_listed_newest_first(owner, enqueue, add_attempt):
    message = enqueue(status=Status.SENT)
    add_attempt(message, Outcome.DEFERRED, 1, diagnosis=GREYLISTED)
    add_attempt(message, Outcome.HELD, 2, diagnosis=WRONG_PASSWORD)
    add_attempt(message, Outcome.ACCEPTED, 3)
    page = _message_page(owner, message)
    positions = [page.index(f'<h3 id="attempt-{number}-title">') for number in (3, 2, 1)]
    assert positions == sorted(positions)
    assert GREYLISTED["cause"] in page
    assert WRONG_PASSWORD["cause"] in page


@pytest.mark.parametrize(
    ("flag", "label"), [({"is_test": True}, "Test email"), ({"forced_version_id": 2}, "Check email")]
)
def test_tests_and_checks_are_labelled_and_not_repeated(owner, enqueue, add_attempt, flag, label):
    message = enqueue(status=Status.FAILED, recipient="ada@brightleaf.example", **flag)
    add_attempt(message, Outcome.REJECTED, diagnosis=WRONG_PASSWORD)
    page = _message_page(owner, message)
    assert f"<h1>{label} to ada@brightleaf.example</h1>" in page
    assert "Signet sends a test only once" in page
    announced = (
        html5lib.parse(page, namespaceHTMLElements=False).find(".//*[@id='story']").get("data-announce")
    )
    assert WRONG_PASSWORD["cause"] in announced
    assert announced.endswith(WRONG_PASSWORD["fixes"][0]), "cause and fix, for screen readers"


@in_one_test("status", list(Status))
@pytest.mark.parametrize("outcome", [None, *Outcome])
def test_every_status_and_outcome_has_a_page(owner, enqueue, add_attempt, status, outcome):
    message = enqueue(status=status)
    if outcome is not None:
        add_attempt(message, outcome, server="", sender="", version_number=None, ended_at=None)
    assert _message_page(owner, message)
    assert owner.get("/deliveries").status_code == 200


HOSTILE = (
    "<script>alert(1)</script> \x1b[31mred\x1b[0m \u202eevil\u2066 \x00\r\n250 ok & \"quoted\" 'x' {{ 7*7 }}"
)


def test_a_servers_reply_is_escaped(owner, enqueue, add_attempt):
    message = enqueue(status=Status.FAILED)
    diagnosis = NO_SUCH_MAILBOX | {"evidence": {"reply": HOSTILE}}
    add_attempt(
        message,
        Outcome.REJECTED,
        reply_code=550,
        enhanced_code="<b>5.1.1",
        reply_text=HOSTILE,
        queue_id=HOSTILE[:100],
        diagnosis=diagnosis,
        transcript=f"     1 ms  S: {HOSTILE}\n     2 ms  S: 250 {HOSTILE}",
    )
    hold(account_of().id, diagnosis, now=utcnow())
    db.session.commit()
    for path in (f"/deliveries/{message.id}", "/deliveries"):
        page = owner.get(path).get_data(as_text=True)
        assert not set(page) & set("\x1b\x00\r\u202e\u2066")
        assert "{{ 7*7 }}" in page or path == "/deliveries"
        tree = html5lib.parse(page, namespaceHTMLElements=False)
        assert not [e for e in tree.iter("script") if not e.get("src")]
        assert "<script>alert(1)" in "".join(tree.itertext())


def test_every_page_shows_a_banner_while_the_queue_is_on_hold(owner, stranger, enqueue):
    message = enqueue()
    hold(message.account_id, WRONG_PASSWORD, now=utcnow())
    db.session.commit()
    for path in ("/deliveries", "/affiliates", "/automated-emails"):
        assert "1 email waiting since" in owner.get(path).get_data(as_text=True)
        assert WRONG_PASSWORD["cause"] not in stranger.get(path).get_data(as_text=True)


def test_the_timeline_is_in_order(owner, enqueue, add_attempt):
    start = utcnow() - timedelta(hours=3)
    message = enqueue(status=Status.SENT, created_at=start, settled_at=start + timedelta(hours=2))
    add_attempt(message, Outcome.DEFERRED, 1, started_at=start, ended_at=start + timedelta(minutes=1))
    add_attempt(message, Outcome.ACCEPTED, 2, ended_at=start + timedelta(hours=2), queue_id="4Xyz")
    page = _message_page(owner, message)
    texts = ["Queued", "Attempt 1 was postponed", "Attempt 2 was accepted", "queue ID 4Xyz"]
    positions = [page.index(text) for text in texts]
    assert positions == sorted(positions)
