"""Signing up: one affiliate, one email owed, both or neither."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from portal.accounts.registration import create_owner
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup
from portal.notices import recipients
from portal.notices.catalogue import NEW_SIGN_UP
from portal.outbox.models import OutboxMessage, Status
from tests.conftest import PASSWORD
from tests.enrolment.support import account_of

GRACE = signup.SignUp("Grace Hopper", "grace@example.org", "192.0.2.1")


def test_an_affiliate_is_taken_in_and_the_email_is_owed(join, left):
    answer = join()
    assert (answer.status_code, answer.location) == (303, "/join/brightleaf/thanks")
    now = left()
    [affiliate], [message] = now.affiliates, now.messages
    assert (affiliate.name, affiliate.mailbox) == ("Grace Hopper", "grace@example.org")
    assert affiliate.consented_at is not None
    assert message.kind == "new-sign-up"
    assert (message.recipient, message.recipient_name) == ("grace@example.org", "Grace Hopper")
    assert (message.status, message.attempts) == (Status.QUEUED, 0)
    assert not message.is_test
    assert message.forced_version_id is None


def test_signing_up_twice_shows_the_same_page_and_owes_one_email(join, client, left):
    first, second = join(), join(name="Somebody Else", mailbox="GRACE@example.org")
    assert (first.status_code, first.location) == (second.status_code, second.location)
    assert len(left().affiliates) == len(left().messages) == 1


def test_the_same_person_may_join_two_programmes(join, left):
    create_owner("Copperpot", "Bo Larsen", "bo@copperpot.example", PASSWORD, now=utcnow())
    join()
    join(slug="copperpot")
    assert len(left().affiliates) == len(left().messages) == 2


def test_signing_up_at_the_same_moment_is_signing_up_once(app, programme, left):
    slug, failures = programme.slug, []
    db.session.commit()
    at_once = threading.Barrier(8)

    def one() -> None:
        with app.app_context():
            account = account_of(slug)
            db.session.commit()
            at_once.wait()
            try:
                signup.sign_up(account.slug, GRACE, now=utcnow())
            except signup.TooManySignUps:
                pass  # an address counts whoever has signed up with it
            except Exception as failure:
                failures.append(failure)
            finally:
                db.session.remove()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(left().affiliates) == len(left().messages) == 1


def test_a_sign_up_that_another_one_overtook_changes_nothing(app, programme, left):
    """What a database with row locks shows: both looked before either had written."""
    now = utcnow()
    signup.sign_up(programme.slug, GRACE, now=now)
    late = signup.new_affiliate(programme, GRACE.name, GRACE.mailbox, now)
    assert not signup._insert_affiliate(late)
    db.session.commit()
    assert len(left().affiliates) == len(left().messages) == 1


def test_without_new_sign_up_there_is_an_affiliate_and_no_email(join, client, programme, left):
    recipients.set_enabled(programme.id, NEW_SIGN_UP, enabled=False)
    assert "by email" not in client.get("/join/brightleaf").get_data(as_text=True)
    assert join().status_code == 303
    assert len(left().affiliates) == 1
    assert left().messages == []
    page = client.get("/join/brightleaf/thanks").get_data(as_text=True)
    assert "inbox" not in page
    assert "on its list now" in page


def test_with_new_sign_up_the_thanks_point_to_the_inbox(client, programme):
    page = client.get("/join/brightleaf/thanks").get_data(as_text=True)
    assert "If this address is new to the programme, an email is on its way: look into your inbox." in page


def test_when_the_email_cannot_be_owed_nobody_is_taken_in(app, programme, left):
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
    assert left().affiliates == []
    signup.sign_up(programme.slug, GRACE, now=utcnow())
    assert len(left().affiliates) == len(left().messages) == 1, "the way is free again afterwards"


def test_a_failure_after_both_were_written_leaves_neither(app, programme, left):
    slug = programme.slug
    db.event.listen(db.session, "before_commit", _full_disk)
    try:
        with pytest.raises(OSError, match="disk"):
            signup.sign_up(slug, GRACE, now=utcnow())
    finally:
        db.event.remove(db.session, "before_commit", _full_disk)
        db.session.rollback()
    assert left().affiliates == []
    assert left().messages == []


def _full_disk(session):
    if session.query(OutboxMessage.id).count():
        raise OSError("the disk is full")


def test_a_robot_that_fills_in_the_trap_sees_success_and_causes_nothing(join, left):
    answer = join(website="https://evil.example")
    assert (answer.status_code, answer.location) == (303, "/join/brightleaf/thanks")
    assert left().affiliates == []
    assert left().messages == []


def test_the_trap_is_hidden_from_people(client, programme):
    page = client.get("/join/brightleaf").get_data(as_text=True)
    trap = page[page.index('class="trap"') :]
    assert 'aria-hidden="true"' in trap[:60]
    assert 'tabindex="-1"' in trap[:400]


def test_a_mailbox_gets_three_emails_a_day_over_all_programmes_however_it_is_spelled(app, programme, left):
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
        else:  # said openly: nobody is left believing that they are an affiliate
            with pytest.raises(signup.TooManySignUps):
                signup.sign_up(account.slug, entered, now=now)
    assert len(left().messages) == 3
    entered = signup.SignUp("Grace", "grace@gmail.com", "192.0.2.9")
    signup.sign_up(programme.slug, entered, now=now + timedelta(days=1))
    assert len(left().messages) == 4


def test_a_flood_of_spellings_from_many_networks_reaches_its_victim_three_times(app, programme, left):
    now = utcnow()
    for number in range(60):
        mailbox = f"vic.tim+{number}@example.org"
        with contextlib.suppress(signup.TooManySignUps):
            signup.sign_up(programme.slug, signup.SignUp("Vic", mailbox, f"198.51.100.{number}"), now=now)
    assert len(left().messages) == 3


@pytest.mark.parametrize(
    ("spelling", "folded"), [("+@e.org", "+@e.org"), ("+a@e.org", "+a@e.org"), ("a.b+c@e.org", "ab@e.org")]
)
def test_spellings_fold_but_never_to_nothing(spelling, folded):
    assert signup.rate_limit_key(spelling) == folded


def test_the_twenty_first_sign_up_of_a_network_is_told_to_wait_and_keeps_what_was_typed(join, left):
    for number in range(20):
        assert join(mailbox=f"grace{number}@example.org").status_code == 303
    answer = join(name="Katherine Johnson", mailbox="katherine@example.org")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 429
    assert "There were too many sign-ups from your network" in page
    assert 'value="Katherine Johnson"' in page
    assert 'value="katherine@example.org"' in page
    assert len(left().affiliates) == 20


def test_another_network_is_not_punished(app, programme, left):
    now = utcnow()
    for number in range(20):
        signup.sign_up(programme.slug, signup.SignUp("A", f"a{number}@example.org", "192.0.2.1"), now=now)
    with pytest.raises(signup.TooManySignUps):
        signup.sign_up(programme.slug, GRACE, now=now)
    signup.sign_up(programme.slug, replace(GRACE, network="192.0.2.2"), now=now)
    assert len(left().affiliates) == 21
