"""The page *Team*: invitations, roles, removal, hand-over, and several programmes of one person."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest
import time_machine
from sqlalchemy import delete, insert, select, text, update

from portal import recipient_limits
from portal.accounts import registration
from portal.accounts.login import Visitor
from portal.accounts.models import Account, Membership, Owner, TeamInvitation
from portal.accounts.registration import RegistrationInput
from portal.accounts.sessions import Device
from portal.accounts.team import accepting, invitations, members, programmes
from portal.accounts.team.contact import contact_mailbox
from portal.accounts.team.rights import Role
from portal.accounts.tokens import InvalidLink
from portal.clock import utcnow
from portal.config import Registration
from portal.db import close_connections, db
from portal.jobs.registry import job_registry
from portal.notices.models import NoticeSwitch
from portal.settings.routing import reply_mailbox
from portal.state import get_state
from tests.accounts.conftest import path_in, portal_emails
from tests.accounts.people import (
    id_of,
    invited_path,
    join,
    mailbox_of,
    make_team,
    newest_invitation,
    person,
)
from tests.conftest import PASSWORD, logged_in

pytestmark = pytest.mark.both_databases
NEW = "new.person@x.example"
FIELDS = {"name": "New Person", "password": PASSWORD}


def role_of(mailbox, slug="brightleaf"):
    query = select(Membership.role).join(Owner, Owner.id == Membership.owner_id)
    query = query.join(Account, Account.id == Membership.account_id)
    found = db.session.scalar(query.where(Owner.mailbox == mailbox, Account.slug == slug))
    db.session.commit()
    return found


def is_logged_in(browser):
    return browser.get("/account").status_code == 200


def act(browser, path, **fields):
    return browser.submit(f"/team/{path}", fields, page="/team")


# -- invitations


def test_an_invitation_makes_one_member_of_exactly_the_invited_mailbox_and_role(app, owner):
    path = invited_path(owner, NEW, Role.EDITOR)
    visitor = app.test_client()
    page = visitor.get(path).get_data(as_text=True)
    assert "Join Brightleaf" in page
    assert "Editor" in page
    assert "n•••@x.example" in page
    assert NEW not in page, "who finds a link does not learn the mailbox"
    smuggled = {**FIELDS, "mailbox": "evil@x.example", "role": " owner", "account_id": "99"}
    assert visitor.submit(path, smuggled).status_code == 303
    assert role_of(NEW) is Role.EDITOR
    assert role_of("evil@x.example") is None
    assert visitor.get("/team").status_code == 200
    again = app.test_client()
    assert again.get(path).status_code == 404
    assert "no longer works" in again.get(path).get_data(as_text=True)
    assert again.post(path, data=FIELDS).status_code in {400, 404}


def test_the_token_is_in_the_email_only_and_its_hash_in_the_table(app, owner):
    path = invited_path(owner, NEW, Role.VIEWER)
    token = path.rpartition("/")[2]
    assert token not in owner.get("/team").get_data(as_text=True)
    row = db.session.scalars(select(TeamInvitation)).one()
    assert all(token not in str(getattr(row, column.name)) for column in TeamInvitation.__table__.columns)
    db.session.commit()


def test_a_link_ends_by_sending_again_withdrawal_age_and_the_loss_of_its_senders_right(app, owner):
    join(app, owner, Role.EDITOR)
    act(owner, f"{id_of(mailbox_of(Role.EDITOR))}/role", role="owner")
    second = app.test_client()
    second.submit("/log-in", {"mailbox": mailbox_of(Role.EDITOR), "password": PASSWORD})
    visitor = app.test_client()

    first = invited_path(owner, NEW, Role.VIEWER)
    assert act(owner, f"invitations/{newest_invitation()}/send-again").status_code == 303
    sent_again = path_in(portal_emails("team-invitation")[-1][1])
    assert (visitor.get(first).status_code, visitor.get(sent_again).status_code) == (404, 200)
    assert act(owner, f"invitations/{newest_invitation()}/withdraw").status_code == 303
    assert visitor.get(sent_again).status_code == 404
    assert act(owner, f"invitations/{newest_invitation()}/withdraw").status_code == 404

    by_second = invited_path(second, "other@x.example", Role.OWNER)
    page = visitor.get(by_second)
    assert page.status_code == 200
    assert act(owner, f"{id_of(mailbox_of(Role.EDITOR))}/role", role="editor").status_code == 303
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.get_data(as_text=True))[1]
    assert visitor.post(by_second, data={"csrf_token": token, **FIELDS}).status_code == 404, "a stale page"
    assert act(owner, f"{id_of(mailbox_of(Role.EDITOR))}/role", role="owner").status_code == 303
    assert visitor.get(by_second).status_code == 404, "a right that comes back revives no link"

    aged = invited_path(owner, "aged@x.example", Role.VIEWER)
    with time_machine.travel(utcnow() + timedelta(days=7, minutes=1), tick=True):
        assert visitor.get(aged).status_code == 404


def test_a_known_person_takes_it_as_the_invited_mailbox_only(app, owner, stranger):
    path = invited_path(owner, "bo@copperpot.example", Role.EDITOR)
    third = logged_in(app, "Dovetail", "Cy Young", "cy@dovetail.example")
    assert "logged in as someone else" in third.get(path).get_data(as_text=True)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', third.get("/account").get_data(as_text=True))[
        1
    ]
    assert third.post(path, data={"csrf_token": token}).status_code == 403
    assert role_of("cy@dovetail.example") is None

    visitor = app.test_client()
    html = visitor.get(path).get_data(as_text=True)
    assert 'name="name"' not in html, "no second log-in for a mailbox"
    assert visitor.submit(path, {"password": "a wrong password"}).status_code == 422
    assert role_of("bo@copperpot.example") is None
    assert visitor.submit(path, {"password": PASSWORD}).status_code == 303
    assert "Brightleaf" in visitor.get("/team").get_data(as_text=True)
    assert (role_of("bo@copperpot.example"), role_of("bo@copperpot.example", "copperpot")) == (
        Role.EDITOR,
        Role.OWNER,
    )


def test_refused_invitations_are_explained_and_limited(app, owner):
    cases = {
        "ada@brightleaf.example": "already belongs to the team",
        "no mailbox": "",
        "": "Enter an email address.",
    }
    for mailbox, sentence in cases.items():
        answer = act(owner, "invitations", mailbox=mailbox, role="editor")
        assert answer.status_code == 422, mailbox
        assert sentence in answer.get_data(as_text=True)
    assert act(owner, "invitations", mailbox=NEW, role=" owner").status_code == 422
    for _ in range(3):
        assert act(owner, "invitations", mailbox=NEW, role="editor").status_code == 303
    assert act(owner, "invitations", mailbox=NEW, role="editor").status_code == 422
    assert len(portal_emails("team-invitation")) == 3


def test_the_email_of_an_unapproved_account_holds_no_text_of_a_visitor(app, owner):
    db.session.execute(update(Account).values(approved_at=None))
    db.session.commit()
    invited_path(owner, NEW, Role.VIEWER)
    ((_to, text),) = portal_emails("team-invitation")
    assert "Brightleaf" not in text
    assert "Ada" not in text


def test_an_account_without_approval_shares_the_budget_of_strangers_and_a_suspended_one_invites_none(
    app, owner, stranger
):
    db.session.execute(update(Account).values(approved_at=None))
    assert [recipient_limits.consume(recipient_limits.BY_STRANGERS, NEW, now=utcnow()) for _ in range(2)]
    db.session.commit()
    invited_path(owner, NEW, Role.VIEWER)
    refused = act(stranger, "invitations", mailbox="new.per.son+1@x.example", role="viewer")
    assert refused.status_code == 422, "sign-ups, resets and invitations of such accounts share one budget"
    assert "This address has already got several such emails today." in refused.get_data(as_text=True)
    for state in ({"is_waiting": True}, {"is_waiting": False, "suspended_at": utcnow()}):
        db.session.execute(update(Account).values(**state))
        db.session.commit()
        answers = [
            act(owner, "invitations", mailbox="other@x.example", role="viewer"),
            act(owner, f"invitations/{newest_invitation()}/send-again"),
        ]
        assert [one.status_code for one in answers] == [422, 429], state
        for one in answers:
            assert "Your account sends no emails at the moment" in one.get_data(as_text=True)
    assert len(portal_emails("team-invitation")) == 1


def test_old_invitations_are_deleted_and_the_people_who_joined_stay(app, owner):
    join(app, owner, Role.EDITOR)
    invited_path(owner, NEW, Role.VIEWER)
    counts = []
    for days in (29, 31):
        for cleanup in job_registry(app).cleanups:
            cleanup(utcnow() + timedelta(days=days))
        counts.append(len(db.session.scalars(select(TeamInvitation)).all()))
        db.session.commit()
    assert counts == [2, 0]
    assert role_of(mailbox_of(Role.EDITOR)) is Role.EDITOR


# -- roles and removal


def test_removal_and_lowering_end_sessions_and_access_at_once(app):
    team = make_team(app)
    editor, viewer = id_of(mailbox_of(Role.EDITOR)), id_of(mailbox_of(Role.VIEWER))
    assert act(team.owner, f"{editor}/role", role="viewer").status_code == 303
    assert not is_logged_in(team.editor)
    assert act(team.owner, f"{viewer}/remove").status_code == 303
    assert not is_logged_in(team.viewer)
    answer = app.test_client().submit("/log-in", {"mailbox": mailbox_of(Role.VIEWER), "password": PASSWORD})
    assert answer.status_code == 422
    assert "You do not belong to an affiliate programme at the moment." in answer.get_data(as_text=True)
    assert act(team.owner, f"{viewer}/role", role="owner").status_code == 404
    assert act(team.owner, f"{viewer}/remove").status_code == 404
    assert "or the operator of this portal to give you a new one." in answer.get_data(as_text=True)
    path = invited_path(team.owner, mailbox_of(Role.VIEWER), Role.EDITOR)
    back = app.test_client()
    assert back.submit(path, {"password": PASSWORD}).status_code == 303, "an invitation is the way back"
    assert role_of(mailbox_of(Role.VIEWER)) is Role.EDITOR


def test_the_last_owner_stays_and_a_foreign_person_is_not_found(app, stranger):
    team = make_team(app)
    ada, bo = id_of(mailbox_of(Role.OWNER)), id_of("bo@copperpot.example")
    for path, fields in ((f"{ada}/role", {"role": "viewer"}), (f"{ada}/remove", {}), ("leave", {})):
        answer = act(team.owner, path, **fields)
        assert answer.status_code == 409, path
        assert "A programme needs an owner." in answer.get_data(as_text=True)
    for path in (f"{bo}/role", f"{bo}/remove", f"{bo}/hand-over"):
        assert act(team.owner, path, role="viewer").status_code == 404
    assert act(team.owner, "contact", member=str(bo)).status_code == 422
    assert role_of("bo@copperpot.example", "copperpot") is Role.OWNER
    assert act(team.editor, "leave").status_code == 303
    assert not is_logged_in(team.editor)


def test_a_stale_session_value_gives_no_right(app, owner):
    """Between the look-up of the session and the change, the right may have gone: the operation reads it again."""
    join(app, owner, Role.EDITOR)
    account_id = db.session.scalars(select(Account.id)).one()
    stale = person(id_of(mailbox_of(Role.EDITOR)), account_id, Role.OWNER)
    link = "https://portal.example/{}".format
    for act_ in (
        lambda: members.change_role(stale, stale.id, Role.OWNER, now=utcnow()),
        lambda: members.remove(stale, id_of(mailbox_of(Role.OWNER)), now=utcnow()),
        lambda: members.choose_contact(stale, stale.id),
        lambda: invitations.invite(stale, NEW, Role.VIEWER, link=link, now=utcnow()),
        lambda: invitations.offer_ownership(stale, id_of(mailbox_of(Role.OWNER)), link=link, now=utcnow()),
    ):
        with pytest.raises(members.NotAllowed):
            act_()
    assert role_of(mailbox_of(Role.EDITOR)) is Role.EDITOR


def at_once(app, *operations):
    """Run operations in threads that start together; return what each returned or raised."""
    barrier = Barrier(len(operations))

    def run(operation):
        with app.app_context():
            try:
                barrier.wait(60)
                return operation()
            except Exception as error:
                return error
            finally:
                db.session.remove()

    with ThreadPoolExecutor(len(operations)) as pool:
        return list(pool.map(run, operations))


def test_two_owners_who_lower_or_remove_each_other_at_once_leave_one(app, owner):
    join(app, owner, Role.EDITOR)
    ada, eve = id_of(mailbox_of(Role.OWNER)), id_of(mailbox_of(Role.EDITOR))
    account_id = db.session.scalars(select(Account.id)).one()
    db.session.commit()
    now = utcnow()
    for _ in range(4):
        db.session.execute(update(Membership).values(role=Role.OWNER))
        db.session.commit()
        results = at_once(
            app,
            lambda: members.change_role(person(ada, account_id), eve, Role.VIEWER, now=now),
            lambda: members.change_role(person(eve, account_id), ada, Role.VIEWER, now=now),
        )
        owners = db.session.scalars(select(Membership.owner_id).where(Membership.role == Role.OWNER)).all()
        db.session.commit()
        assert len(owners) == 1, results
        assert sorted(type(one) for one in results if one is not None) == [members.NotAllowed]
    db.session.execute(update(Membership).values(role=Role.OWNER))
    db.session.commit()
    results = at_once(
        app,
        lambda: members.leave(person(ada, account_id), now=now),
        lambda: members.leave(person(eve, account_id), now=now),
    )
    assert [type(one) for one in results if isinstance(one, Exception)] == [members.LastOwner]
    close_connections()


def test_two_browsers_take_one_invitation_at_one_moment(app, owner):
    token = invited_path(owner, NEW, Role.EDITOR).rpartition("/")[2]
    now = utcnow()
    results = at_once(
        app,
        *[
            lambda: accepting.accept_new(token, name="New Person", password="eight green teapots", now=now)
            for _ in range(2)
        ],
    )
    assert sorted(isinstance(one, Exception) for one in results) == [False, True], results
    assert db.session.scalar(select(Owner.id).where(Owner.mailbox == NEW)) in results
    with pytest.raises(InvalidLink):
        accepting.find(token, now=now)
    db.session.commit()
    close_connections()


# -- ownership and contact


def test_an_owner_hands_over_and_the_taker_decides(app):
    team = make_team(app)
    eve = id_of(mailbox_of(Role.EDITOR))
    account_id = db.session.scalars(select(Account.id)).one()
    db.session.commit()
    open_one = invited_path(team.owner, NEW, Role.VIEWER)
    assert act(team.owner, f"{eve}/hand-over").status_code == 303
    ((to, text),) = portal_emails("team-handover")
    assert to == mailbox_of(Role.EDITOR)
    assert (role_of(to), role_of(mailbox_of(Role.OWNER))) == (Role.EDITOR, Role.OWNER), (
        "nothing changes before"
    )
    assert team.viewer.get(path_in(text)).status_code == 200
    page = team.editor.get(path_in(text)).get_data(as_text=True)
    assert "Take over Brightleaf" in page
    assert team.editor.submit(path_in(text), {}).status_code == 303
    assert (role_of(to), role_of(mailbox_of(Role.OWNER))) == (Role.OWNER, Role.EDITOR)
    assert not is_logged_in(team.owner), "the giver's rights end at once"
    assert app.test_client().get(open_one).status_code == 404, "and so do the giver's invitations"
    assert contact_mailbox(account_id) == to
    assert {one for one, _ in portal_emails("team-handed-over")} == {to, mailbox_of(Role.OWNER)}
    assert team.editor.get(path_in(text)).status_code == 404


def test_replies_and_emails_to_the_owner_go_to_the_chosen_contact(app):
    team = make_team(app)
    account_id = db.session.scalars(select(Account.id)).one()
    db.session.execute(update(Account).values(approved_at=utcnow()))
    db.session.commit()
    assert reply_mailbox(account_id) == mailbox_of(Role.OWNER), "the present owner is the default"
    viewer = id_of(mailbox_of(Role.VIEWER))
    assert act(team.editor, "contact", member=str(viewer)).status_code == 403
    assert act(team.owner, "contact", member=str(viewer)).status_code == 303
    assert reply_mailbox(account_id) == contact_mailbox(account_id) == mailbox_of(Role.VIEWER)
    assert act(team.owner, f"{viewer}/remove").status_code == 303
    assert contact_mailbox(account_id) == mailbox_of(Role.OWNER), "a contact is always of the team"


@pytest.mark.only_postgresql
def test_a_person_who_joins_in_two_browsers_at_once_waits_and_nothing_deadlocks(app, owner):
    """An account is locked before a person, also where a log-in joins."""
    joined = invited_path(owner, NEW, Role.EDITOR)
    app.test_client().submit(joined, FIELDS)
    eve, account_id = id_of(NEW), db.session.scalars(select(Account.id)).one()
    db.session.execute(delete(Membership).where(Membership.owner_id == eve))
    db.session.commit()
    token = invited_path(owner, NEW, Role.EDITOR).rpartition("/")[2]

    def join_by_log_in():
        with app.app_context():
            visitor = Visitor(Device("Firefox on Linux", "192.0.2.7"))
            return accepting.accept_by_log_in(token, PASSWORD, visitor, now=utcnow())

    with ThreadPoolExecutor(1) as pool, members.changing(account_id):
        other = pool.submit(join_by_log_in)
        blocked = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        until = utcnow() + timedelta(minutes=2)
        with db.engine.connect() as connection:
            while not connection.scalar(blocked) and utcnow() < until and not other.done():
                connection.rollback()
        assert not other.done()
        programmes.show(eve, 0, account_id)  # as another browser of the person does, which has joined
        db.session.commit()
        assert other.result(120)
    assert role_of(NEW) is Role.EDITOR
    close_connections()


@pytest.mark.only_postgresql
def test_a_change_of_people_does_not_delay_sign_ups(app, owner):
    """A row that refers to the account is inserted while the account's people are being changed."""
    account_id = db.session.scalars(select(Account.id)).one()
    db.session.commit()
    with members.changing(account_id), db.engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '20s'"))
        connection.execute(
            insert(NoticeSwitch).values(account_id=account_id, kind="new-sign-up", enabled=False)
        )
    assert db.session.scalars(select(NoticeSwitch.enabled)).one() is False
    db.session.commit()


