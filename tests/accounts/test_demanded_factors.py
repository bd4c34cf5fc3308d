"""Accounts that ask everyone for a second factor, and second factors that were lost."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import func, select

from portal.accounts.factors.models import RecoveryCode, Totp
from portal.accounts.models import Owner
from portal.accounts.team.rights import Role
from portal.db import db
from tests.accounts import apps
from tests.accounts.apps import PAGE, STEP, first_step, set_up
from tests.accounts.conftest import ADA, portal_emails
from tests.accounts.people import id_of, invited_path, mailbox_of, make_team
from tests.accounts.test_second_factor import later
from tests.cli.conftest import flask as flask
from tests.conftest import PASSWORD

pytestmark = pytest.mark.both_databases
EDITOR = mailbox_of(Role.EDITOR)


def demand(browser, state):
    return browser.submit("/team/second-factor", {"demand": state}, page="/team")


def reset(browser, mailbox, page="/team"):
    return browser.submit(f"/team/{id_of(mailbox)}/second-factor/reset", {}, page=page)


def count(table):
    found = db.session.scalar(select(func.count()).select_from(table))
    db.session.commit()
    return found


def test_a_demand_leaves_people_without_a_second_factor_the_set_up_alone(app):
    team = make_team(app)
    assert demand(team.editor, "on").status_code == 403
    refused = demand(team.owner, "on")
    assert refused.status_code == 409
    assert "Set up a second factor for yourself first" in refused.get_data(as_text=True)
    set_up(team.owner)
    assert demand(team.owner, "on").status_code == 303

    typed = {"name": "Eve Inkwell"}
    token = team.editor.get(PAGE)
    assert "Brightleaf requires a second factor for everyone." in token.get_data(as_text=True)
    for path in ("/settings/email-preferences", "/deliveries", "/account", "/team"):
        assert team.editor.get(path).headers["Location"] == PAGE
    answer = team.editor.submit("/account/names", typed, page=PAGE)
    assert answer.status_code == 403
    assert "Eve Inkwell" in answer.get_data(as_text=True), "what was typed is shown"
    assert team.owner.get("/team").status_code == 200

    with later(minutes=2):
        _phone, codes = set_up(team.editor)
        assert len(codes) == 10
        assert team.editor.get("/deliveries").status_code == 200
        page = team.editor.get(PAGE).get_data(as_text=True)
        assert "you can replace your last one but not remove it" in page
        last = team.editor.submit(f"{PAGE}/app/remove", {}, page=PAGE)
        assert last.status_code == 409
        assert "requires a second factor. Set up another one first." in last.get_data(as_text=True)
        assert count(Totp) == 2

        visitor = app.test_client()
        path = invited_path(team.owner, "new@x.example", Role.OWNER)
        assert visitor.submit(path, {"name": "New Person", "password": PASSWORD}).status_code == 303
        assert visitor.get("/team").headers["Location"] == PAGE, "a new person as well"
        assert demand(team.owner, "off").status_code == 303
        assert visitor.get("/team").status_code == 200
        assert team.editor.submit(f"{PAGE}/app/remove", {}, page=PAGE).status_code == 303


def test_an_operator_without_the_demanded_factor_sees_no_operators_page(app):
    team = make_team(app)
    set_up(team.owner)
    demand(team.owner, "on")
    viewer = db.session.scalars(select(Owner).where(Owner.mailbox == mailbox_of(Role.VIEWER))).one()
    viewer.is_operator = True
    db.session.commit()
    assert team.viewer.get("/operator/accounts").headers["Location"] == PAGE
    assert team.editor.get("/operator/accounts").status_code == 404


def test_another_owner_resets_a_lost_factor_and_the_person_is_informed(app):
    team = make_team(app)
    set_up(team.owner)
    set_up(team.editor)
    for browser, mailbox, status in (
        (team.editor, ADA, 403),
        (team.viewer, EDITOR, 403),
        (team.owner, ADA, 403),
        (team.owner, mailbox_of(Role.VIEWER), 409),
    ):
        assert reset(browser, mailbox, "/account").status_code == status, mailbox
    assert (count(Totp), count(RecoveryCode)) == (2, 20)
    assert "Reset the second factor" in team.owner.get("/team").get_data(as_text=True)

    half = app.test_client()
    with later(minutes=2):
        assert first_step(half, EDITOR) == STEP
        assert reset(team.owner, EDITOR).status_code == 303
        assert (count(Totp), count(RecoveryCode)) == (1, 10)
        assert team.editor.get("/account").status_code == 303, "logged out"
        assert half.get(STEP).headers["Location"] == "/log-in", "what waited has ended"
        assert first_step(half, EDITOR) == "/"
        to, text = portal_emails("second-factor")[-1]
        assert to == EDITOR
        assert "Ada Fairweather, an owner of Brightleaf, removed your second factor." in text


def test_a_person_goes_on_in_another_programme_that_demands_nothing(app, owner, stranger):
    path = invited_path(owner, "bo@copperpot.example", Role.VIEWER)
    assert stranger.submit(path, {}, page=path).status_code == 303
    set_up(owner)
    demand(owner, "on")
    assert stranger.get("/deliveries").location == PAGE
    page = stranger.get(PAGE).get_data(as_text=True)
    assert "Continue in Copperpot" in page
    other = re.search(r'action="(/team/programmes/\d+/show)"', page)[1]
    assert stranger.submit(other, {}, page=PAGE).status_code == 303
    assert stranger.get("/deliveries").status_code == 200
    assert "Continue in" not in stranger.get(PAGE).get_data(as_text=True)


def test_an_owner_resets_no_person_who_has_rights_elsewhere(app, stranger):
    """Else the owner of one programme could open another one by inviting its owner."""
    team = make_team(app)
    set_up(stranger)
    path = invited_path(team.owner, "bo@copperpot.example", Role.VIEWER)
    assert stranger.submit(path, {}, page=path).status_code == 303
    refused = reset(team.owner, "bo@copperpot.example")
    assert refused.status_code == 409
    assert "Only the operator of this portal" in refused.get_data(as_text=True)
    set_up(team.editor)
    editor = db.session.scalars(select(Owner).where(Owner.mailbox == EDITOR)).one()
    editor.is_operator = True
    db.session.commit()
    assert reset(team.owner, EDITOR).status_code == 409
    assert count(Totp) == 2
    assert reset(stranger, EDITOR, "/account").status_code in {403, 404}


def test_the_operators_command_forgets_a_second_factor(app, owner, flask):
    set_up(owner)
    assert flask("owners", "forget-second-factor", "nobody@x.example").exit_code == 1
    answer = flask("owners", "forget-second-factor", ADA.upper())
    assert answer.exit_code == 0, answer.output
    assert "logs in with the password alone" in answer.output
    assert owner.get("/account").status_code == 303
    assert "The operator of the portal removed your second factor." in portal_emails("second-factor")[-1][1]
    again = flask("owners", "forget-second-factor", ADA)
    assert again.exit_code == 1
    assert "This person has no second factor." in again.output
    assert first_step(app.test_client(), ADA) == "/"
    with later(minutes=1):
        browser = app.test_client()
        first_step(browser, ADA)
        phone, _codes = set_up(browser)
    with later(minutes=3):
        again = app.test_client()
        first_step(again, ADA)
        assert apps.second_step(again, phone.code()) == 303
