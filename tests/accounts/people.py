"""People of the tests of roles: an account with an owner, an editor and a viewer, each with a browser."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask
from sqlalchemy import select

from portal.accounts.models import Owner, TeamInvitation
from portal.accounts.sessions import CurrentAccount, LoggedIn
from portal.accounts.team.rights import Role
from portal.clock import utcnow
from portal.db import db
from tests.accounts.conftest import path_in, portal_emails
from tests.conftest import PASSWORD, logged_in
from tests.pages import LintingClient

NAMES = {Role.OWNER: "Ada Fairweather", Role.EDITOR: "Eve Quill", Role.VIEWER: "Vic Glass"}


@dataclass
class Team:
    """The browsers of the people of Brightleaf."""

    owner: LintingClient
    editor: LintingClient
    viewer: LintingClient


def mailbox_of(role: Role) -> str:
    return "ada@brightleaf.example" if role is Role.OWNER else f"{role}@brightleaf.example"


def invited_path(owner: LintingClient, mailbox: str, role: Role) -> str:
    """Invite a mailbox on the page; return the path of the link, from the email."""
    answer = owner.submit("/team/invitations", {"mailbox": mailbox, "role": role.value}, page="/team")
    assert answer.status_code == 303, answer.get_data(as_text=True)
    (text,) = [text for to, text in portal_emails("team-invitation")[-1:] if to == mailbox]
    return path_in(text)


def join(app: Flask, owner: LintingClient, role: Role) -> LintingClient:
    """Let a new person join; return the person's browser."""
    browser = app.test_client()
    fields = {"name": NAMES[role], "password": PASSWORD}
    path = invited_path(owner, mailbox_of(role), role)
    assert browser.submit(path, fields).status_code == 303
    return browser


def make_team(app: Flask) -> Team:
    owner = logged_in(app, "Brightleaf", NAMES[Role.OWNER], mailbox_of(Role.OWNER))
    return Team(owner, join(app, owner, Role.EDITOR), join(app, owner, Role.VIEWER))


def id_of(mailbox: str) -> int:
    found = db.session.scalars(select(Owner.id).where(Owner.mailbox == mailbox)).one()
    db.session.commit()
    return found


def newest_invitation() -> int:
    found = db.session.scalars(select(TeamInvitation.id).order_by(TeamInvitation.id.desc())).first()
    db.session.commit()
    return found


def person(owner_id: int, account_id: int, role: Role = Role.OWNER) -> LoggedIn:
    """Return a person as a request has read it; the role may have changed since."""
    account = CurrentAccount(account_id, "brightleaf", "Brightleaf", "UTC", utcnow())
    return LoggedIn(account, 0, "", owner_id, f"Person {owner_id}", f"p{owner_id}@x.example", role, 1, False)
