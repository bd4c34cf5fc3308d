"""One message's story, whose it is, and that a server's words stay words."""

from __future__ import annotations

from datetime import timedelta

import html5lib
import pytest

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import Outcome, Status
from portal.outbox.queue import get_queue, hold

from .conftest import GREYLISTED, NO_SUCH_MAILBOX, WRONG_PASSWORD, account_of


def _story(browser, message) -> str:
    answer = browser.get(f"/deliveries/{message.id}")
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


@pytest.mark.parametrize("rest", ["", "/html"])
def test_a_message_is_shown_to_its_owner_only(owner, stranger, client, owe, rest):
    path = f"/deliveries/{owe().id}{rest}"
    assert owner.get(path).status_code == 200
    assert stranger.get(path).status_code == 404
    answer = client.get(path)
    assert answer.status_code == 303
    assert answer.location.startswith("/log-in")


@pytest.mark.parametrize(
    "ident", ["0", "-1", "x", "1.0", "999999999999", "9" * 13, "9" * 400, "1e3", "%00", "1;", "0x1"]
)
@pytest.mark.parametrize("rest", ["", "/html"])
def test_what_is_no_message_is_not_found(owner, owe, ident, rest):
    owe()
    assert owner.get(f"/deliveries/{ident}{rest}").status_code == 404


def test_the_frame_may_do_nothing(owner, owe):
    message = owe()
    answer = owner.get(f"/deliveries/{message.id}/html")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox;")
    assert "allow-" not in policy
    assert "default-src 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.get_data(as_text=True) == message.html
    page = _story(owner, message)
    assert f'src="/deliveries/{message.id}/html"' in page
    assert 'sandbox=""' in page


def test_a_message_without_html_is_shown_as_text(owner, owe):
    message = owe(html="", text="Hello <b>there</b>\n")
    assert "Hello &lt;b&gt;there&lt;/b&gt;" in _story(owner, message)
    assert owner.get(f"/deliveries/{message.id}/html").status_code == 404


def test_sent_is_worded_as_accepted_by_the_server(owner, owe, tried):
    message = owe(status=Status.SENT, message_id="<abc@brightleaf.example>")
    tried(
        message,
        stage="data",
        reply_code=250,
        enhanced_code="2.0.0",
        reply_text="Ok: queued",
        queue_id="4Xyz",
        transcript="    12 ms  C: EHLO signet.example\n    40 ms  C: AUTH PLAIN [hidden]",
    )
    page = _story(owner, message)
    for said in (
        "Accepted by smtp.example.com:587.",
        "Version 3 of your settings, smtp.example.com:587",
        "Handing the message over",
        "2.0.0",
        "Ok: queued",
        "4Xyz",
        "&lt;abc@brightleaf.example&gt;",
        "EHLO signet.example",
        "[hidden]",
        "Brightleaf &lt;info@brightleaf.example&gt;",
    ):
        assert said in page, said
    assert '<details class="transcript" id="transcript-1">' in page, "folded"
    assert "Delivered" not in page


def test_a_message_nobody_has_tried_says_when_it_leaves(owner, owe):
    page = _story(owner, owe())
    assert "It leaves as soon as a worker is free" in page
    assert "It has not been tried yet." in page
    assert 'data-live="on"' in page


def test_a_deferred_message_says_why_and_when_again(owner, owe, tried):
    again = utcnow().replace(microsecond=0) + timedelta(minutes=12)
    message = owe(attempts=1, next_attempt_at=again)
    tried(message, Outcome.DEFERRED, version_number=None, stage="rcpt", reply_code=451, diagnosis=GREYLISTED)
    page = _story(owner, message)
    assert "The platform’s sender" in page
    assert GREYLISTED["cause"] in page
    assert f"the next one follows at {again.day} {again:%b %Y, %H:%M} UTC" in page
    assert 'data-live="off"' in page


def test_a_paused_queue_moves_the_next_attempt(owner, owe, tried):
    message = owe(attempts=1)
    tried(message, Outcome.DEFERRED, diagnosis=GREYLISTED)
    until = utcnow() + timedelta(minutes=30)
    get_queue(message.account_id).paused_until = until
    db.session.commit()
    assert f"follows at {until.day} {until:%b %Y, %H:%M} UTC" in _story(owner, message)