def test_each_way_to_register_makes_one_owner_who_is_the_contact(app, owner, stranger):
    """By command, at once, by an invitation to register, and by a confirmed email; a team's invitation changes none."""
    get_state(app).config = replace(get_state(app).config, registration=Registration.OPEN)
    now, password = utcnow(), "eight green teapots"
    ways = [RegistrationInput(f"Way {n}", f"Person {n}", f"p{n}@x.example", password) for n in range(3)]
    registration.register(ways[0], network="192.0.2.7", now=now)
    registration.create_invited(ways[1], use=lambda: None, is_operator=False, now=now)
    links = []
    browser = registration.request_confirmation(
        ways[2],
        network="192.0.2.7",
        confirm_link=lambda token: links.append(token) or "https://portal.example/",
        reset_link="https://portal.example/",
        now=now,
    )
    registration.confirm(links[0], browser=browser, password="", network="192.0.2.7", now=now)
    join(app, owner, Role.EDITOR)
    query = select(Account.id, Account.contact_id, Membership.owner_id, Membership.invited_by)
    query = query.join(Membership, Membership.account_id == Account.id).where(Membership.role == Role.OWNER)
    rows = db.session.execute(query).all()
    assert len(rows) == len({row.id for row in rows}) == 5
    assert all(row.contact_id == row.owner_id and row.invited_by == "" for row in rows)
    assert len(db.session.scalars(select(Membership)).all()) == 6
    db.session.commit()


