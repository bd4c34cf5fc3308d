"""Rights: every route with every kind of person, the table's completeness, menus, and the page of a refusal."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from portal import create_app
from portal.accounts import access
from portal.accounts.models import Owner
from portal.accounts.team import rights
from portal.accounts.team.rights import Right, Role, may, needed
from portal.db import db
from portal.notices.models import NoticeMailbox
from tests.accounts.people import make_team
from tests.conftest import make_config

TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
ARGUMENTS = {
    "kind": "new-sign-up", "state": "off", "decision": "suspend", "operation": "cancel", "action": "activate",
    "way": "google", "issuer": "google", "provider": "generic", "choice": "keep", "accent": "1f3f5c",
    "filename": "nothing.css",
}  # fmt: skip
# These end the session of the person, or are asked on purpose elsewhere.
LEFT_OUT = {"accounts.log_out", "team.leave"}


def address(app, rule):
    """Return an address of a route; ids are those of nothing, so that who may pass finds nothing there."""
    values = {
        name: 987654 if "int" in type(converter).__name__.lower() else ARGUMENTS.get(name, "A" * 43)
        for name, converter in rule._converters.items()
    }
    with app.test_request_context(base_url="http://127.0.0.1"):
        return app.url_map.bind("127.0.0.1").build(rule.endpoint, values)


def routes(app):
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods - {"OPTIONS", "HEAD"}):
            if rule.endpoint not in LEFT_OUT:
                yield rule, method


def expected(right, role, method):
    """Return the statuses that a person may get; None: whatever the page itself answers."""
    if right is Right.OPERATE:
        return {404}
    if role is None and right is not Right.PUBLIC:
        return {303}
    if right is Right.PUBLIC or may(role, right):
        return None
    return {403}


@pytest.mark.both_databases
def test_each_route_answers_each_kind_of_person_by_the_table(app, stranger):
    """One app and one database. Who may not pass gets exactly the refusal; who may, never 403 and never 500."""
    team = make_team(app)
    browsers = {
        Role.OWNER: team.owner,
        Role.EDITOR: team.editor,
        Role.VIEWER: team.viewer,
        None: app.test_client(),
    }
    wrong, asked = [], 0
    for role, browser in browsers.items():
        page = "/account" if role else "/log-in"
        token = TOKEN.search(browser.get(page).get_data(as_text=True))[1]
        for rule, method in routes(app):
            right, url = needed(rule.endpoint, method), address(app, rule)
            allowed = expected(right, role, method)
            if allowed is None and (method != "GET" or right is Right.PUBLIC):
                continue  # what a right allows is tested in its room; here, that the rest is refused
            answer = browser.open(url, method=method, data={"csrf_token": token})
            asked += 1
            is_right = (
                answer.status_code not in {403, 500} if allowed is None else answer.status_code in allowed
            )
            if not is_right:
                wrong.append((str(role), method, url, answer.status_code))
    assert wrong == []
    assert asked > 400
    still = [
        role for role, browser in browsers.items() if role and browser.get("/account").status_code != 200
    ]
    assert still == []


def test_an_endpoint_without_a_row_stops_the_app_in_tests_and_is_not_found_live(tmp_path, app, owner):
    app.view_functions["none.page"] = lambda: "secret"
    app.url_map.add(app.url_rule_class("/page-without-a-row", endpoint="none.page"))
    with pytest.raises(RuntimeError, match=r"none\.page"):
        access.require_rows(app)
    assert owner.get("/page-without-a-row").status_code == 404


def test_the_table_has_rows_of_present_endpoints_only(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    present = {rule.endpoint for rule in app.url_map.iter_rules()}
    assert rights.endpoints() == present
    assert set(rights._TO_CHANGE) <= present


def test_a_higher_role_includes_the_lower_ones():
    assert rights.roles_with(Right.PEOPLE) == [Role.OWNER]
    assert rights.roles_with(Right.WRITE) == [Role.OWNER, Role.EDITOR]
    assert rights.roles_with(Right.SEE) == list(Role)
    assert rights.is_lower(Role.VIEWER, Role.EDITOR)
    assert rights.is_lower(Role.EDITOR, Role.OWNER)
    assert not rights.is_lower(Role.OWNER, Role.OWNER)


def test_pages_show_what_a_person_may_do_and_who_can_do_the_rest(app):
    team = make_team(app)
    settings = "/settings/email-preferences"
    for browser in (team.editor, team.viewer):
        html = browser.get(settings).get_data(as_text=True)
        assert "Only owners can change this." in html
        assert "<fieldset" in html and "disabled" in html
        assert "/settings/bounces" not in html
        assert "Only owners" in browser.get("/incidents/limits").get_data(as_text=True)
        assert 'name="programme"' not in browser.get("/account").get_data(as_text=True)
    assert "Only owners" not in team.owner.get(settings).get_data(as_text=True)
    assert "/settings/bounces" in team.owner.get(settings).get_data(as_text=True)
    assert "affiliates.csv" not in team.viewer.get("/affiliates").get_data(as_text=True)
    editor = team.viewer.get("/automated-emails/new-sign-up").get_data(as_text=True)
    assert "Only owners and editors can change this." in editor

    page = team.editor.get(settings)
    fields = {
        "csrf_token": TOKEN.search(page.get_data(as_text=True))[1],
        "host": "smtp.evil.example",
        "password": "pw-7",
    }
    refused = team.editor.post(settings, data=fields)
    html = refused.get_data(as_text=True)
    assert refused.status_code == 403
    assert "In Brightleaf you are an editor. Nothing was changed." in html
    assert "These people can: Ada Fairweather." in html
    assert "smtp.evil.example" in html, "what was typed is shown"
    assert "pw-7" not in html
    assert "These people can: Ada Fairweather, Eve Quill." in team.viewer.get("/affiliates/invite").get_data(
        as_text=True
    )


def test_a_webhook_shows_its_host_only_to_those_who_may_not_change_it(app):
    """What follows the host is a secret at many receivers."""
    team = make_team(app)
    page, url = "/incidents/alerts", "https://hooks.example.com/services/T0/B0/secret-7"
    assert team.owner.submit(f"{page}/webhook", {"url": url}, page=page).status_code in {200, 303}
    assert url in team.owner.get(page).get_data(as_text=True)
    for browser in (team.editor, team.viewer):
        html = browser.get(page).get_data(as_text=True)
        assert "secret-7" not in html
        assert "https://hooks.example.com/…" in html


def test_only_owners_change_who_gets_the_emails_to_the_owner(app):
    """An editor who added a mailbox would read on after being removed from the team."""
    team = make_team(app)
    page, path = "/automated-emails", "/automated-emails/mailboxes"
    refused = team.editor.submit(path, {"mailbox": "eve@elsewhere.example"}, page="/account")
    assert refused.status_code == 403
    assert "These people can: Ada Fairweather." in refused.get_data(as_text=True)
    assert team.owner.submit(path, {"mailbox": "desk@brightleaf.example"}, page=page).status_code == 303
    html = team.editor.get(page).get_data(as_text=True)
    assert "desk@brightleaf.example" in html
    assert "Only owners can change this." in html
    assert "eve@elsewhere.example" not in html
    [one] = db.session.scalars(select(NoticeMailbox.id)).all()
    for action in ("remove", "send-again"):
        assert team.editor.submit(f"{path}/{one}/{action}", {}, page="/account").status_code == 403


def test_an_editor_renames_oneself_and_not_the_programme(app):
    team = make_team(app)
    fields = {"name": "Eve Inkwell", "programme": "Evilcorp"}
    assert team.editor.submit("/account/names", fields, page="/account").status_code == 303
    html = team.editor.get("/account").get_data(as_text=True)
    assert "Eve Inkwell" in html
    assert "Evilcorp" not in html
    assert team.editor.submit("/account/time-zone", {"time_zone": "UTC"}, page="/account").status_code == 403


def test_a_logged_out_form_is_refused_as_before_and_options_state_the_methods_only(app, client):
    assert FlaskClient(app).options("/settings/email-preferences").headers["Allow"]
    answer = client.get("/settings/api?x=1")
    assert answer.status_code == 303
    assert answer.headers["Location"].endswith("/log-in?next=/settings/api?x%3D1")


def test_an_operator_without_the_right_in_the_account_stays_an_operator(app):
    team = make_team(app)
    viewer = db.session.scalars(select(Owner).where(Owner.mailbox == "viewer@brightleaf.example")).one()
    viewer.is_operator = True
    db.session.commit()
    assert team.viewer.get("/operator/accounts").status_code == 200
    assert team.viewer.get("/settings/connect").status_code == 403
    assert team.owner.get("/operator/accounts").status_code == 404
