"""The security log: each event once, with account and network, and no secret in any of them."""

from __future__ import annotations

import json
import re
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask import session as flask_session
from flask_login import current_user
from sqlalchemy import event, select

from portal.about import ROOT
from portal.accounts.models import Account, Owner
from portal.accounts.team.rights import Role
from portal.config import Config
from portal.db import db
from portal.env import ConfigError
from portal.incidents import webhooks
from portal.incidents.models import WebhookDelivery
from portal.security_log import SecurityEvent, record
from tests.accounts.apps import PAGE as FACTOR_PAGE
from tests.accounts.apps import set_up
from tests.accounts.conftest import path_in, portal_emails
from tests.accounts.people import id_of, join, mailbox_of
from tests.api.test_views_pages import TOKEN, form_key
from tests.cli.conftest import flask as flask
from tests.conftest import PASSWORD, make_config
from tests.pages import LintingClient
from tests.settings.conftest import LIMITS, PAGE, Servers, save, work
from tests.settings.conftest import form as form
from tests.settings.conftest import servers as servers
from tests.smtp import badserver
from tests.test_secrets import hits

FIELDS = {"time", "event", "account", "owner", "network", "source"}
NEW_PASSWORD = "seven purple kettles"
TYPED_INTO_THE_WRONG_FIELD = "canary-9-typed@as-mailbox.example"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "security.log"


@pytest.fixture
def config(tmp_path: Path, servers: Servers, log: Path) -> Config:
    port = servers.one.port
    env = {
        "SIGNET_SECURITY_LOG": str(log),
        "SIGNET_SMTP_PORTS": str(port),
        "SIGNET_SMTP_PRIVATE": f"127.0.0.0/8:{port} ::1/128:{port}",
        "SIGNET_SMTP_CA_FILE": badserver.ca_file(),
    }
    return make_config(tmp_path / "instance", env=env, lease=600.0, limits=LIMITS)