# -- several programmes


def test_a_person_of_two_programmes_switches_and_forms_of_the_other_one_are_refused(app, owner, stranger):
    path = invited_path(owner, "bo@copperpot.example", Role.EDITOR)
    assert stranger.submit(path, {}).status_code == 303
    ids = dict(db.session.execute(select(Account.slug, Account.id)).all())
    db.session.commit()
    assert "Brightleaf" in stranger.get("/team").get_data(as_text=True)
    account = stranger.get("/account").get_data(as_text=True)
    assert "Your programmes" in account
    old = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', account)[1]
    assert (
        stranger.submit(f"/team/programmes/{ids['copperpot']}/show", {}, page="/account").status_code == 303
    )
    assert "Copperpot" in stranger.get("/team").get_data(as_text=True)
    fields = {"csrf_token": old, "name": "Bo", "programme": "Typed for Brightleaf", "password": "pw-7"}
    late = stranger.post("/account/names", data=fields)
    assert late.status_code == 400, "a form of the other programme, from before"
    html = late.get_data(as_text=True)
    assert "This form may belong to another programme" in html
    assert "Typed for Brightleaf" in html
    assert "pw-7" not in html
    assert "Send it again" not in html, "sent again, it would change the programme that is shown now"
    assert owner.submit(f"/team/programmes/{ids['copperpot']}/show", {}, page="/account").status_code == 404
    fresh = app.test_client()
    fresh.submit("/log-in", {"mailbox": "bo@copperpot.example", "password": PASSWORD})
    assert "Copperpot" in fresh.get("/team").get_data(as_text=True), "a new log-in shows the last one"

    bo = id_of("bo@copperpot.example")
    assert act(owner, f"{bo}/remove").status_code == 303
    assert is_logged_in(stranger), "another programme's owner ends no session of this one"
    assert "Your programmes" not in stranger.get("/account").get_data(as_text=True)
    assert (
        stranger.submit(f"/team/programmes/{ids['brightleaf']}/show", {}, page="/account").status_code == 404
    )


