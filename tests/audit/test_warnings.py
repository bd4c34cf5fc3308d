"""Emails about the few actions that people should know at once."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from portal import recipient_limits
from portal.accounts import emails
from portal.accounts.team.rights import Role
from portal.api.models import TokenScope
from portal.db import db
from portal.settings.models import SmtpSettings
from tests.accounts.conftest import portal_emails
from tests.accounts.people import id_of, mailbox_of, make_team
from tests.conftest import PASSWORD

ADA = "ada@brightleaf.example"
CANARY = "canary-8f3a1c"


def test_the_email_about_a_token_states_what_each_scope_allows():
    assert set(emails._ALLOWED) == {scope.value for scope in TokenScope}


def to(kind):
    """Return the recipients of the portal's emails of a kind."""
    return [mailbox for mailbox, _text in portal_emails(kind)]


@pytest.mark.both_databases
def test_a_log_in_with_another_browser_is_mailed_once_for_each_browser(app, owner):
    assert to("new-device") == []  # the first log-in of all
    agent = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"}
    other, fields = app.test_client(), {"mailbox": ADA, "password": PASSWORD}
    for _time in range(2):
        assert other.submit("/log-in", fields, headers=agent).status_code == 303
        assert other.submit("/log-out", {}, page="/account").status_code == 303
    ((mailbox, text),) = portal_emails("new-device")
    assert mailbox == ADA
    assert "Firefox on Linux, from the network 127.0.0.1, " in text
    assert "http://127.0.0.1/forgot-password" in text
    for _browser in range(12):
        app.test_client().submit("/log-in", fields)
    assert len(to("new-device")) == recipient_limits.SECURITY_NOTICES.amount


def test_a_team_learns_of_roles_removals_tokens_and_another_server(app):
    team = make_team(app)
    eve, vic = id_of(mailbox_of(Role.EDITOR)), id_of(mailbox_of(Role.VIEWER))
    for role in ("owner", "owner"):  # the second time changes nothing
        assert team.owner.submit(f"/team/{eve}/role", {"role": role}, page="/team").status_code == 303
    ((mailbox, text),) = portal_emails("team-role-changed")
    assert mailbox == mailbox_of(Role.EDITOR)
    assert "the affiliate programme Brightleaf gave you another role. You are now an owner." in text
    assert team.owner.submit(f"/team/{vic}/remove", {}, page="/team").status_code == 303
    assert to("team-removed") == [mailbox_of(Role.VIEWER)]

    made = team.owner.submit("/settings/api", {"name": "Shop", "scope": "events"})
    token = re.search(r"sig_[\w-]{43}", made.get_data(as_text=True))[0]
    assert to("token-created") == [ADA, mailbox_of(Role.EDITOR)]
    assert token not in repr(portal_emails())
    assert "can report events and read their emails. " in portal_emails("token-created")[0][1]

    page = "/settings/email-preferences"
    fields = {
        "provider": "other", "port": "587", "security": "starttls", "mechanism": "automatic", "username": "ada",
        "password": CANARY, "wrapped_user": "hello", "domain": "brightleaf.example",
    }  # fmt: skip
    for host in ("smtp.first.example", "smtp.first.example", "smtp.second.example"):
        assert team.owner.submit(page, fields | {"host": host}).status_code == 303
        number = db.session.scalar(sa.select(sa.func.max(SmtpSettings.number)))
        url = f"{page}/versions/{number}/activate"
        assert team.owner.submit(url, {}, page=page).status_code == 303
    assert to("server-changed") == [ADA, mailbox_of(Role.EDITOR)]
    assert team.owner.submit(f"{page}/stop", {}, page=page).status_code == 303
    for number, mailed in ((3, 2), (1, 4)):  # the same server again, and another one than before the stop
        url = f"{page}/versions/{number}/activate"
        assert team.owner.submit(url, {}, page=page).status_code == 303
        assert team.owner.submit(f"{page}/stop", {}, page=page).status_code == 303
        assert len(to("server-changed")) == mailed
    assert "http://127.0.0.1/activity" in portal_emails("server-changed")[0][1]
    assert CANARY not in repr(portal_emails())
