"""An owner is told once when trouble begins and once when it is over, and never flooded."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

from portal.accounts.models import Account
from portal.accounts.registration import create_owner
from portal.clock import utcnow
from portal.db import db
from portal.incidents import alerts, policy
from portal.notices import recipients
from portal.outbox.models import Outcome
from portal.outbox.sending.message import bodies
from portal.state import get_state
from tests.incidents.conftest import (
    DOWN,
    REFUSED,
    account_id,
    happens,
    incidents,
    live_settings,
    mails,
    owe,
    work,
)


def test_what_the_owner_alone_can_mend_is_told_at_once_and_its_end_a_minute_after(brightleaf, clock):
    for number in range(14):
        owe(brightleaf, number)
    happens(brightleaf, diagnosis=REFUSED, reply_code=535)
    work()
    work()
    (told,) = mails()
    assert told.account_id is None and told.is_sealed
    assert told.recipient == "ada@brightleaf.example"
    text, _ = bodies(told)
    assert "smtp.example.com did not accept the username and password (535)." in text
    assert "14 emails wait" in text and "Copy the SMTP password again" in text
    happens(brightleaf, Outcome.ACCEPTED)
    work()
    assert len(mails()) == 1
    clock.shift(61)
    work()
    work()
    assert [row.kind for row in mails()] == ["incident-opened", "incident-ended"]


def test_a_hiccup_of_a_server_is_not_worth_a_mail(brightleaf, clock):
    happens(brightleaf, Outcome.DEFERRED, DOWN)
    clock.shift(5 * 60)
    work()
    happens(brightleaf, Outcome.ACCEPTED)
    clock.shift(60 * 60)
    work()
    assert mails() == []


def test_a_server_in_trouble_for_ten_minutes_is(brightleaf, clock):
    happens(brightleaf, Outcome.DEFERRED, DOWN)
    clock.shift(11 * 60)
    work()
    assert [row.kind for row in mails()] == ["incident-opened"]


def test_flapping_is_told_once(brightleaf, clock):
    for _ in range(10):
        happens(brightleaf, diagnosis=REFUSED)
        work()
        happens(brightleaf, Outcome.ACCEPTED)
        clock.shift(30)
        work()
    assert [row.kind for row in mails()] == ["incident-opened"]
    clock.shift(61)
    work()
    happens(brightleaf, diagnosis=REFUSED)
    work()
    assert [row.kind for row in mails()] == ["incident-opened", "incident-ended"]
    clock.shift(31 * 60)  # it is no flapping any more: the trouble stays
    work()
    assert len(mails()) == 3
    assert len(incidents(brightleaf)) == 1


def test_at_most_twenty_alerts_leave_in_a_day(brightleaf, clock):
    for number in range(25):
        happens(brightleaf, diagnosis=REFUSED | {"code": f"cause-{number}"})
    work()
    assert len(mails()) == 20
    assert incidents(brightleaf)[-1].alert_note == alerts.TOO_MANY


def test_every_owner_of_the_account_is_told_and_nobody_else(brightleaf, stranger, clock):
    second = create_owner(
        "Elsewhere", "Cy", "cy@brightleaf.example", "correct horse battery staple", now=utcnow()
    )
    second.account_id = brightleaf
    db.session.commit()
    happens(brightleaf, diagnosis=REFUSED)
    work()
    assert {row.recipient for row in mails()} == {"ada@brightleaf.example", "cy@brightleaf.example"}


def test_the_further_mailboxes_of_the_account_are_told_too_each_once(brightleaf, owner, stranger, clock):
    account = db.session.get_one(Account, brightleaf)
    for mailbox in ("team@brightleaf.example", "Cy@brightleaf.example"):
        recipients.add_mailbox(account, mailbox, now=utcnow())
    recipients.add_mailbox(
        db.session.get_one(Account, account_id("copperpot")), "bo2@copperpot.example", now=utcnow()
    )
    joined = create_owner(
        "Elsewhere", "Cy", "cy@brightleaf.example", "correct horse battery staple", now=utcnow()
    )
    joined.account_id = brightleaf  # a further mailbox that became an owner's
    db.session.commit()
    happens(brightleaf, diagnosis=REFUSED)
    for _ in range(3):
        work()
    everybody = ["ada@brightleaf.example", "cy@brightleaf.example", "team@brightleaf.example"]
    assert sorted(row.recipient for row in mails()) == everybody
    assert {row.account_id for row in mails()} == {None}, "through the platform's server"
    happens(brightleaf, Outcome.ACCEPTED)
    clock.shift(61)
    for _ in range(3):
        work()
    assert sorted((row.kind, row.recipient) for row in mails()) == [
        (kind, mailbox) for kind in ("incident-ended", "incident-opened") for mailbox in everybody
    ]


def test_a_flapping_server_floods_no_further_mailbox(brightleaf, clock):
    recipients.add_mailbox(db.session.get_one(Account, brightleaf), "team@brightleaf.example", now=utcnow())
    for _ in range(10):
        happens(brightleaf, diagnosis=REFUSED)
        work()
        happens(brightleaf, Outcome.ACCEPTED)
        clock.shift(30)
        work()
    assert len([row for row in mails() if row.recipient == "team@brightleaf.example"]) == 1


def test_the_link_in_an_alert_tells_nothing_to_who_cannot_log_in(brightleaf, client, stranger, clock):
    recipients.add_mailbox(db.session.get_one(Account, brightleaf), "team@brightleaf.example", now=utcnow())
    happens(brightleaf, diagnosis=REFUSED)
    work()
    told = next(row for row in mails() if row.recipient == "team@brightleaf.example")
    text, _ = bodies(told)
    (link,) = re.findall(r"https?://\S+", text)
    assert (
        urlsplit(link)._replace(scheme="", netloc="").geturl() == f"/incidents/{incidents(brightleaf)[0].id}"
    )
    assert "log in" in text
    answer = client.get(urlsplit(link).path)
    assert answer.status_code == 303 and urlsplit(answer.location).path == "/log-in"
    assert stranger.get(urlsplit(link).path).status_code == 404


def test_the_page_says_which_mailboxes_are_told(brightleaf, owner):
    recipients.add_mailbox(db.session.get_one(Account, brightleaf), "team@brightleaf.example", now=utcnow())
    page = owner.get("/incidents/alerts").get_data(as_text=True)
    assert "ada@brightleaf.example" in page and "team@brightleaf.example" in page


def test_switched_off_nobody_is_told_and_the_page_says_so(brightleaf, owner, clock):
    policy.set_email_alerts(brightleaf, on=False)
    happens(brightleaf, diagnosis=REFUSED)
    work()
    assert mails() == []
    page = owner.get(f"/incidents/{incidents(brightleaf)[0].id}").get_data(as_text=True)
    assert "alerts are switched off" in page


def test_without_a_platform_server_the_page_says_that_no_alert_could_be_mailed(app, brightleaf, owner, clock):
    config = get_state(app).config
    get_state(app).config = replace(config, platform=replace(config.platform, server="", sender=""))
    happens(brightleaf, diagnosis=REFUSED)
    work()
    assert mails() == []
    page = owner.get(f"/incidents/{incidents(brightleaf)[0].id}").get_data(as_text=True)
    assert "could not be mailed" in page


def test_an_alert_holds_no_password_no_text_and_no_address_of_an_affiliate(brightleaf, clock):
    owe(brightleaf, 1)
    said = REFUSED | {"cause": "smtp.example.com refuses affiliate1@visitors.example."}
    happens(
        brightleaf, diagnosis=said, reply_text="535 the password is hunter2 for affiliate1@visitors.example"
    )
    work()
    (told,) = mails()
    words = told.subject + "".join(bodies(told))
    for secret in ("hunter2", "the password is", "affiliate1@", "Welcome", "the password\n"):
        assert secret not in words


def test_another_accounts_trouble_is_told_to_its_own_owner(brightleaf, stranger, clock):
    copperpot = account_id("copperpot")
    live_settings(copperpot)
    happens(copperpot, diagnosis=REFUSED)
    work()
    assert [row.recipient for row in mails()] == ["bo@copperpot.example"]