def entries(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def last(log: Path, event: SecurityEvent) -> dict[str, Any]:
    return [one for one in entries(log) if one["event"] == event][-1]


def ids() -> tuple[int, int]:
    row = db.session.execute(
        select(Owner.account_id, Owner.id).where(Owner.mailbox == "ada@brightleaf.example")
    )
    account, owner = row.one()
    db.session.rollback()
    return account, owner


def log_in(browser: LintingClient, mailbox: str, password: str, network: str = "192.0.2.7") -> int:
    environ = {"REMOTE_ADDR": network}
    answer = browser.submit("/log-in", {"mailbox": mailbox, "password": password}, environ_base=environ)
    return answer.status_code


def guess_and_reset(app: Flask, flask: Callable[..., Result]) -> None:
    """Guess until the network is locked out, then choose a new password by a link."""
    browser = app.test_client()
    assert log_in(browser, TYPED_INTO_THE_WRONG_FIELD, "x", "2001:db8::7") == 422
    for _ in range(10):
        assert log_in(browser, "ada@brightleaf.example", "a wrong guess") == 422
    assert log_in(browser, "ada@brightleaf.example", PASSWORD) == 429
    assert browser.submit("/forgot-password", {"mailbox": "ada@brightleaf.example"}).status_code == 303
    link = flask("reset-link", "ada@brightleaf.example").output.strip()
    path = link[link.index("/reset-password") :]
    assert browser.submit(path, {"password": NEW_PASSWORD}).status_code == 303
    assert log_in(browser, "ada@brightleaf.example", NEW_PASSWORD) == 303


def register(app: Flask, flask: Callable[..., Result]) -> None:
    """Register by an invitation, and let the operator decide about the account."""
    link = flask("accounts", "invite", "cy@dovetail.example").output
    path = re.search(r"/register/invited/\S+", link)[0]
    fields = {"programme": "Dovetail", "name": "Cy Young", "password": "eight green teapots"}
    assert app.test_client().submit(path, fields).status_code == 303
    account = db.session.scalars(select(Account).where(Account.slug == "dovetail")).one()
    account.approved_at = None
    db.session.commit()
    for word in ("approve", "suspend", "resume"):
        assert flask("accounts", word, "dovetail").exit_code == 0
    for word in ("promote", "demote"):
        assert flask("owners", word, "cy@dovetail.example").exit_code == 0


def change_settings(owner: LintingClient, form: dict[str, str]) -> str:
    """Save settings that go live, others that the guard refuses, a webhook and a token; return the token."""
    assert save(owner, form).status_code == 303
    work()
    assert save(owner, form, host="10.0.0.5", port="587", security="starttls").status_code == 303
    work()
    assert owner.submit(f"{PAGE}/stop", {}, page=PAGE).status_code == 303
    alerts = "/incidents/alerts"
    assert owner.submit(f"{alerts}/webhook", {"url": "https://10.0.0.7/hook"}, page=alerts).status_code == 200
    owner.submit(f"{alerts}/webhook/test", {}, page=alerts)
    webhooks.deliver(db.session.scalars(select(WebhookDelivery.id)).one())
    assert owner.submit(f"{alerts}/webhook/stop", {}, page=alerts).status_code == 303
    mailbox = "/settings/bounces/mailbox"
    server = {"host": "imap.example.com", "security": "implicit", "folder": "INBOX", "username": "ada"}
    assert owner.submit(mailbox, server | {"password": badserver.PASSWORD}, page=mailbox).status_code == 303
    assert owner.submit(f"{mailbox}/remove", {}, page=mailbox).status_code == 303
    shown = owner.submit("/settings/api", {"name": "Shop", "form_key": form_key(owner)})
    token = TOKEN.search(shown.get_data(as_text=True)).group()
    assert owner.submit("/settings/api/tokens/1/revoke", {}, page="/settings/api").status_code == 303
    refused = owner.post("/api/v1/events", json={}, headers={"Authorization": f"Bearer {token}"})
    assert refused.status_code == 401
    fields = {"present_password": PASSWORD, "password": NEW_PASSWORD}
    assert owner.submit("/account/password", fields, page="/account").status_code == 303
    return token


def change_team(app: Flask, owner: LintingClient) -> None:
    """Invite a person, change the person's role, and remove the person."""
    join(app, owner, Role.EDITOR)
    member = f"/team/{id_of(mailbox_of(Role.EDITOR))}"
    assert owner.submit(f"{member}/role", {"role": "viewer"}, page="/team").status_code == 303
    assert owner.submit(f"{member}/remove", {}, page="/team").status_code == 303


def change_mailbox(app: Flask, owner: LintingClient) -> None:
    """Change the mailbox of the log-in by its link, and bring the former one back by the other."""
    assert owner.submit("/account/email-address", {"mailbox": "ada@greenleaf.example"}).status_code == 303
    for kind, browser in (("confirm-new-mailbox", owner), ("mailbox-changed", app.test_client())):
        assert browser.submit(path_in(portal_emails(kind)[-1][1]), {}).status_code == 303


def change_factor(owner: LintingClient) -> tuple[str, ...]:
    """Set up a second factor, ask everyone for one, and undo both; return what is secret of it."""
    phone, codes = set_up(owner)
    for state in ("on", "off"):
        assert owner.submit("/team/second-factor", {"demand": state}, page="/team").status_code == 303
    removed = owner.submit(f"{FACTOR_PAGE}/app/remove", {}, page=FACTOR_PAGE)
    assert removed.status_code == 303
    return phone.secret, *codes


def test_every_event_is_written_with_account_and_network_and_without_secrets(
    app: Flask, owner: LintingClient, form: dict[str, str], log: Path, flask: Callable[..., Result]
) -> None:
    account, id_ = ids()
    change_team(app, owner)
    assert owner.submit("/account/is-it-you", {"password": PASSWORD}).status_code == 303
    of_factor = change_factor(owner)
    token = change_settings(owner, form)
    change_mailbox(app, owner)
    guess_and_reset(app, flask)
    register(app, flask)
    found = entries(log)
    assert {one["event"] for one in found} == set(SecurityEvent), "each event occurs in this test"
    assert all(one.keys() >= FIELDS for one in found)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600

    failed = [one for one in found if one["event"] == "log-in-failed"]
    assert (failed[0]["network"], failed[0]["account"], failed[0]["reason"]) == (
        "2001:db8::/64",
        None,
        "mailbox",
    )
    assert all(
        (one["account"], one["owner"], one["network"]) == (account, id_, "192.0.2.7") for one in failed[1:]
    )
    locked = last(log, SecurityEvent.LOG_IN_LOCKED)
    assert (locked["account"], locked["limit"]) == (account, "log-in by mailbox and network")
    assert 0 < locked["wait_s"] <= 24 * 3600
    assert last(log, SecurityEvent.RESET_LINK_MADE)["source"] == "command"
    assert last(log, SecurityEvent.SETTINGS_LIVE) | {"time": ""} == {
        "time": "", "event": "settings-live", "account": account, "owner": None, "network": None,
        "source": "worker", "version": 1,
    }  # fmt: skip
    assert last(log, SecurityEvent.TOKEN_REVOKED)["token"] == 1
    targets = [(one["target"], one["purpose"]) for one in found if one["event"] == "target-refused"]
    assert targets == [("10.0.0.5:587", "check"), ("10.0.0.7:443", "webhook")]

    secrets = (PASSWORD, NEW_PASSWORD, badserver.PASSWORD, token, TYPED_INTO_THE_WRONG_FIELD, "a wrong guess")
    assert hits({"log": log.read_bytes()}, (*secrets, *of_factor)) == []
    assert b"reset-password/" not in log.read_bytes()
    assert b"@" not in log.read_bytes(), "no mailbox"


INNER = "relay.inner.example"


def look_up(host: str, *rest: Any, **more: Any) -> list[Any]:
    """Answer as a resolver that knows a name of the inner network."""
    if host != INNER:
        return _getaddrinfo(host, *rest, **more)
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.5", 0))]


_getaddrinfo = socket.getaddrinfo


def test_a_name_that_leads_into_the_inner_network_is_an_event_although_the_owner_sees_an_unknown_name(
    app: Flask, owner: LintingClient, form: dict[str, str], log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    account, _ = ids()
    assert save(owner, form, host=INNER, port="587", security="starttls").status_code == 303
    work()
    assert save(owner, form, host=INNER, port="", security="detect").status_code == 303
    work()
    alerts = "/incidents/alerts"
    owner.submit(f"{alerts}/webhook", {"url": f"https://{INNER}/hook"}, page=alerts)
    owner.submit(f"{alerts}/webhook/test", {}, page=alerts)
    webhooks.deliver(db.session.scalars(select(WebhookDelivery.id)).one())
    found = [one for one in entries(log) if one["event"] == "target-refused"]
    assert [(one["target"], one["purpose"]) for one in found] == [
        (f"{INNER}:587", "check"),
        (INNER, "detection"),
        (f"{INNER}:443", "webhook"),
    ]
    assert {one["account"] for one in found} == {account}
    page = owner.get(PAGE).get_data(as_text=True)
    assert "10.0.0.5" not in page
    assert "not allowed here" not in page


def test_an_event_is_written_without_a_query(app: Flask, owner: LintingClient, log: Path) -> None:
    used: list[object] = []  # connections
    with owner.session_transaction() as kept:
        session = dict(kept)
    with app.test_request_context("/"):
        flask_session.update(session)
        for engine in db.engines.values():
            event.listen(engine, "checkout", lambda *values: used.append(values[0]))
        record(SecurityEvent.TOKEN_REFUSED)
        assert used == []
        assert current_user.is_authenticated
        assert used != []
        record(SecurityEvent.TOKEN_CREATED)
    assert (
        last(log, SecurityEvent.TOKEN_REFUSED)["owner"],
        last(log, SecurityEvent.TOKEN_CREATED)["owner"],
    ) == (
        None,
        ids()[1],
    )


def test_the_documentation_lists_exactly_the_events() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    table = text.partition("| Event |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.M) == [one.value for one in SecurityEvent]


def test_the_log_can_go_to_standard_error_or_be_off(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from portal import create_app

    for value, lines in (("stderr", 1), ("", 0)):
        app = create_app(make_config(tmp_path / "instance", env={"SIGNET_SECURITY_LOG": value}))
        with app.app_context():
            record(SecurityEvent.LOG_IN, account=7, owner=8)
        err = capfd.readouterr().err
        assert err.count('"event": "log-in", "account": 7, "owner": 8') == lines


def test_a_log_that_cannot_be_written_stops_nothing(
    app: Flask, owner: LintingClient, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log.unlink(missing_ok=True)
    log.mkdir()
    assert log_in(app.test_client(), "ada@brightleaf.example", PASSWORD) == 303
    assert "cannot write the security log" in caplog.text


@pytest.mark.parametrize("value", ["security.log", "/missing/folder/security.log"])
def test_a_place_that_cannot_be_meant_stops_the_start(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="SIGNET_SECURITY_LOG"):
        make_config(tmp_path / "instance", env={"SIGNET_SECURITY_LOG": value})