def test_drafts_of_one_programme_do_not_appear_in_another(app, owner, stranger):
    path = invited_path(owner, "bo@copperpot.example", Role.EDITOR)
    editor = "/automated-emails/new-sign-up"
    fields = {"subject": "Copperpot secret", "html": "<p>{{ first_name }}</p>", "text": "", "based_on": "0"}
    answer = stranger.submit(f"{editor}/live-preview", fields, page=editor)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert "Copperpot secret" in stranger.get(f"{editor}?draft=1").get_data(as_text=True)
    assert stranger.submit(path, {}).status_code == 303
    assert "Copperpot secret" not in stranger.get(f"{editor}?draft=1").get_data(as_text=True)


def test_without_a_mail_server_the_link_is_shown_once_and_proves_no_mailbox(app, owner):
    state = get_state(app)
    state.config = replace(state.config, platform=replace(state.config.platform, server=""))
    answer = act(owner, "invitations", mailbox=NEW, role="viewer")
    assert answer.status_code == 200
    path = re.search(r"/team/invitations/[\w-]{43}", answer.get_data(as_text=True))[0]
    assert path not in owner.get("/team").get_data(as_text=True)
    assert app.test_client().submit(path, FIELDS).status_code == 303
    found = db.session.scalars(select(Owner).where(Owner.mailbox == NEW)).one()
    assert found.confirmed_at is None
    db.session.commit()
