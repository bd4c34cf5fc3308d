"""The page *Activity*: what people do is listed with before and after; filters, paging, CSV, and who sees what."""

from __future__ import annotations

import csv
import html
import io
import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from portal import audit
from portal.accounts.activity.filters import ActivityFilters
from portal.accounts.activity.log import ActivityView, _read_key, read_page
from portal.accounts.models import Account
from portal.accounts.profile import set_operator
from portal.accounts.team.rights import Role
from portal.audit import Activity, ActivityKind, Actor, AuditOutcome, AuditTarget, Way
from portal.audit.models import AuditEntry
from portal.clock import utcnow, zone_of
from portal.db import db
from portal.settings.models import SmtpSettings
from tests.accounts.people import id_of, mailbox_of, make_team
from tests.audit.support import actions, rows
from tests.conftest import PASSWORD

CANARY = "canary-8f3a1c"


def texts(page):
    """Return the text of a page, without tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.get_data(as_text=True))).split())


def csv_of(browser, **filters):
    answer = browser.submit(f"/activity/export.csv?{urlencode(filters)}", {}, page="/activity")
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.get_data(as_text=True).removeprefix("\ufeff"))))


@pytest.mark.both_databases
def test_what_a_team_does_is_listed_with_before_and_after(app):
    team = make_team(app)
    eve = id_of(mailbox_of(Role.EDITOR))
    assert actions() == [
        "registered",
        "logged-in",
        "invited",
        "joined",
        "logged-in",
        "invited",
        "joined",
        "logged-in",
    ]
    assert team.owner.submit(f"/team/{eve}/role", {"role": "viewer"}, page="/team").status_code == 303
    role = rows()[-1]
    assert (role.action, role.actor_name, role.target_id, role.target_name) == (
        Activity.ROLE_CHANGED, "Ada Fairweather", eve, "Eve Quill",
    )  # fmt: skip
    assert (role.values_before, role.values_after) == ({"role": "editor"}, {"role": "viewer"})
    assert role.session_id is not None
    assert role.network == "127.0.0.1"

    shown = texts(team.owner.get("/activity"))
    assert "Changed a role Eve Quill Role: editor → becomes viewer" in shown
    assert "e•••@brightleaf.example" in shown
    assert "eve@" not in shown
    assert "127.0.0.1" in shown

    account = id_of(mailbox_of(Role.OWNER))
    mine = texts(team.viewer.get("/activity"))
    assert "Joined the team" in mine
    assert "Changed a role" not in mine
    assert "Person" not in mine.partition("Everything")[0].partition("Activity")[2]
    own = team.viewer.get(f"/activity?person={account}")
    assert "Changed a role" not in texts(own)
    token = re.search(
        r'name="csrf_token"[^>]*value="([^"]+)"', team.viewer.get("/account").get_data(as_text=True)
    )
    assert team.viewer.post("/activity/export.csv", data={"csrf_token": token[1]}).status_code == 403
    refused = rows()[-1]
    assert (refused.action, refused.outcome, refused.target_name) == (
        Activity.REFUSED_BY_ROLE, AuditOutcome.REFUSED, "activity.table",
    )  # fmt: skip
    assert "Was refused because of the role Refused activity.table" in texts(team.owner.get("/activity"))

    found = csv_of(team.owner, kind="people")
    assert {row["kind"] for row in found} == {"people"}
    assert found[0]["action"] == "role-changed"
    assert found[0]["before"] == '{"role": "editor"}'
    last = rows()[-1]
    assert (last.action, last.values_after) == (Activity.ACTIVITY_EXPORTED, {"kind": "people"})

    fields = {"mailbox": mailbox_of(Role.OWNER), "password": f"{CANARY} wrong"}
    assert app.test_client().submit("/log-in", fields).status_code == 422
    assert (rows()[-1].action, rows()[-1].outcome) == (Activity.LOG_IN_FAILED, AuditOutcome.REFUSED)
    changed = {"present_password": PASSWORD, "password": f"{CANARY} a new one"}
    assert team.owner.submit("/account/password", changed, page="/account").status_code == 303
    wrong = {"present_password": f"{CANARY} wrong", "password": f"{CANARY} a newer one"}
    assert team.owner.submit("/account/password", wrong, page="/account").status_code == 422
    assert [row.outcome for row in rows(action=Activity.PASSWORD_CHANGED)] == [
        AuditOutcome.DONE,
        AuditOutcome.REFUSED,
    ]
    assert team.owner.post("/log-out", data={"csrf_token": "no"}).status_code == 400
    assert team.owner.submit("/log-out", {}, page="/account").status_code == 303
    assert actions()[-1] == "logged-out"
    assert CANARY not in repr([vars(row) for row in rows()])


def test_settings_and_tokens_leave_their_values_and_never_their_secrets(owner):
    page = "/settings/email-preferences"
    fields = {
        "provider": "other", "host": "smtp.first.example", "port": "587", "security": "starttls", "mechanism": "automatic",
        "username": "ada", "password": CANARY, "wrapped_user": "hello", "domain": "brightleaf.example",
    }  # fmt: skip
    assert owner.submit(page, fields).status_code == 303
    (first,) = rows(action=Activity.SERVER_SAVED)
    assert first.values_before is None
    assert first.values_after["host"] == "smtp.first.example"
    assert first.values_after["password"] == "changed"
    second = fields | {
        "host": "smtp.second.example", "password": f"{CANARY} 2", "mechanism": "plain", "headers": "X-PM-Tag: autumn",
    }  # fmt: skip
    assert owner.submit(page, second).status_code == 303
    saved = rows(action=Activity.SERVER_SAVED)[-1]
    assert saved.values_before["host"] == "smtp.first.example"
    assert saved.values_after["host"] == "smtp.second.example"
    assert "username" not in saved.values_after
    assert (saved.values_before["mechanism"], saved.values_after["mechanism"]) == ("automatic", "plain")
    assert saved.values_after["headers"] == "X-PM-Tag: autumn"
    number = db.session.scalar(sa.select(sa.func.max(SmtpSettings.number)))
    assert owner.submit(f"{page}/versions/{number}/activate", {}, page=page).status_code == 303
    assert owner.submit(f"{page}/stop", {}, page=page).status_code == 303
    shown = texts(owner.get("/activity?kind=settings"))
    assert "Server: smtp.first.example → becomes smtp.second.example" in shown
    assert "SMTP settings went live" in shown
    assert "Stopped using custom SMTP" in shown

    made = owner.submit("/settings/api", {"name": "Shop", "scope": "events"})
    token = re.search(r"sig_[\w-]{43}", made.get_data(as_text=True))[0]
    (created,) = rows(action=Activity.TOKEN_CREATED)
    assert (created.target_name, created.values_after) == ("Shop", {"scope": "events"})
    everything = repr([vars(row) for row in rows()])
    assert CANARY not in everything
    assert token not in everything
    assert token.removeprefix("sig_") not in everything


def test_hostile_values_are_harmless_on_the_page_and_in_the_file(owner):
    account = db.session.scalars(sa.select(Account.id)).one()
    name = '=cmd|"/c calc"!A1'
    for value in (name, "<script>alert(1)</script>", "a\r\nSet-Cookie: x=1", "\u202eevil\u2066"):
        actor = Actor(Way.API, 1, value, network="192.0.2.1")
        target = AuditTarget("token", 1, value)
        audit.record(Activity.TOKEN_CREATED, account, actor=actor, target=target, after={"name": value})
    db.session.commit()
    page = owner.get("/activity").get_data(as_text=True)  # the client lints it
    assert "<script>alert" not in page
    assert "\u202e" not in page
    found = [row for row in csv_of(owner) if row["way"] == "api"]
    assert [row["name"] for row in found][-1] == f"'{name}"
    assert all(not row[column].startswith(("=", "+", "@")) for row in found for column in row)
    assert all("\n" not in row[column] for row in found for column in row)


@pytest.mark.both_databases
def test_pages_filters_and_days_find_each_row_once(app, owner):
    account = db.session.scalars(sa.select(Account)).one()
    account.time_zone = "Pacific/Auckland"
    db.session.commit()
    then = utcnow().replace(hour=11, minute=30, microsecond=0) - timedelta(
        days=30
    )  # the next day in Auckland
    values = {
        "account_id": account.id,
        "outcome": AuditOutcome.DONE,
        "way": Way.PAGE,
        "network": "",
        "target_kind": "",
    }
    entries = [
        values
        | {
            "at": then - timedelta(days=number // 40),  # many within one moment
            "kept_until": then + timedelta(days=400),
            "kind": ActivityKind.LOG_IN if number % 2 else ActivityKind.EXPORTS,
            "action": Activity.LOGGED_IN if number % 2 else Activity.DELIVERIES_EXPORTED,
            "actor_id": 900 + number % 3,
            "actor_name": f"Person {number % 3}",
            "target_name": "",
        }
        for number in range(230)
    ]
    db.session.execute(sa.insert(AuditEntry), entries)
    db.session.commit()
    zone = zone_of("Pacific/Auckland")

    def walk(only=None, **args):
        view, seen, key = ActivityView(account.id, ActivityFilters.read(args), zone, only), [], ""
        while True:
            page = read_page(view, before=key)
            seen += [(row.at, row.id) for row in page.rows]
            if key:  # the way back leads to the page before
                assert [row.id for row in read_page(view, after=page.newer).rows][-1] > 0
            if not page.older:
                assert seen == sorted(set(seen), reverse=True)
                return len(seen)
            key = page.older

    assert walk(kind="exports") == 115
    assert walk(person="900") == 77
    assert walk(person="900", kind="exports") == 39
    assert walk(only=901, person="900") == 77
    day = then.astimezone(zone).date()
    assert walk(since=f"{day}", until=f"{day}") == 40
    assert walk(until=f"{day - timedelta(days=1)}") == 190
    assert walk(person="7") == 0

    page = owner.get(f"/activity?person=901&since={day}")
    assert "Person 1" in page.get_data(as_text=True), "who left the team can be chosen as well"
    assert f"{then.astimezone(zone):%H:%M}" in page.get_data(as_text=True)
    assert "Times are in the time zone Pacific/Auckland." in texts(page)
    assert "Nothing matches" in texts(owner.get("/activity?person=424242"))
    wrong = owner.get(
        "/activity?since=yesterday&until=2999-99-99&kind=x&person=-1&before=1-x&after=" + "9" * 60
    )
    assert wrong.status_code == 200
    assert texts(wrong).count("Enter the day like this") == 2


@pytest.mark.parametrize(
    "key", ["", "-", "1", "1-", "-1", "x-1", "9" * 39 + "-1", "1-" + "9" * 30, "²-1", "1-2-3"]
)
def test_a_key_that_is_none_leads_to_the_first_page(key):
    assert _read_key(key) is None


def test_each_filter_and_page_is_read_from_an_index(app, database):
    """A plan that sorts or scans would cost time in proportion to all rows."""
    if database != "sqlite":
        pytest.skip("the plan of PostgreSQL depends on the number of rows")
    from portal.accounts.activity.log import _is_older, _newest_first, _query

    for args in ({}, {"person": "1"}, {"kind": "people"}, {"since": "2026-01-01", "until": "2026-02-01"}):
        query = _newest_first(
            _query(ActivityView(1, ActivityFilters.read(args), zone_of("UTC"))).where(_is_older(utcnow(), 5))
        )
        compiled = str(query.limit(51).compile(db.engine, compile_kwargs={"literal_binds": True}))
        plan = " ".join(row.detail for row in db.session.execute(sa.text(f"EXPLAIN QUERY PLAN {compiled}")))
        assert "USING INDEX ix_audit_entry" in plan, plan
        assert "TEMP B-TREE" not in plan, plan


def test_operators_see_what_concerns_the_installation_and_no_account(app, owner, stranger):
    audit.record(Activity.KEYS_ROTATED, None, after={"key": "k7"})
    audit.record(Activity.LIMITS_SAVED, 1)
    db.session.commit()
    assert owner.get("/operator/activity").status_code == 404
    assert "k7" not in texts(owner.get("/activity"))
    app.test_cli_runner().invoke(args=["owners", "promote", "ada@brightleaf.example"])
    shown = texts(owner.get("/operator/activity?kind=operator"))
    assert "Encrypted secrets with the first key Key: k7" in shown
    assert "sending limits" not in shown
    assert "Nothing matches" in texts(owner.get("/operator/activity?kind=people"))


def test_a_new_programme_has_an_empty_page_for_its_days(owner):
    assert "Nothing matches" in texts(owner.get("/activity?until=2020-01-01"))
    assert "No more entries" in texts(owner.get("/activity?before=1-1"))


@pytest.mark.both_databases
def test_a_team_sees_no_log_ins_of_a_person_whom_it_has_removed(app):
    team = make_team(app)
    eve, account_id = id_of(mailbox_of(Role.EDITOR)), rows()[-1].account_id
    assert team.owner.submit(f"/team/{eve}/remove", {}, page="/team").status_code == 303
    seen = len(rows(account_id=account_id))
    stranger = app.test_client()
    wrong = {"mailbox": mailbox_of(Role.EDITOR), "password": "not her password"}
    assert stranger.submit("/log-in", wrong).status_code == 422
    asked = {"mailbox": mailbox_of(Role.EDITOR)}
    assert stranger.submit("/forgot-password", asked).status_code in {200, 303}
    assert len(rows(account_id=account_id)) == seen
    assert [row.action for row in rows(account_id=None)] == [Activity.LOG_IN_FAILED, Activity.RESET_REQUESTED]


def test_owners_see_what_an_operator_did_and_not_from_where(app, owner, stranger):
    assert set_operator("ada@brightleaf.example", operator=True)
    account_id = db.session.scalar(sa.select(Account.id).where(Account.slug == "copperpot"))
    page = f"/operator/accounts/{account_id}"
    answer = owner.submit(
        f"{page}/limit", {"per_day": "9"}, page=page, environ_overrides={"REMOTE_ADDR": "192.0.2.77"}
    )
    assert answer.status_code == 303
    assert rows()[-1].network == "192.0.2.77"
    shown = stranger.get("/activity")
    assert "Changed the limit of the platform’s sender" in texts(shown)
    assert "192.0.2.77" not in texts(shown)
    (row,) = csv_of(stranger, kind="operator")
    assert (row["name"], row["network"], row["session_id"]) == ("Ada Fairweather", "", "")
