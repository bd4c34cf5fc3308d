"""Proof of person: what a stolen session must not do, the question, and that nothing typed is lost."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from importlib import import_module

import pytest
import time_machine
from sqlalchemy import select, update
from wtforms import FileField, PasswordField

from portal import create_app
from portal.accounts.models import Account, Membership, OwnerSession, ProvedBy
from portal.accounts.profile import set_operator
from portal.accounts.proof import kept
from portal.accounts.sessions import PROOF_LIFETIME
from portal.accounts.team import rights
from portal.accounts.team.rights import Right, Role, needed, page_to_prove
from portal.api.models import ApiToken
from portal.clock import utcnow
from portal.db import Base, db
from portal.settings.models import SmtpSettings
from portal.web.errors import is_secret_field
from portal.web.fields import PortalForm
from tests.accounts.conftest import path_in, portal_emails
from tests.accounts.people import id_of, make_team
from tests.accounts.test_rights import address
from tests.conftest import PASSWORD, make_config
from tests.pages import csrf_token, downloaded
from tests.test_architecture import sources

QUESTION = "/account/is-it-you"
SETTINGS = "/settings/email-preferences"
SMTP = {"host": "smtp.new.example", "username": "new@x.example", "port": "587", "security": "starttls",
        "mechanism": "automatic", "domain": "new.example", "wrapped_user": "affiliates", "headers": "X-One: 1"}  # fmt: skip

# Why an endpoint that is the owners' or an export needs no proof of person.
WITHOUT_PROOF = {
    "it only shows a page": """
        bounce_mailbox.show bounces.events bounces.index connect.index guided.account guided.providers
        """,
    "its page asks before it is shown, by GET": """
        connect.google connect.microsoft connect_mailbox.app connect_mailbox.service_account connect_mailbox.show consent.show
        """,
    "it ends a consent that began under a proof": "consent.callback",
    "it only takes something away, which the owner gets back by an operation under proof": """
        api_pages.revoke bounce_mailbox.remove bounces.remove incidents.remove_webhook notices.remove_mailbox
        settings.discard_drafts settings.stop_check team.withdraw
        """,
    "it repeats or reads what was saved under a proof": """
        bounce_mailbox.read_now domains.check_again incidents.test_webhook notices.send_mailbox_link_again
        settings.prove_domain
        """,
    "it sends nothing elsewhere and shows no secret": """
        accounts.change_time_zone bounce_mailbox.save_folder bounces.decide domains.add_selector domains.remove_selector
        incidents.alerts_by_mail incidents.message_events incidents.save_failure incidents.save_limits
        """,
}


def make_stale():
    """Let every session be one whose person proved nothing lately."""
    db.session.execute(update(OwnerSession).values(proved_at=utcnow() - timedelta(minutes=15)))
    db.session.commit()


def stored_session(mailbox="ada@brightleaf.example"):
    row = db.session.scalars(select(OwnerSession).where(OwnerSession.owner_id == id_of(mailbox))).one()
    db.session.expunge_all()
    db.session.commit()
    return row


def everything():
    """Return every row of every table."""
    found = {}
    for table in Base.metadata.sorted_tables:
        if table.name not in {"rate_limit_counter", "owner_session"}:
            found[table.name] = sorted((tuple(row) for row in db.session.execute(select(table))), key=repr)
    db.session.rollback()
    return found


def prove(browser, page, password=PASSWORD, **more):
    """Fill in the question on a page that was answered, as a browser does."""
    html = page.get_data(as_text=True)
    hidden = dict(re.findall(r'<input id="\w+" name="(to|kept)" type="hidden" value="([^"]*)"', html))
    fields = {name: value.replace("&#34;", '"').replace("&amp;", "&") for name, value in hidden.items()}
    return browser.post(
        QUESTION, data={"csrf_token": csrf_token(html), "password": password, **more, **fields}
    )


def test_each_endpoint_of_owners_and_exports_needs_a_proof_or_has_a_reason(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    excused = [name for names in WITHOUT_PROOF.values() for name in names.split()]
    assert len(excused) == len(set(excused))
    guarded = {Right.CONNECT, Right.PEOPLE, Right.EXPORT}
    found = set()
    for rule in app.url_map.iter_rules():
        for method in rule.methods - {"OPTIONS", "HEAD"}:
            if needed(rule.endpoint, method) in guarded and page_to_prove(rule.endpoint, method) is None:
                found.add(rule.endpoint)
    assert found - set(excused) <= {"settings.provider_help"}  # fills hints of the form and saves nothing
    assert set(excused) - rights._ASKED_FIRST <= found
    pages = {rule.endpoint for rule in app.url_map.iter_rules() if "GET" in rule.methods}
    assert set(rights._PROVED) | rights._ASKED_FIRST <= pages
    assert set(rights._PAGE_OF) <= rights.endpoints()


@pytest.mark.both_databases
def test_a_stale_session_changes_nothing_at_any_endpoint_that_needs_a_proof(app, stranger):
    """A stolen cookie opens pages and reads, and does nothing that this table names."""
    team = make_team(app)
    assert set_operator("ada@brightleaf.example", operator=True)  # or the operator's pages answer 404
    make_stale()
    token, before, asked = csrf_token(team.owner.get("/account").get_data(as_text=True)), everything(), []
    for rule in app.url_map.iter_rules():
        for method in rule.methods & {"GET", "POST"}:
            if page_to_prove(rule.endpoint, method) is None:
                continue
            url = address(app, rule)
            answer = team.owner.open(
                url, method=method, data={"csrf_token": token, "host": "smtp.evil.example"}
            )
            asked.append(rule.endpoint)
            if method == "GET":
                assert (answer.status_code, answer.location.partition("?")[0]) == (303, QUESTION), url
            else:
                assert answer.status_code == 403, url
                assert "<h1>Is it you?</h1>" in answer.get_data(as_text=True), url
                assert answer.mimetype == "text/html", url
    assert set(asked) == set(rights._PAGE_OF) | rights._ASKED_FIRST
    assert everything() == before


@pytest.mark.both_databases
def test_what_was_typed_waits_in_the_form_after_the_proof_and_no_secret_does(app):
    team = make_team(app)
    make_stale()
    page = team.owner.get(SETTINGS).get_data(as_text=True)
    assert "Signet asks for your password." in page
    asked = team.owner.submit(SETTINGS, {**SMTP, "password": "smtp-secret-7"}, page=SETTINGS)
    assert asked.status_code == 403
    assert "Nothing was changed yet." in asked.get_data(as_text=True)
    wrong = prove(team.owner, asked, "not my password")
    assert wrong.status_code == 422
    assert "This is not your password for Signet." in wrong.get_data(as_text=True)
    for text in (asked, wrong):
        assert "smtp-secret-7" not in text.get_data(as_text=True)
    done = prove(team.owner, wrong)
    assert (done.status_code, done.location) == (303, f"{SETTINGS}?kept=1")
    row = stored_session()
    assert utcnow() - row.proved_at < timedelta(minutes=1)
    assert row.proved_by is ProvedBy.PASSWORD
    assert "smtp.new.example" in row.kept_form
    assert "smtp-secret-7" not in row.kept_form
    for _ in range(2):  # also when the page is loaded again
        html = team.owner.get(done.location).get_data(as_text=True)
        for value in ("smtp.new.example", "new@x.example", "new.example", "X-One: 1"):
            assert value in html
        assert "smtp-secret-7" not in html
    assert "smtp.new.example" not in team.owner.get(SETTINGS).get_data(as_text=True)
    assert db.session.scalars(select(SmtpSettings)).all() == []
    saved = team.owner.submit(SETTINGS, {**SMTP, "password": "smtp-secret-7"}, page=done.location)
    assert saved.status_code in {303, 422}  # no question any more
    assert "Is it you?" not in saved.get_data(as_text=True)


def test_what_was_typed_for_one_programme_is_not_shown_in_another(app, owner, stranger):
    brightleaf = db.session.scalars(select(Account.id).where(Account.slug == "brightleaf")).one()
    bo = {"owner_id": id_of("bo@copperpot.example"), "account_id": brightleaf}
    db.session.add(Membership(**bo, role=Role.OWNER, joined_at=utcnow()))
    db.session.commit()
    make_stale()
    done = prove(stranger, stranger.submit(SETTINGS, SMTP, page=SETTINGS))
    assert "smtp.new.example" in stranger.get(done.location).get_data(as_text=True)
    shown = stranger.submit(f"/team/programmes/{brightleaf}/show", {}, page="/account")
    assert shown.status_code == 303
    page = stranger.get(done.location).get_data(as_text=True)
    assert "Brightleaf" in page
    assert "smtp.new.example" not in page


def test_a_log_in_is_a_proof_for_fifteen_minutes(app, owner):
    page = "/settings/api"
    form = {"name": "Shop", "scope": "events"}
    with time_machine.travel(utcnow(), tick=False) as clock:
        row = stored_session()
        assert (row.network, row.proved_by) == ("127.0.0.1", ProvedBy.PASSWORD)
        key = re.search(r'name="form_key"[^>]*value="([^"]+)"', owner.get(page).get_data(as_text=True))[1]
        assert "asks for your password" not in owner.get(page).get_data(as_text=True)
        assert owner.submit(page, {**form, "form_key": key}, page=page).status_code == 200
        clock.shift(PROOF_LIFETIME)
        asked = owner.submit(page, {**form, "name": "Second"}, page=page)
        assert asked.status_code == 403
        done = prove(owner, asked)
        html = owner.get(done.location).get_data(as_text=True)
        assert 'value="Second"' in html
        assert "Your entries are kept" in html
        clock.shift(PROOF_LIFETIME - timedelta(seconds=1))
        assert downloaded(owner, "/affiliates.csv").mimetype == "text/csv"
        clock.shift(timedelta(seconds=1))
        assert downloaded(owner, "/affiliates.csv").status_code == 403
        assert 'value="Second"' not in owner.get(done.location).get_data(as_text=True)
    assert [row.name for row in db.session.scalars(select(ApiToken))] == ["Shop"]


def test_the_proof_leads_back_to_where_the_button_was_and_to_no_other_site(app, owner):
    make_stale()
    sent_from = {"Referer": "http://localhost/deliveries?status=failed"}
    url = "/deliveries/export.csv?status=failed"
    asked = owner.submit(url, {}, page="/account", headers=sent_from)
    assert prove(owner, asked).location == "/deliveries?status=failed"
    assert "Now repeat what you wanted to do" in owner.get("/deliveries?status=failed").get_data(as_text=True)
    for referer, page in (
        ("http://evil.example/deliveries", "/deliveries"),
        ("http://localhost/team", "/deliveries"),
        ("http://[", "/deliveries"),
    ):
        make_stale()
        asked = owner.submit(url, {}, page="/account", headers={"Referer": referer})
        assert prove(owner, asked).location == page
    make_stale()
    first = owner.get("/settings/connect/google-workspace?x=1")
    assert first.location == f"{QUESTION}?next=/settings/connect/google-workspace?x%3D1"
    asked = owner.get(first.location)
    assert prove(owner, asked).location == "/settings/connect/google-workspace?x=1"
    assert owner.get(first.location).location == "/settings/connect/google-workspace?x=1", (
        "proved in another tab"
    )
    for target in ("//evil.example", "https://evil.example/", "/\\evil.example", ""):
        fields = {"password": PASSWORD, "to": target}
        assert owner.submit(QUESTION, fields).location == "/account"


def test_a_form_of_another_site_is_refused_before_the_question(app, owner):
    """Otherwise its values would wait in the form of a person who has just given the password."""
    make_stale()
    answer = owner.post(SETTINGS, data=SMTP)
    assert answer.status_code == 400
    assert "Is it you?" not in answer.get_data(as_text=True)


def test_a_proof_replaces_the_token_and_the_former_one_proves_nothing(app, owner):
    with time_machine.travel(utcnow(), tick=False) as clock:
        make_stale()
        question = owner.get(QUESTION)
        former = owner.get_cookie("signet").value
        assert prove(owner, question).status_code == 303
        mine, thief = owner.get_cookie("signet").value, app.test_client()
        assert mine != former
        thief.set_cookie("signet", former)
        assert thief.get("/account").status_code == 200, "a request that was on the way"
        assert downloaded(thief, "/affiliates.csv").status_code == 403
        clock.shift(timedelta(seconds=31))
        assert thief.get("/account").status_code == 303
        assert owner.get("/account").status_code == 200


def test_a_second_click_leaves_the_person_logged_in(app, owner):
    """The browser drops the answer to the first click, with its cookie."""
    make_stale()
    question = owner.get(QUESTION)
    former = owner.get_cookie("signet").value
    assert prove(owner, question).status_code == 303
    owner.set_cookie("signet", former)
    assert prove(owner, question).status_code == 303
    with time_machine.travel(utcnow() + timedelta(minutes=1)):
        assert owner.get("/account").status_code == 200
        assert downloaded(owner, "/affiliates.csv").status_code == 200


def test_passwords_are_guessed_ten_times_in_a_quarter_of_an_hour(app, owner):
    make_stale()
    question = owner.get(QUESTION)
    for _ in range(10):
        assert prove(owner, question, "wrong password").status_code == 422
    limited = prove(owner, question)
    assert limited.status_code == 429
    assert "Is it you?" in limited.get_data(as_text=True)
    assert stored_session().proved_at < utcnow()


def test_a_session_that_ended_meanwhile_is_not_revived(app, owner):
    make_stale()
    question = owner.get(QUESTION)
    db.session.execute(update(OwnerSession).values(revoked_at=utcnow()))
    db.session.commit()
    assert prove(owner, question).location.startswith("/log-in")
    assert owner.get("/account").status_code == 303


def test_an_invited_person_who_is_logged_in_proves_it_before_joining(app):
    """An ownership is accepted by the person, not by the browser."""
    team = make_team(app)
    answer = team.owner.submit(f"/team/{id_of('editor@brightleaf.example')}/hand-over", {}, page="/team")
    assert answer.status_code == 303
    path = path_in(portal_emails("team-handover")[-1][1])
    make_stale()
    asked = team.editor.submit(path, {}, page=path)
    assert asked.status_code == 403
    done = prove(team.editor, asked)
    assert done.location == path
    assert team.editor.submit(path, {}, page=path).status_code == 303
    assert team.editor.get("/settings/connect").status_code == 200, "an owner now"


@pytest.mark.parametrize(
    "packed",
    ["", "x", "[]", "{}", '["a"]', '["a", 1]', '["a", [["b"]]]', '["a", ["bc"]]', '["a", [["b", 1]]]', "[[1], []]",
     "[" * 19_000, '["a", [["b", "' + "c" * 20_000 + '"]]]'],
)  # fmt: skip
def test_a_forged_form_is_ignored(packed):
    assert kept.unpack(packed) is None


def test_a_form_is_packed_and_unpacked():
    values = (("host", "smtp.x.example"), ("name", 'Zoë "Z" </script>'), ("role", "a"), ("role", "b"))
    found = kept.unpack(kept.pack("settings.save", values))
    assert (found.endpoint, found.values) == ("settings.save", values)
    assert found.formdata.getlist("role") == ["a", "b"]
    assert kept.unpack(kept.pack("settings.save", [("a", "b" * 30_000)])).values == ()


def test_pages_fill_the_forms_that_are_said_to_be_kept():
    read = {
        node.args[0].value
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("kept_form") and node.args
        if isinstance(node.args[0], ast.Constant)
    }
    assert read == kept._FILLED_AGAIN <= set(rights._PAGE_OF)


def test_a_chosen_role_is_not_said_to_be_kept(app):
    """The page shows the present role again: who is told otherwise saves the former one."""
    team = make_team(app)
    make_stale()
    asked = team.owner.submit(
        f"/team/{id_of('editor@brightleaf.example')}/role", {"role": "viewer"}, page="/team"
    )
    done = prove(team.owner, asked)
    assert done.location == "/team"
    page = team.owner.get("/team").get_data(as_text=True)
    assert "Now repeat what you wanted to do" in page
    assert "Your entries are kept" not in page


def test_a_stolen_session_of_an_operator_admits_no_account(app, owner, stranger):
    """It would approve, invite or resume the thief's own account."""
    accounts = "/operator/accounts"
    assert set_operator("ada@brightleaf.example", operator=True)
    other = db.session.scalars(select(Account.id).where(Account.slug == "copperpot")).one()
    db.session.commit()
    make_stale()
    for path in (f"{other}/approve", f"{other}/resume"):
        assert owner.submit(f"{accounts}/{path}", {}, page=accounts).status_code == 403
    asked = owner.submit(f"{accounts}/invite", {"mailbox": "cy@dovetail.example"}, page=accounts)
    assert asked.status_code == 403
    assert "/register/invited/" not in asked.get_data(as_text=True)
    done = prove(owner, asked)
    assert 'value="cy@dovetail.example"' in owner.get(done.location).get_data(as_text=True)


def test_no_field_for_a_secret_is_kept():
    """Its name decides, because the form is not known where the request is interrupted."""
    for module in ("accounts.forms", "accounts.team.forms", "api.forms", "bounces.forms", "settings.forms",
                   "settings.connecting.views", "settings.connecting.views_consent", "bounces.mailbox.forms",
                   "bounces.mailbox.views_connect", "incidents.forms"):  # fmt: skip
        import_module(f"portal.{module}")
    forms = [PortalForm]
    for form in forms:
        forms += form.__subclasses__()
    secrets = {
        name
        for form in forms
        for name in dir(form)
        if getattr(getattr(form, name), "field_class", None) in {PasswordField, FileField}
    }
    assert {"password", "client_secret", "present_password"} <= secrets
    assert [name for name in secrets | {"typed_password", "key"} if not is_secret_field(name)] == []
