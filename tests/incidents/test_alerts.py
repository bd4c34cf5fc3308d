"""Alerts: one at the start and one at the end of an incident, to the right mailboxes, and rate-limited."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

from sqlalchemy import update

from portal.accounts.models import Account, Membership, Owner
from portal.accounts.registration import create_owner
from portal.accounts.team.rights import Role
from portal.clock import utcnow
from portal.db import db
from portal.incidents import alerts, policy
from portal.outbox.models import Outcome
from portal.outbox.sending.message import bodies
from portal.state import get_state
from tests.english import is_english
from tests.incidents.conftest import (
    DOWN,
    REFUSED,
    account_id_of,
    add_settings,
    alert_emails,
    enqueue,
    incidents,
    process_attempt,
    run_worker_jobs,
)
from tests.notices.conftest import add_confirmed


def test_a_failure_that_only_the_owner_can_fix_is_announced_at_once_and_its_end_after_a_minute(
    brightleaf, clock
):
    for number in range(14):
        enqueue(brightleaf, number)
    process_attempt(brightleaf, diagnosis=REFUSED, reply_code=535)
    run_worker_jobs()
    run_worker_jobs()
    (alert,) = alert_emails()
    assert alert.account_id is None and alert.is_sealed
    assert alert.recipient == "ada@brightleaf.example"
    text, _ = bodies(alert)
    assert "smtp.example.com did not accept the username and password (535)." in text
    assert "14 emails wait" in text and "Copy the SMTP password again" in text
    process_attempt(brightleaf, Outcome.ACCEPTED)
    run_worker_jobs()
    assert len(alert_emails()) == 1
    clock.shift(61)
    run_worker_jobs()
    run_worker_jobs()
    assert [row.kind for row in alert_emails()] == ["incident-opened", "incident-ended"]


def test_alerts_are_in_the_language_of_the_contact(brightleaf, clock):
    db.session.execute(update(Owner).values(language="de"))
    db.session.commit()
    enqueue(brightleaf, 1)
    enqueue(brightleaf, 2)
    fix = "Enter the username and password your provider shows for SMTP; they often differ from those of its website."
    known = REFUSED | {"code": "enhanced-credentials", "fixes": [fix]}
    process_attempt(brightleaf, diagnosis=known, reply_code=535)
    run_worker_jobs()
    process_attempt(brightleaf, Outcome.ACCEPTED)
    clock.shift(61)
    run_worker_jobs()
    found = alert_emails()
    assert len(found) == 2
    for alert in found:
        lines = [alert.subject, *bodies(alert)[0].splitlines()]
        assert [line for line in lines if is_english(line)] == []
    assert found[0].subject == "Brightleaf: 2 E-Mails warten"
    assert "hat Benutzername und Passwort nicht angenommen (535)." in bodies(found[0])[0]


def test_a_short_server_failure_sends_no_alert(brightleaf, clock):
    process_attempt(brightleaf, Outcome.DEFERRED, DOWN)
    clock.shift(5 * 60)
    run_worker_jobs()
    process_attempt(brightleaf, Outcome.ACCEPTED)
    clock.shift(60 * 60)
    run_worker_jobs()
    assert alert_emails() == []


def test_a_server_failure_of_ten_minutes_sends_an_alert(brightleaf, clock):
    process_attempt(brightleaf, Outcome.DEFERRED, DOWN)
    clock.shift(11 * 60)
    run_worker_jobs()
    assert [row.kind for row in alert_emails()] == ["incident-opened"]


def test_a_flapping_server_sends_one_alert(brightleaf, clock):
    for _ in range(10):
        process_attempt(brightleaf, diagnosis=REFUSED)
        run_worker_jobs()
        process_attempt(brightleaf, Outcome.ACCEPTED)
        clock.shift(30)
        run_worker_jobs()
    assert [row.kind for row in alert_emails()] == ["incident-opened"]
    clock.shift(61)
    run_worker_jobs()
    process_attempt(brightleaf, diagnosis=REFUSED)
    run_worker_jobs()
    assert [row.kind for row in alert_emails()] == ["incident-opened", "incident-ended"]
    clock.shift(31 * 60)  # longer than a flapping server is down
    run_worker_jobs()
    assert len(alert_emails()) == 3
    assert len(incidents(brightleaf)) == 1


def test_at_most_twenty_alerts_are_sent_in_a_day(brightleaf, clock):
    for number in range(25):
        process_attempt(brightleaf, diagnosis=REFUSED | {"code": f"cause-{number}"})
    run_worker_jobs()
    assert len(alert_emails()) == 20
    assert incidents(brightleaf)[-1].alert_note == alerts.TOO_MANY


def add_person(account_id: int, role: Role) -> int:
    """Let Cy join an account; return the person's id."""
    person = create_owner(
        "Elsewhere", "Cy", "cy@brightleaf.example", "correct horse battery staple", now=utcnow()
    )
    db.session.add(Membership(owner_id=person.id, account_id=account_id, role=role, joined_at=utcnow()))
    db.session.commit()
    return person.id