def test_a_held_message_says_why_whose_move_it_is_and_where(owner, owe):
    message = owe()
    hold(account_of().id, WRONG_PASSWORD, now=utcnow())
    db.session.commit()
    page = _story(owner, message)
    assert "It waits until your settings work again. Nothing is lost" in page
    assert page.count(WRONG_PASSWORD["cause"]) >= 2, "in the banner and on the page"
    assert "Yours" in page
    assert WRONG_PASSWORD["fixes"][0] in page
    assert "535 5.7.8 Authentication failed" in page
    assert 'href="/settings/email-preferences#password"' in page
    assert 'href="/settings/email-preferences"' in page


def test_a_message_refused_for_good_says_so(owner, owe, tried):
    message = owe(status=Status.FAILED)
    tried(
        message,
        Outcome.REJECTED,
        stage="rcpt",
        reply_code=550,
        reply_text="User unknown",
        diagnosis=NO_SUCH_MAILBOX,
    )
    page = _story(owner, message)
    assert "It was refused for good, so it is not tried again." in page
    assert NO_SUCH_MAILBOX["cause"] in page
    assert "Naming the recipient" in page


def test_a_message_given_up_after_two_days_says_so(owner, owe, tried):
    message = owe(status=Status.FAILED)
    tried(message, Outcome.REJECTED, diagnosis=GREYLISTED)
    assert "It was not accepted within 48 hours" in _story(owner, message)


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome.DEFERRED, "the connection ended before the server’s answer was read"),
        (Outcome.INTERRUPTED, "The worker stopped in the middle of this attempt."),
    ],
)
def test_an_attempt_without_an_answer_is_explained(owner, owe, tried, outcome, said):
    message = owe(attempts=1)
    tried(message, outcome, ambiguous=True, diagnosis=GREYLISTED if outcome is Outcome.DEFERRED else None)
    page = _story(owner, message)
    assert said in page
    assert "the same Message-ID" in page


def test_a_message_given_up_without_an_answer_may_have_arrived(owner, owe, tried):
    message = owe(status=Status.FAILED)
    tried(message, Outcome.REJECTED, ambiguous=True, diagnosis=GREYLISTED)
    assert "the server may hold the message all the same" in _story(owner, message)


def test_every_attempt_is_told_the_newest_first(owner, owe, tried):
    message = owe(status=Status.SENT)
    tried(message, Outcome.DEFERRED, 1, diagnosis=GREYLISTED)
    tried(message, Outcome.HELD, 2, diagnosis=WRONG_PASSWORD)
    tried(message, Outcome.ACCEPTED, 3)
    page = _story(owner, message)
    told = [page.index(f'<h3 id="attempt-{number}-title">') for number in (3, 2, 1)]
    assert told == sorted(told)
    assert GREYLISTED["cause"] in page
    assert WRONG_PASSWORD["cause"] in page


@pytest.mark.parametrize(
    ("flag", "label"), [({"is_test": True}, "Test email"), ({"forced_version_id": 2}, "Check email")]
)
def test_tests_and_checks_are_labelled_and_not_repeated(owner, owe, tried, flag, label):
    message = owe(status=Status.FAILED, recipient="ada@brightleaf.example", **flag)
    tried(message, Outcome.REJECTED, diagnosis=WRONG_PASSWORD)
    page = _story(owner, message)
    assert f"<h1>{label} to ada@brightleaf.example</h1>" in page
    assert "A test is tried once only" in page


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("outcome", [None, *Outcome])
def test_every_state_has_a_story(owner, owe, tried, status, outcome):
    message = owe(status=status)
    if outcome is not None:
        tried(message, outcome, server="", sender="", version_number=None, ended_at=None)
    assert _story(owner, message)
    assert owner.get("/deliveries").status_code == 200


HOSTILE = (
    "<script>alert(1)</script> \x1b[31mred\x1b[0m \u202eevil\u2066 \x00\r\n250 ok & \"quoted\" 'x' {{ 7*7 }}"
)


def test_a_servers_words_stay_words(owner, owe, tried):
    message = owe(status=Status.FAILED)
    diagnosis = NO_SUCH_MAILBOX | {"evidence": {"reply": HOSTILE}}
    tried(
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


def test_a_banner_tells_of_the_hold_on_every_page(owner, stranger, owe):
    message = owe()
    hold(message.account_id, WRONG_PASSWORD, now=utcnow())
    db.session.commit()
    for path in ("/deliveries", "/affiliates", "/automated-emails"):
        assert "1 email has waited since" in owner.get(path).get_data(as_text=True)
        assert WRONG_PASSWORD["cause"] not in stranger.get(path).get_data(as_text=True)
