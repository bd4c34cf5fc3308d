"""Who may register: the four modes, invitations, and the link of the first owner."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select

from portal import bootstrap
from portal.about import ROOT
from portal.accounts import invitations
from portal.accounts.models import Account, Owner, PendingRegistration
from portal.accounts.registration import RegistrationInput, RegistrationRefused, create_owner
from portal.accounts.standing import AccountState, state_of
from portal.accounts.tokens import InvalidLink
from portal.clock import utcnow
from portal.config import Config, ConfigError, Registration
from portal.db import db
from portal.state import KEY, State
from tests.accounts.conftest import path_in, portal_emails
from tests.conftest import PASSWORD, make_config
from tests.pages import csrf_token

MODES = ["closed", "invite", "approve", "open"]
FORM = {"programme": "Dovetail", "name": "Cy Young", "mailbox": "cy@dovetail.example", "password": PASSWORD}


@pytest.fixture
def mode() -> str:
    return "closed"


@pytest.fixture
def config(tmp_path, mode):
    return make_config(tmp_path / "instance", env={"SIGNET_REGISTRATION": mode})


def the_account() -> Account:
    account = db.session.scalars(select(Account)).one()
    db.session.rollback()
    return account


def post_register(client):
    """Post the form as a stranger would who kept the page from a time when registration was open."""
    token = csrf_token(client.get("/log-in").get_data(as_text=True))
    return client.post("/register", data={"csrf_token": token, **FORM})


def test_registration_is_closed_unless_the_operator_opens_it(tmp_path):
    config = make_config(tmp_path / "instance", env={"SIGNET_REGISTRATION": ""})
    assert config.registration is Registration.CLOSED
    assert Config.registration is Registration.CLOSED


def test_an_unknown_mode_stops_the_start(tmp_path):
    with pytest.raises(ConfigError, match="closed, invite, approve or open"):
        make_config(tmp_path / "instance", env={"SIGNET_REGISTRATION": "sometimes"})


@pytest.mark.parametrize(
    ("mode", "on_log_in", "on_register"),
    [
        ("closed", "Registration is closed", "Registration is closed"),
        ("invite", "You need an invitation to register", "Registration is by invitation"),
        ("approve", "approves each account", "approves each account before it can send emails"),
        ("open", "Register your affiliate programme", "Anyone can register and start at once"),
    ],
)
def test_the_pages_state_the_mode(client, on_log_in, on_register):
    assert on_log_in in client.get("/log-in").get_data(as_text=True)
    assert on_register in client.get("/register").get_data(as_text=True)


@pytest.mark.parametrize("mode", ["closed", "invite"])
def test_a_stranger_cannot_register(client):
    assert post_register(client).status_code == 403
    assert portal_emails() == []
    assert not db.session.scalars(select(PendingRegistration)).all()


@pytest.mark.parametrize("mode", ["open"])
def test_a_registration_cannot_be_completed_once_registration_is_closed(app, client):
    assert client.submit("/register", FORM).status_code == 303
    path = path_in(portal_emails()[0][1])
    state: State = app.extensions[KEY]
    state.config = replace(state.config, registration=Registration.CLOSED)
    assert client.get(path).status_code == 403
    assert not db.session.scalars(select(Owner)).all()


@pytest.mark.parametrize(
    ("mode", "state"), [("approve", AccountState.WAITING), ("open", AccountState.ACTIVE)]
)
def test_an_account_of_a_visitor_is_not_approved(client, state):
    client.submit("/register", FORM)
    assert client.submit(path_in(portal_emails()[0][1]), {}).status_code == 303
    account = the_account()
    assert (state_of(account), account.approved_at) == (state, None)
    owner = db.session.scalars(select(Owner)).one()
    assert owner.confirmed_at is not None


@pytest.mark.parametrize("mode", MODES)
def test_an_account_made_by_command_is_approved(app):
    create_owner("Dovetail", "Cy", FORM["mailbox"], PASSWORD, now=utcnow())
    account = the_account()
    assert state_of(account) is AccountState.ACTIVE
    assert account.approved_at is not None


# -- invitations


def invite(mailbox="cy@dovetail.example") -> str:
    link = invitations.invite(mailbox, link=lambda token: f"/register/invited/{token}", now=utcnow())
    db.session.rollback()
    return link


@pytest.mark.parametrize("mode", MODES)
def test_an_invited_person_registers_at_once_with_the_mailbox_of_the_invitation(client):
    path = invite()
    page = client.get(path).get_data(as_text=True)
    assert "cy@dovetail.example" in page
    answer = client.submit(path, {**FORM, "mailbox": "eve@evil.example"})
    assert answer.location == "/"
    owner = db.session.scalars(select(Owner)).one()
    assert (owner.mailbox, owner.is_operator) == ("cy@dovetail.example", False)
    assert owner.account.approved_at is not None
    assert state_of(owner.account) is AccountState.ACTIVE


def test_an_invitation_works_once(app, client):
    path = invite()
    client.submit(path, FORM)
    other = app.test_client()
    assert other.get(path).status_code == 404
    with pytest.raises(InvalidLink):
        invitations.accept(path.rsplit("/", 1)[1], _input(), now=utcnow())


def test_an_invitation_expires_after_seven_days(client):
    path = invite()
    with time_machine.travel(utcnow() + timedelta(days=6, hours=23)):
        assert client.get(path).status_code == 200
    with time_machine.travel(utcnow() + timedelta(days=7, minutes=1)):
        assert client.get(path).status_code == 404


def test_a_second_invitation_ends_the_first(client):
    first, second = invite(), invite()
    assert client.get(first).status_code == 404
    assert client.get(second).status_code == 200


def test_a_refused_form_keeps_the_invitation(client):
    path = invite()
    answer = client.submit(path, {**FORM, "password": "short"})
    assert answer.status_code == 422
    assert 'id="password-error"' in answer.get_data(as_text=True)
    assert client.submit(path, FORM).status_code == 303


def test_an_owner_cannot_be_invited_again(ada):
    with pytest.raises(RegistrationRefused):
        invite("ADA@brightleaf.example")


def test_the_token_of_an_invitation_is_not_stored(app, config):
    token = invite().rsplit("/", 1)[1]
    db.session.remove()
    assert not [f for f in config.instance.rglob("*") if f.is_file() and token.encode() in f.read_bytes()]


def _input():
    return RegistrationInput("Other", "Eve", "", PASSWORD)


# -- the first owner


def test_the_first_start_prints_a_link_that_makes_the_operator(tmp_path):
    env = {"SIGNET_INSTANCE": str(tmp_path / "instance"), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "portal.bootstrap"]
    printed = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
    assert "http://localhost:8000/register/invited/" in printed


def test_the_link_of_the_first_owner_works_once_and_makes_an_operator(app, client):
    link = bootstrap.first_owner_link(app)
    path = link.removeprefix("http://127.0.0.1")
    assert "the first owner of this portal" in client.get(path).get_data(as_text=True)
    assert client.submit(path, FORM).status_code == 303
    owner = db.session.scalars(select(Owner)).one()
    assert (owner.mailbox, owner.is_operator) == ("cy@dovetail.example", True)
    assert owner.account.approved_at is not None
    db.session.rollback()
    assert bootstrap.first_owner_link(app) is None
    assert app.test_client().get(path).status_code == 404


def test_the_link_of_the_first_owner_ends_with_the_first_owner(app, client):
    path = bootstrap.first_owner_link(app).removeprefix("http://127.0.0.1")
    create_owner("Dovetail", "Cy", FORM["mailbox"], PASSWORD, now=utcnow())
    assert client.get(path).status_code == 404