def test_only_the_contact_of_the_account_gets_the_alert(brightleaf, stranger, clock):
    add_person(brightleaf, Role.OWNER)
    process_attempt(brightleaf, diagnosis=REFUSED)
    run_worker_jobs()
    assert {row.recipient for row in alert_emails()} == {"ada@brightleaf.example"}


def test_further_mailboxes_of_the_account_get_each_alert_once(brightleaf, owner, stranger, clock):
    account = db.session.get_one(Account, brightleaf)
    for mailbox in ("team@brightleaf.example", "Cy@brightleaf.example"):
        add_confirmed(account, mailbox)
    add_confirmed(db.session.get_one(Account, account_id_of("copperpot")), "bo2@copperpot.example")
    account.contact_id = add_person(brightleaf, Role.OWNER)  # this further mailbox became the contact's
    db.session.commit()
    process_attempt(brightleaf, diagnosis=REFUSED)
    for _ in range(3):
        run_worker_jobs()
    expected = ["cy@brightleaf.example", "team@brightleaf.example"]
    assert sorted(row.recipient for row in alert_emails()) == expected
    assert {row.account_id for row in alert_emails()} == {None}, "through the platform's server"
    process_attempt(brightleaf, Outcome.ACCEPTED)
    clock.shift(61)
    for _ in range(3):
        run_worker_jobs()
    assert sorted((row.kind, row.recipient) for row in alert_emails()) == [
        (kind, mailbox) for kind in ("incident-ended", "incident-opened") for mailbox in expected
    ]


def test_a_flapping_server_sends_one_alert_to_a_further_mailbox(brightleaf, clock):
    add_confirmed(db.session.get_one(Account, brightleaf), "team@brightleaf.example")
    for _ in range(10):
        process_attempt(brightleaf, diagnosis=REFUSED)
        run_worker_jobs()
        process_attempt(brightleaf, Outcome.ACCEPTED)
        clock.shift(30)
        run_worker_jobs()
    assert len([row for row in alert_emails() if row.recipient == "team@brightleaf.example"]) == 1


def test_the_link_in_an_alert_requires_a_login(brightleaf, client, stranger, clock):
    add_confirmed(db.session.get_one(Account, brightleaf), "team@brightleaf.example")
    process_attempt(brightleaf, diagnosis=REFUSED)
    run_worker_jobs()
    alert = next(row for row in alert_emails() if row.recipient == "team@brightleaf.example")
    text, _ = bodies(alert)
    (link,) = re.findall(r"https?://\S+", text)
    assert (
        urlsplit(link)._replace(scheme="", netloc="").geturl() == f"/incidents/{incidents(brightleaf)[0].id}"
    )
    assert "once you are logged in" in text
    response = client.get(urlsplit(link).path)
    assert response.status_code == 303 and urlsplit(response.location).path == "/log-in"
    assert stranger.get(urlsplit(link).path).status_code == 404


def test_the_page_lists_the_mailboxes_that_get_alerts(brightleaf, owner):
    add_confirmed(db.session.get_one(Account, brightleaf), "team@brightleaf.example")
    page = owner.get("/incidents/alerts").get_data(as_text=True)
    assert "ada@brightleaf.example" in page and "team@brightleaf.example" in page


def test_disabled_alerts_are_not_sent_and_the_page_shows_it(brightleaf, owner, clock):
    policy.set_email_alerts(brightleaf, on=False)
    process_attempt(brightleaf, diagnosis=REFUSED)
    run_worker_jobs()
    assert alert_emails() == []
    page = owner.get(f"/incidents/{incidents(brightleaf)[0].id}").get_data(as_text=True)
    assert "alerts are switched off" in page


def test_without_a_platform_server_the_page_shows_that_no_alert_was_mailed(app, brightleaf, owner, clock):
    config = get_state(app).config
    get_state(app).config = replace(config, platform=replace(config.platform, server="", sender=""))
    process_attempt(brightleaf, diagnosis=REFUSED)
    run_worker_jobs()
    assert alert_emails() == []
    page = owner.get(f"/incidents/{incidents(brightleaf)[0].id}").get_data(as_text=True)
    assert "could not be mailed" in page
    page = owner.get("/incidents/alerts").get_data(as_text=True)
    assert "Alerts by email are not available" in page
    assert "Alerts by email are on" not in page
    assert "Switch off alerts by email" not in page


def test_an_alert_contains_no_password_text_or_affiliate_address(brightleaf, clock):
    enqueue(brightleaf, 1)
    diagnosis = REFUSED | {"cause": "smtp.example.com refuses affiliate1@visitors.example."}
    process_attempt(
        brightleaf,
        diagnosis=diagnosis,
        reply_text="535 the password is hunter2 for affiliate1@visitors.example",
    )
    run_worker_jobs()
    (alert,) = alert_emails()
    content = alert.subject + "".join(bodies(alert))
    for secret in ("hunter2", "the password is", "affiliate1@", "Welcome", "the password\n"):
        assert secret not in content


def test_an_alert_goes_to_the_owner_of_the_affected_account(brightleaf, stranger, clock):
    copperpot = account_id_of("copperpot")
    add_settings(copperpot)
    process_attempt(copperpot, diagnosis=REFUSED)
    run_worker_jobs()
    assert [row.recipient for row in alert_emails()] == ["bo@copperpot.example"]
