"""The mailbox of a log-in: proof, link to the new one, undo by the former one, and what a thief gains by none of it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select, text, update

from portal.accounts.mailbox import changes
from portal.accounts.models import MailboxChange, Owner
from portal.accounts.team.rights import Role
from portal.accounts.tokens import hash_token
from portal.api import tokens
from portal.api.models import ApiToken
from portal.audit.models import AuditEntry
from portal.clock import utcnow
from portal.db import close_connections, db
from portal.jobs.registry import job_registry
from portal.state import get_state
from tests.accounts.conftest import ADA, path_in, portal_emails
from tests.accounts.people import invited_path
from tests.accounts.test_login import log_in
from tests.accounts.test_proof import make_stale, prove
from tests.accounts.test_sessions import is_logged_in, second_device
from tests.conftest import prove_again
from tests.pages import csrf_token

PAGE = "/account/email-address"
NEW = "ada@greenleaf.example"


def ask(browser, mailbox=NEW):
    return browser.submit(PAGE, {"mailbox": mailbox})


def newest(kind):
    to, text = portal_emails(kind)[-1]
    return to, path_in(text)


def change(browser, mailbox=NEW):
    """Change the mailbox on the pages; return the path of the link that undoes it."""
    assert ask(browser, mailbox).status_code == 303
    to, path = newest("confirm-new-mailbox")
    assert to == mailbox
    assert browser.submit(path, {}).location == "/account"
    return newest("mailbox-changed")[1]


def mailboxes():
    found = db.session.execute(select(Owner.mailbox, Owner.mailbox_key).order_by(Owner.id)).all()
    db.session.commit()
    return [tuple(row) for row in found]


@pytest.mark.both_databases
def test_a_mailbox_changes_by_its_link_and_others_are_logged_out(app, owner):
    other = second_device(app)
    app.test_client().submit("/forgot-password", {"mailbox": ADA})
    reset = newest("password-reset")[1]
    assert app.test_client().get(reset).status_code == 200
    answer = ask(owner, "Ada@Greenleaf.example")
    assert answer.status_code == 303
    assert "A link is on its way to Ada@greenleaf.example" in owner.get(answer.location).get_data(
        as_text=True
    )
    assert mailboxes() == [(ADA, ADA)], "nothing changes before the button"
    to, path = newest("confirm-new-mailbox")
    stored = db.session.scalars(select(MailboxChange)).one()
    token = path.rpartition("/")[2]
    assert (to, stored.token_hash) == ("Ada@greenleaf.example", hash_token(token))
    for _ in range(2):  # a scanner that follows links
        page = owner.get(path)
        assert "instead of ada@brightleaf.example" in page.get_data(as_text=True)
    assert mailboxes() == [(ADA, ADA)]
    assert owner.submit(path, {}).location == "/account"
    assert mailboxes() == [("Ada@greenleaf.example", "ada@greenleaf.example")]
    assert is_logged_in(owner)
    assert not is_logged_in(other)
    assert app.test_client().get(reset).status_code == 404, "a link that the former mailbox has"
    assert owner.get(path).status_code == 404, "used"
    assert newest("mailbox-changed")[0] == ADA
    assert log_in(app.test_client()).status_code == 422
    assert log_in(app.test_client(), mailbox="ada@greenleaf.example").status_code == 303


@pytest.mark.both_databases
@pytest.mark.both_databases
def test_undoing_ends_tokens_and_invitations_that_were_made_since_the_day_before(app, owner):
    """They would work without the log-in that the thief has lost."""

    def make(name, age):
        key = f"{name:0<43}"
        tokens.create(1, name=name, by="Ada", by_id=1, form_key=key, now=utcnow() - age)

    make("Old", timedelta(days=2))
    make("Young", timedelta(hours=1))
    undo = change(owner)
    make("New", timedelta())
    invitation = invited_path(owner, "eve@stranger.example", Role.OWNER)
    assert app.test_client().get(invitation).status_code == 200
    visitor = app.test_client()
    page = visitor.get(visitor.submit(undo, {}).location).get_data(as_text=True)
    assert (
        "2 API tokens that were made in your name shortly before or since the change no longer work" in page
    )
    assert (
        "One invitation that was sent in your name shortly before or since the change was withdrawn" in page
    )
    assert app.test_client().get(invitation).status_code == 404
    rows = db.session.execute(select(ApiToken.name, ApiToken.revoked_at.is_(None))).all()
    assert dict(map(tuple, rows)) == {"Old": True, "Young": False, "New": False}
    recorded = db.session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert [one for one in recorded if one in ("token-revoked", "invitation-withdrawn")] == [
        "token-revoked",
        "token-revoked",
        "invitation-withdrawn",
    ]


def test_the_former_mailbox_undoes_the_change_and_gets_a_new_password(app, owner):
    """A thief who knew the password has the session and the new mailbox, and is left with neither."""
    undo = change(owner)
    visitor = app.test_client()
    page = visitor.get(undo).get_data(as_text=True)
    assert "You will log in with ada@brightleaf.example again" in page
    assert NEW not in page, "the former mailbox need not see where it went"
    answer = visitor.submit(undo, {})
    assert mailboxes() == [(ADA, ADA)]
    assert not is_logged_in(owner)
    for mailbox in (ADA, NEW):
        assert log_in(app.test_client(), mailbox=mailbox).status_code == 422, (
            "the password opens nothing any more"
        )
    assert not is_logged_in(visitor), "the link logs nobody in"
    assert visitor.submit(answer.location, {"password": "seven purple kettles"}).location == "/log-in"
    assert log_in(visitor, password="seven purple kettles").status_code == 303
    assert visitor.get(undo).status_code == 404
    assert visitor.submit(undo, {}, page="/account").status_code == 404


def test_the_links_of_a_chain_of_changes_lead_back_to_the_owner_only(app, owner):
    """The thief holds the second link: undoing with it must not end the owner's, and the owner's ends it."""
    first = change(owner)
    second = change(owner, "thief@evil.example")
    visitor = app.test_client()
    answer = visitor.submit(second, {})
    assert answer.location.startswith("/reset-password/")
    stolen_reset = answer.location
    assert mailboxes()[0][0] == NEW
    assert app.test_client().submit(first, {}).status_code == 303
    assert mailboxes()[0][0] == ADA
    assert visitor.get(stolen_reset).status_code == 404
    assert app.test_client().get(second).status_code == 404
    assert app.test_client().submit(first, {}, page="/log-in").status_code == 404


def test_the_link_of_the_owner_ends_those_of_later_changes(app, owner):
    first = change(owner)
    second = change(owner, "thief@evil.example")
    assert app.test_client().submit(first, {}).status_code == 303
    assert app.test_client().get(second).status_code == 404
    assert mailboxes() == [(ADA, ADA)]


def test_a_stale_session_changes_no_mailbox(app, owner):
    assert ask(owner).status_code == 303
    path = newest("confirm-new-mailbox")[1]
    make_stale()
    for url in (PAGE, path):
        assert owner.get(url).location.startswith("/account/is-it-you?next=")
        assert owner.submit(url, {"mailbox": "thief@evil.example"}, page="/account").status_code == 403
    assert mailboxes() == [(ADA, ADA)]
    asked = owner.submit(PAGE, {"mailbox": "typed@greenleaf.example"}, page="/account")
    done = prove(owner, asked)
    assert done.location == f"{PAGE}?kept=1"
    assert 'value="typed@greenleaf.example"' in owner.get(done.location).get_data(as_text=True)


def test_a_link_works_for_the_person_who_asked_only(app, owner, stranger):
    """A mistyped address leads the link to another person, who is logged in elsewhere, or nowhere."""
    ask(owner)
    path = newest("confirm-new-mailbox")[1]
    assert stranger.get(path).status_code == 404
    assert stranger.submit(path, {}, page="/account").status_code == 404
    assert app.test_client().get(path).location.startswith("/log-in?next=/account/email-address/")
    assert mailboxes()[0] == (ADA, ADA)


@pytest.mark.both_databases
def test_a_mailbox_of_another_log_in_is_not_revealed(app, owner, stranger):
    free = ask(owner)
    taken = ask(owner, "bo@copperpot.example")
    assert (free.status_code, free.location) == (taken.status_code, taken.location)
    page = owner.get(taken.location).get_data(as_text=True)
    assert "A link is on its way to bo@copperpot.example" in page
    (to, text) = portal_emails("mailbox-in-use")[-1]
    assert to == "bo@copperpot.example"
    assert "http" not in text
    assert portal_emails("confirm-new-mailbox")[-1][0] == NEW


@pytest.mark.both_databases
def test_a_mailbox_that_was_registered_meanwhile_stays_with_its_person(app, owner, stranger):
    ask(owner)
    path = newest("confirm-new-mailbox")[1]
    db.session.execute(update(Owner).where(Owner.mailbox == "bo@copperpot.example").values(mailbox_key=NEW))
    db.session.commit()
    assert owner.submit(path, {}).status_code == 404
    assert mailboxes()[0] == (ADA, ADA)
    assert portal_emails("mailbox-changed") == []


def test_links_end_with_time_and_with_a_newer_request(app, owner):
    with time_machine.travel(utcnow(), tick=False) as clock:
        ask(owner)
        first = newest("confirm-new-mailbox")[1]
        ask(owner, "other@greenleaf.example")
        second = newest("confirm-new-mailbox")[1]
        assert owner.get(first).status_code == 404
        clock.shift(changes.LINK_LIFETIME)
        prove_again()
        assert owner.get(second).status_code == 404
        undo = change(owner)
        clock.shift(changes.UNDO_LIFETIME)
        assert app.test_client().get(undo).status_code == 404
        assert app.test_client().submit(undo, {}, page="/log-in").status_code == 404
        assert mailboxes()[0][0] == NEW
        clock.shift(changes.RETENTION)
        for delete_old in job_registry(app).cleanups:
            delete_old(utcnow())
        assert db.session.scalars(select(MailboxChange)).all() == []


@pytest.mark.parametrize(
    ("mailbox", "error"),
    [("", "Enter your new email address."), ("nobody", "Enter an email address like"), (ADA, "already"),
     ("ädä@x.example", "")],
)  # fmt: skip
def test_an_invalid_mailbox_has_an_error_beside_its_field(owner, mailbox, error):
    answer = ask(owner, mailbox)
    html = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert 'id="mailbox-error"' in html
    assert error in html
    assert db.session.scalars(select(MailboxChange)).all() == []


def test_five_changes_a_day_are_asked_for(owner):
    for number in range(5):
        assert ask(owner, f"a{number}@greenleaf.example").status_code == 303
    assert ask(owner).status_code == 429


def test_a_portal_without_a_mail_server_shows_that_it_cannot(owner, app):
    state = get_state(app)
    state.config = replace(state.config, platform=replace(state.config.platform, server=""))
    assert "cannot send emails itself" in owner.get(PAGE).get_data(as_text=True)
    assert owner.submit(PAGE, {"mailbox": NEW}, page="/account").status_code == 409


@pytest.mark.only_postgresql
def test_a_request_that_meets_the_use_of_an_earlier_link_waits(app, owner):
    """Both lock the person before the links."""
    ask(owner)
    owner_id = db.session.scalars(select(Owner.id).where(Owner.mailbox == ADA)).one()
    db.session.commit()
    page = owner.get(PAGE)
    fields = {"csrf_token": csrf_token(page.get_data(as_text=True)), "mailbox": "other@greenleaf.example"}
    with ThreadPoolExecutor(1) as pool:
        db.session.get_one(Owner, owner_id, with_for_update={"of": Owner})  # as the use begins
        other = pool.submit(owner.post, PAGE, data=fields)
        blocked = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        until = time.monotonic() + 60
        with db.engine.connect() as connection:
            while not connection.scalar(blocked) and time.monotonic() < until and not other.done():
                connection.rollback()
        assert not other.done()
        db.session.execute(update(MailboxChange).values(used_at=utcnow()))
        db.session.commit()
        assert other.result(60).status_code == 303
    close_connections()
