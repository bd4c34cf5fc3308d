"""Sign-up: the affiliate and the email are stored together or not at all."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from sqlalchemy.exc import DBAPIError

from portal.accounts.registration import create_owner
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup
from portal.notices import recipients
from portal.notices.catalogue import NEW_SIGN_UP
from portal.outbox.models import OutboxMessage, Status
from portal.recipient_limits import BY_STRANGERS, one_spelling
from tests.conftest import PASSWORD
from tests.enrolment.support import account_of
from tests.outbox.support import run_together

GRACE = signup.SignUp("Grace Hopper", "grace@example.org", "192.0.2.1")


def test_a_sign_up_stores_the_affiliate_and_queues_the_email(join, stored):
    answer = join()
    assert (answer.status_code, answer.location) == (303, "/join/brightleaf/thanks")
    now = stored()
    [affiliate], [message] = now.affiliates, now.messages
    assert (affiliate.name, affiliate.mailbox) == ("Grace Hopper", "grace@example.org")
    assert affiliate.consented_at is not None
    assert message.kind == "new-sign-up"
    assert (message.recipient, message.recipient_name) == ("grace@example.org", "Grace Hopper")
    assert (message.status, message.attempts) == (Status.QUEUED, 0)
    assert not message.is_test
    assert message.forced_version_id is None


def test_signing_up_twice_shows_the_same_page_and_queues_one_email(join, client, stored):
    first, second = join(), join(name="Somebody Else", mailbox="GRACE@example.org")
    assert (first.status_code, first.location) == (second.status_code, second.location)
    assert len(stored().affiliates) == len(stored().messages) == 1


def test_the_same_person_can_join_two_programmes(join, stored):
    create_owner("Copperpot", "Bo Larsen", "bo@copperpot.example", PASSWORD, now=utcnow())
    join()
    join(slug="copperpot")
    assert len(stored().affiliates) == len(stored().messages) == 2


def test_simultaneous_sign_ups_of_one_mailbox_store_one_affiliate(app, programme, stored):
    slug = programme.slug
    db.session.commit()

    def sign_up(_number: int) -> None:
        with contextlib.suppress(signup.TooManySignUps):  # sign-ups of a known mailbox count, too
            signup.sign_up(slug, GRACE, now=utcnow())

    assert run_together(app, 8, sign_up) == [None] * 8
    assert len(stored().affiliates) == len(stored().messages) == 1


def test_the_second_insert_of_a_mailbox_changes_nothing(app, programme, stored):
    """With row locks, two transactions can both find the mailbox unknown before either writes."""
    now = utcnow()
    signup.sign_up(programme.slug, GRACE, now=now)
    late = signup.new_affiliate(programme, GRACE.name, GRACE.mailbox, now)
    assert not signup._insert_affiliate(late)
    db.session.commit()
    assert len(stored().affiliates) == len(stored().messages) == 1


def test_with_the_welcome_email_off_the_affiliate_is_stored_without_an_email(join, client, programme, stored):
    recipients.set_enabled(programme.id, NEW_SIGN_UP, enabled=False)
    assert "by email" not in client.get("/join/brightleaf").get_data(as_text=True)
    assert join().status_code == 303
    assert len(stored().affiliates) == 1
    assert stored().messages == []
    page = client.get("/join/brightleaf/thanks").get_data(as_text=True)
    assert "inbox" not in page
    assert "now on its list" in page


def test_with_the_welcome_email_on_the_thanks_page_points_to_the_inbox(client, programme):
    page = client.get("/join/brightleaf/thanks").get_data(as_text=True)
    assert "If this address is new to the programme, an email is on its way. Check your inbox." in page


def test_when_the_email_cannot_be_queued_no_affiliate_is_stored(app, programme, stored):
    rename = "ALTER TABLE {} RENAME TO {}"
    db.session.execute(db.text(rename.format("outbox_message", "elsewhere")))
    db.session.commit()
    try:
        with pytest.raises(DBAPIError):
            signup.sign_up(programme.slug, GRACE, now=utcnow())
    finally:
        db.session.rollback()
        db.session.execute(db.text(rename.format("elsewhere", "outbox_message")))
        db.session.commit()
    assert stored().affiliates == []
    signup.sign_up(programme.slug, GRACE, now=utcnow())
    assert len(stored().affiliates) == len(stored().messages) == 1, "the next sign-up succeeds"


def test_a_failure_before_the_commit_stores_neither(app, programme, stored):
    slug = programme.slug
    db.event.listen(db.session, "before_commit", _full_disk)
    try:
        with pytest.raises(OSError, match="disk"):
            signup.sign_up(slug, GRACE, now=utcnow())
    finally:
        db.event.remove(db.session, "before_commit", _full_disk)
        db.session.rollback()
    assert stored().affiliates == []
    assert stored().messages == []


def _full_disk(session):
    if session.query(OutboxMessage.id).count():
        raise OSError("the disk is full")


def test_a_bot_that_fills_in_the_hidden_field_sees_success_and_stores_nothing(join, stored):
    answer = join(website="https://evil.example")
    assert (answer.status_code, answer.location) == (303, "/join/brightleaf/thanks")
    assert stored().affiliates == []
    assert stored().messages == []


def test_the_field_for_bots_is_hidden_from_people(client, programme):
    page = client.get("/join/brightleaf").get_data(as_text=True)
    trap = page[page.index('class="trap"') :]
    assert 'aria-hidden="true"' in trap[:60]
    assert 'tabindex="-1"' in trap[:400]


def test_a_mailbox_gets_three_emails_a_day_across_programmes_and_spellings(app, programme, stored):
    spellings = [
        "g.race@gmail.com",
        "grace+a@gmail.com",
        "GRACE@gmail.com",
        "g.r.a.c.e+b@googlemail.com",
        "gra.ce@gmail.com",
    ]
    now = utcnow().replace(hour=0, minute=5)
    for number, mailbox in enumerate(spellings):
        create_owner(f"Programme {number}", "Bo", f"bo{number}@example.net", PASSWORD, now=now)
        account = account_of(f"programme-{number}")
        entered = signup.SignUp("Grace", mailbox, f"192.0.2.{number}")
        if number < 3:
            signup.sign_up(account.slug, entered, now=now)
        else:  # the page shows the refusal, so that the visitor does not expect to be an affiliate
            with pytest.raises(signup.TooManySignUps):
                signup.sign_up(account.slug, entered, now=now)
    assert len(stored().messages) == 3
    entered = signup.SignUp("Grace", "grace@gmail.com", "192.0.2.9")
    limit = BY_STRANGERS
    signup.sign_up(programme.slug, entered, now=now + limit.window + limit.slot)
    assert len(stored().messages) == 4


def test_many_spellings_from_many_networks_reach_a_mailbox_three_times(app, programme, stored):
    now = utcnow()
    for number in range(60):
        mailbox = f"vic.tim+{number}@example.org"
        with contextlib.suppress(signup.TooManySignUps):
            signup.sign_up(programme.slug, signup.SignUp("Vic", mailbox, f"198.51.100.{number}"), now=now)
    assert len(stored().messages) == 3


@pytest.mark.parametrize(
    ("spelling", "folded"), [("+@e.org", "+@e.org"), ("+a@e.org", "+a@e.org"), ("a.b+c@e.org", "ab@e.org")]
)
def test_spellings_are_folded_but_never_to_an_empty_local_part(spelling, folded):
    assert one_spelling(spelling) == folded


def test_the_twenty_first_sign_up_of_a_network_is_refused_and_its_input_is_kept(join, stored):
    for number in range(20):
        assert join(mailbox=f"grace{number}@example.org").status_code == 303
    answer = join(name="Katherine Johnson", mailbox="katherine@example.org")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 429
    assert "There were too many sign-ups from your network" in page
    assert 'value="Katherine Johnson"' in page
    assert 'value="katherine@example.org"' in page
    assert len(stored().affiliates) == 20


def test_another_network_has_its_own_limit(app, programme, stored):
    now = utcnow()
    for number in range(20):
        signup.sign_up(programme.slug, signup.SignUp("A", f"a{number}@example.org", "192.0.2.1"), now=now)
    with pytest.raises(signup.TooManySignUps):
        signup.sign_up(programme.slug, GRACE, now=now)
    signup.sign_up(programme.slug, replace(GRACE, network="192.0.2.2"), now=now)
    assert len(stored().affiliates) == 21
