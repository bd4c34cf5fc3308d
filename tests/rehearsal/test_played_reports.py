"""Providers' reports that the rehearsal plays about a received message, through the account's own hook."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal.bounces import hooks, verifying
from portal.bounces.meaning import Meaning
from portal.bounces.models import BounceHook
from portal.bounces.providers.catalogue import ADAPTERS
from portal.clock import utcnow
from portal.db import db
from portal.rehearsal import store
from portal.rehearsal.provider_events import is_played
from portal.state import get_state
from tests.bounces.support import account_id_of, events, hook_row, outcome, run_worker, send, suppressed

MESSAGE_ID = "0123456789ABCDEF02"
PAGE = f"/rehearsal/inbox/{MESSAGE_ID}"
PLAYED = [name for name in ADAPTERS if is_played(name)]
SIGNED = ["mailgun", "resend", "sendgrid"]


@pytest.fixture
def sent(app, owner):
    """An accepted message that the rehearsal server received."""
    found = send(account_id_of())
    content = (
        f"From: a@brightleaf.example\r\nTo: {found.recipient}\r\nX-Signet-Ref: {found.reference}\r\n"
        f"Message-ID: {found.header_id}\r\nSubject: Hello\r\n\r\nHello\r\n"
    )
    envelope = store.StoredEnvelope(
        id=MESSAGE_ID,
        received_at="2026-03-04T05:06:07+00:00",
        sender="a@brightleaf.example",
        recipients=(found.recipient,),
        username="a@brightleaf.example",
        tls="TLSv1.3",
        port=2587,
    )
    store.save(store.inbox_folder(get_state(app).config), envelope, content.encode())
    return found


def play(owner, provider: str, what: str) -> str:
    answer = owner.submit(f"{PAGE}/report", {"provider": provider, "what": what}, page=PAGE)
    assert answer.status_code == 303
    run_worker()
    return " ".join(owner.get(PAGE).get_data(as_text=True).split())


@pytest.mark.parametrize("provider", PLAYED)
def test_every_provider_plays_its_story(owner, sent, provider):
    play(owner, provider, "delay-then-delivery")
    assert [row.meaning for row in sorted(events(), key=lambda row: row.meaning)] == [
        Meaning.DELAYED,
        Meaning.DELIVERED,
    ]
    assert outcome(sent.id).meaning is Meaning.DELIVERED
    assert "Reports: 5, refused: 0" in play(owner, provider, "replay")
    assert outcome(sent.id).meaning is Meaning.HARD
    assert len(events()) == 3, "the replayed bounce counts once"
    play(owner, provider, "complaint")
    assert outcome(sent.id).meaning is Meaning.COMPLAINT
    assert suppressed(account_id_of()) != {}


@pytest.mark.parametrize("provider", PLAYED)
def test_the_providers_own_list_is_marked(owner, sent, provider):
    play(owner, provider, "own-list")
    (row,) = events()
    assert row.is_listed
    assert row.message_id == sent.id


@pytest.mark.parametrize("provider", PLAYED)
def test_a_wrong_signature_changes_nothing(owner, sent, provider):
    text = play(owner, provider, "wrong-signature")
    for _, event_id in verifying.find_due_work(utcnow()):
        verifying.run(event_id)
    assert events() == []
    refused = db.session.scalars(select(BounceHook.refused)).one()
    if provider in SIGNED:
        assert "Reports: 1, refused: 1" in text
        assert refused == 1
    elif provider == "ses":
        assert "The worker verifies its signatures." in text
        assert refused == 1
    else:
        assert "A call to an address with a wrong secret was refused" in text
        assert refused == 0


@pytest.mark.parametrize("provider", SIGNED)
def test_the_saved_key_of_the_provider_stays(owner, sent, provider):
    hooks.create(account_id_of(), provider, now=utcnow())
    for saved in ("", "the-key-of-the-real-provider"):
        if saved:
            hooks.save_key(account_id_of(), provider, saved)
        assert "refused: 0" in play(owner, provider, "bounce")
        assert hooks.open_key(hook_row(account_id_of(), provider)) == saved


def test_other_values_and_other_accounts_change_nothing(owner, stranger, sent):
    for fields in ({"provider": "none", "what": "bounce"}, {"provider": "brevo", "what": "none"}, {}):
        assert owner.submit(f"{PAGE}/report", fields, page=PAGE).status_code == 400
    play(stranger, "brevo", "bounce")
    assert outcome(sent.id) is None
