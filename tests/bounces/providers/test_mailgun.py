"""Mailgun: what its events mean, its signature, and tokens that count once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portal.affiliates.models import SuppressionReason
from portal.bounces.meaning import Meaning
from portal.clock import utcnow
from tests.bounces.providers.mailgun import KEY, call, event, failed
from tests.bounces.support import (
    GRACE,
    events,
    hook_row,
    make_hook,
    outcome,
    post,
    run_worker,
    send,
    suppressed,
)


@pytest.fixture
def hook(brightleaf) -> str:
    return make_hook(brightleaf, "mailgun", KEY)


@pytest.mark.parametrize(
    ("make", "meaning", "reason"),
    [
        (lambda sent: event(sent, "delivered"), Meaning.DELIVERED, None),
        (failed, Meaning.HARD, SuppressionReason.BOUNCED),
        (lambda sent: failed(sent, reason="suppress-bounce", code=605, message=""), Meaning.HARD, SuppressionReason.BOUNCED),
        (lambda sent: failed(sent, severity="temporary", reason="generic", code=451, message="4.2.0"), Meaning.DELAYED, None),
        (lambda sent: failed(sent, message="5.7.1 Refused by policy"), Meaning.BLOCKED, None),
        (lambda sent: failed(sent, message="5.2.2 Mailbox is over its quota"), Meaning.SOFT, None),
        (lambda sent: failed(sent, reason="generic", code=498, message="Too old"), Meaning.SOFT, None),
        (lambda sent: failed(sent, message="User unknown"), Meaning.HARD, SuppressionReason.BOUNCED),
        (lambda sent: event(sent, "complained"), Meaning.COMPLAINT, SuppressionReason.COMPLAINED),
        (lambda sent: event(sent, "rejected", reject={"reason": "virus"}), Meaning.BLOCKED, None),
    ],
)  # fmt: skip
def test_each_event_has_its_meaning(app, brightleaf, hook, make, meaning, reason):
    sent = send(brightleaf)
    assert post(app, hook, call(make(sent))) == 200
    run_worker()
    assert outcome(sent.id).meaning is meaning
    assert suppressed(brightleaf) == ({GRACE: reason} if reason else {})


def test_mailguns_own_list_is_distinguished(app, brightleaf, hook):
    sent = send(brightleaf)
    post(app, hook, call(failed(sent, reason="suppress-bounce")))
    run_worker()
    assert outcome(sent.id).is_listed


def test_an_unsubscription_is_no_outcome_and_ends_summaries(app, brightleaf, hook):
    sent = send(brightleaf)
    post(app, hook, call(event(sent, "unsubscribed")))
    run_worker()
    assert outcome(sent.id) is None
    assert suppressed(brightleaf) == {GRACE: SuppressionReason.UNSUBSCRIBED}


def test_opens_and_clicks_are_not_stored(app, brightleaf, hook):
    sent = send(brightleaf)
    for kind in ("opened", "clicked", "accepted"):
        assert post(app, hook, call(event(sent, kind))) == 200
    assert events() == []
    assert hook_row(brightleaf, "mailgun").last_event_at is not None


def test_it_is_found_by_its_message_id_where_the_variable_is_missing(app, brightleaf, hook):
    sent = send(brightleaf)
    post(app, hook, call(event(sent, "delivered", **{"user-variables": {}})))
    run_worker()
    assert outcome(sent.id).meaning is Meaning.DELIVERED


def forgeries(sent):
    right = call(failed(sent))
    other = call(failed(sent), key="another key")
    late = call(failed(sent), at=utcnow() - timedelta(hours=10))
    ahead = call(failed(sent), at=utcnow() + timedelta(hours=1))
    bare = {"event-data": failed(sent)}
    empty = {**right, "signature": {"timestamp": "", "token": "", "signature": ""}}
    return [other, late, ahead, bare, empty, b"not json", b"[]", {"signature": [1], "event-data": 3}]


def test_calls_with_a_wrong_signature_change_nothing_and_are_counted(app, brightleaf, hook):
    sent = send(brightleaf)
    calls = forgeries(sent)
    assert [post(app, hook, one) for one in calls] == [401] * len(calls)
    run_worker()
    assert events() == []
    assert outcome(sent.id) is None
    assert hook_row(brightleaf, "mailgun").refused == len(calls)


def test_an_event_of_a_subaccount_counts_by_the_key_of_the_account_above_it(app, brightleaf, hook):
    """Mailgun then signs the same timestamp and token with both keys."""
    sent = send(brightleaf)
    right = call(event(sent, "delivered"))
    own = call(event(sent, "delivered"), key="the key of the subaccount")["signature"]["signature"]
    both = {**right["signature"], "signature": own, "parent-signature": right["signature"]["signature"]}
    assert post(app, hook, {**right, "signature": {**both, "parent-signature": own}}) == 401
    assert post(app, hook, {**right, "signature": both}) == 200
    run_worker()
    assert outcome(sent.id).meaning is Meaning.DELIVERED


def test_a_token_counts_for_one_event_only(app, brightleaf, hook):
    """The signature does not cover the event, so a captured one must not carry another event."""
    sent, other = send(brightleaf), send(brightleaf, "ben@receiver.example")
    right = call(event(sent, "delivered"))
    assert post(app, hook, right) == 200
    assert post(app, hook, right) == 200, "Mailgun repeats a call whose answer was lost"
    assert post(app, hook, {**right, "event-data": failed(other)}) == 401
    run_worker()
    assert [row.meaning for row in events()] == [Meaning.DELIVERED]
    assert suppressed(brightleaf) == {}
    assert hook_row(brightleaf, "mailgun").refused == 1


def test_a_token_has_one_spelling_only(app, brightleaf, hook):
    """The signature is over timestamp and token without a mark between them."""
    sent, other = send(brightleaf), send(brightleaf, "ben@receiver.example")
    right = call(event(sent, "delivered"), token="e0" + "7" * 48)
    assert post(app, hook, right) == 200
    proof = right["signature"]
    moved = {**proof, "timestamp": proof["timestamp"] + "e0", "token": proof["token"][2:]}
    assert post(app, hook, {"signature": moved, "event-data": failed(other)}) == 401
    assert len(events()) == 1


def test_without_the_key_events_are_refused_so_that_mailgun_repeats_them(app, brightleaf):
    path, sent = make_hook(brightleaf, "mailgun"), send(brightleaf)
    assert post(app, path, call(failed(sent), key="")) == 401
    assert post(app, path, call(failed(sent))) == 401
    assert events() == []
