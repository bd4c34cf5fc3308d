"""The profile page: names, time zone and password."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from sqlalchemy import func, select, update

from portal.accounts.login import LOGINS_PER_MAILBOX
from portal.accounts.models import Account, Membership, Owner, OwnerSession
from portal.accounts.team.further import PER_PERSON
from portal.accounts.team.rights import Role
from portal.clock import utcnow
from portal.config import Registration
from portal.db import db
from tests.accounts.apps import set_up
from tests.accounts.conftest import ADA, portal_emails
from tests.accounts.people import make_team
from tests.accounts.test_login import WRONG, log_in
from tests.accounts.test_proof import make_stale, stored_session
from tests.cases import in_one_test
from tests.conftest import PASSWORD

NEW = "seven purple kettles"


def rename(browser, **changes):
    return browser.submit(
        "/account/names", {"programme": "Greenleaf", "name": "Ada F.", **changes}, page="/account"
    )


def is_in(browser):
    return browser.get("/account").status_code == 200


def change(browser, **changes):
    return browser.submit(
        "/account/password", {"present_password": PASSWORD, "password": NEW, **changes}, page="/account"
    )


def test_names_change_and_the_slug_of_the_programme_stays(owner):
    assert rename(owner).location == "/account"
    page = owner.get("/account").get_data(as_text=True)
    assert 'value="Greenleaf"' in page
    assert 'value="Ada F."' in page
    account = db.session.scalars(select(Account)).one()
    assert (account.name, account.slug) == ("Greenleaf", "brightleaf")


def test_names_of_other_accounts_stay(owner, stranger):
    rename(owner)
    assert "Copperpot" in stranger.get("/account").get_data(as_text=True)


@pytest.mark.parametrize("field", ["programme", "name"])
@in_one_test("value", ["", "  ", "x" * 101, "a\r\nb", "a\x00b", "\u202eevil"])
def test_an_invalid_name_has_an_error_beside_its_field(owner, field, value):
    answer = rename(owner, **{field: value})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert f'id="{field}-error"' in page
    assert "<title>Error: " in page
    assert db.session.scalars(select(Owner.name)).one() == "Ada Fairweather"


@pytest.mark.parametrize("name", ["Đặng Thị Hà", "محمد", "山田 太郎", "N'Golo O’Hara"])
def test_names_of_every_script_are_accepted(owner, name):
    assert rename(owner, name=name, programme=name).status_code == 303
    assert db.session.scalars(select(Owner.name)).one() == name


def choose_zone(browser, zone):
    return browser.submit("/account/time-zone", {"time_zone": zone}, page="/account")


def test_the_time_zone_is_utc_until_another_is_chosen(owner, stranger):
    page = owner.get("/account").get_data(as_text=True)
    assert '<option selected value="UTC">' in page
    assert '<optgroup label="America">' in page
    assert '<option value="America/Argentina/Buenos_Aires">Buenos Aires, Argentina</option>' in page
    assert choose_zone(owner, "Australia/Sydney").location == "/account"
    page = owner.get("/account").get_data(as_text=True)
    assert '<option selected value="Australia/Sydney">' in page
    zones = dict(db.session.execute(select(Account.slug, Account.time_zone)).all())
    assert zones == {"brightleaf": "Australia/Sydney", "copperpot": "UTC"}


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "Etc/GMT+5", "\x00", "x" * 500])
def test_an_invalid_time_zone_has_an_error_beside_its_field(owner, zone):
    answer = choose_zone(owner, zone)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert 'id="time_zone-error"' in page
    assert db.session.scalars(select(Account.time_zone)).one() == "UTC"


def test_a_time_zone_unknown_to_this_machine_stays_until_another_is_chosen(owner):
    db.session.scalars(select(Account)).one().time_zone = "America/Newtown"
    db.session.commit()
    assert '<option selected value="America/Newtown">' in owner.get("/account").get_data(as_text=True)
    assert choose_zone(owner, "America/Newtown").status_code == 303


def test_changing_the_password_logs_out_all_other_devices(app, owner):
    other = app.test_client()
    log_in(other)
    assert change(owner).location == "/account"
    assert owner.get("/account").status_code == 200
    assert other.get("/account").status_code == 303
    assert log_in(app.test_client(), password=PASSWORD).status_code == 422
    assert log_in(app.test_client(), password=NEW).status_code == 303
    assert [recipient for recipient, _ in portal_emails("password-changed")] == [ADA]


def test_changing_the_password_logs_out_who_copied_the_cookie(app, owner):
    thief = app.test_client()
    thief.set_cookie("signet", owner.get_cookie("signet").value)
    assert is_in(thief)
    second_click = app.test_client()
    second_click.set_cookie("signet", owner.get_cookie("signet").value)
    assert change(owner).status_code == 303
    assert is_in(second_click), "a request that was on the way"
    with time_machine.travel(utcnow() + timedelta(seconds=31)):
        assert not is_in(thief)
        assert is_in(owner)


def test_a_new_password_is_no_proof_of_a_person_with_a_second_factor(app, owner):
    set_up(owner)
    make_stale()
    before = stored_session()
    assert change(owner).status_code == 303
    after = stored_session()
    assert (after.proved_at, after.proved_by) == (before.proved_at, before.proved_by)
    assert after.token_hash != before.token_hash
    assert is_in(owner)


def test_the_present_password_is_required(owner):
    answer = change(owner, present_password=WRONG)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "not your current password" in page
    assert WRONG not in page
    assert NEW not in page


def test_the_new_password_is_validated(owner):
    for bad in ("", "short", "x" * 129, "qwertyuiop123", "brightleaf 2026", "ada@brightleaf.example"):
        answer = change(owner, password=bad)
        assert answer.status_code == 422, bad
        assert 'id="password-error"' in answer.get_data(as_text=True)


def test_a_session_has_ten_attempts_at_the_present_password(owner):
    for _ in range(10):
        assert change(owner, present_password=WRONG).status_code == 422
    assert change(owner).status_code == 429


def test_guesses_at_the_log_in_page_do_not_keep_the_owner_from_changing_the_password(app, owner):
    for number in range(1, LOGINS_PER_MAILBOX.amount + 2):
        network = {"REMOTE_ADDR": f"198.51.100.{number}"}
        refused = log_in(app.test_client(), password=WRONG, environ_base=network)
    assert refused.status_code == 429
    assert change(owner).status_code == 303


@pytest.mark.parametrize("path", ["/account/names", "/account/time-zone", "/account/password"])
def test_each_form_requires_a_csrf_token_and_a_session(owner, client, path):
    assert owner.post(path, data={"name": "X"}).status_code == 400
    assert owner.get(path).status_code == 405
    assert client.submit(path, {"name": "X"}, page="/log-in").location == "/log-in"


def test_a_form_with_an_expired_token_keeps_the_names_but_no_password(owner):
    names = owner.post(
        "/account/names", data={"csrf_token": "stale", "programme": "Kept name", "name": "Kept too"}
    )
    page = names.get_data(as_text=True)
    assert names.status_code == 400
    assert "Kept name" in page
    values = {"csrf_token": "stale", "present_password": PASSWORD, "password": NEW}
    page = owner.post("/account/password", data=values).get_data(as_text=True)
    assert PASSWORD not in page
    assert NEW not in page


def test_times_and_days_are_those_of_the_persons_zone(owner):
    page = owner.get("/account").get_data(as_text=True)
    assert "Times are those of UTC." in page, "that of the programme, unless the person chooses another one"
    owner.submit("/account/own-time-zone", {"own_zone": "Asia/Tokyo"}, page="/account")
    page = owner.get("/account").get_data(as_text=True)
    assert "Times are those of Asia/Tokyo." in page
    logged_in_at = db.session.scalars(select(OwnerSession.created_at)).first()
    assert f", {logged_in_at.astimezone(ZoneInfo('Asia/Tokyo')):%H:%M}</span>" in page
    assert (
        db.session.scalars(select(Owner.time_zone).where(Owner.mailbox_key.like("%brightleaf%"))).one()
        == "Asia/Tokyo"
    )
    refused = owner.submit("/account/own-time-zone", {"own_zone": "Mars/Olympus"}, page="/account")
    assert refused.status_code == 422


def test_shortcuts_can_be_switched_off(owner):
    assert 'data-shortcuts="/account/shortcuts"' in owner.get("/").get_data(as_text=True)
    assert "<kbd>g</kbd> <kbd>d</kbd>" in owner.get("/account/shortcuts").get_data(as_text=True)
    owner.submit("/account/shortcuts", {}, page="/account")
    assert "data-shortcut" not in owner.get("/").get_data(as_text=True)
    assert "They are off." in owner.get("/account/shortcuts").get_data(as_text=True)


def add(browser, name="Copperpot"):
    return browser.submit("/account/programmes", {"further": name}, page="/account")


def test_a_person_registers_another_programme_and_sees_it_at_once(owner):
    assert add(owner).location == "/"
    page = owner.get("/account").get_data(as_text=True)
    assert "Your programmes" in page
    assert 'value="Copperpot"' in page, "it is shown now"
    copperpot = db.session.scalars(select(Account).where(Account.slug == "copperpot")).one()
    assert (copperpot.approved_at, copperpot.is_waiting) == (None, False), "limited as a visitor's"
    membership = db.session.scalars(select(Membership).where(Membership.account_id == copperpot.id)).one()
    assert (membership.role, copperpot.contact_id) == (Role.OWNER, membership.owner_id)
    brightleaf = db.session.scalars(select(Account.id).where(Account.slug == "brightleaf")).one()
    assert owner.submit(f"/team/programmes/{brightleaf}/show", {}, page="/account").status_code == 303
    assert 'value="Brightleaf"' in owner.get("/account").get_data(as_text=True)


def test_a_viewer_of_a_team_registers_a_programme_with_the_same_log_in(app):
    viewer = make_team(app).viewer
    assert add(viewer).status_code == 303
    assert viewer.get("/team").status_code == 200
    assert "Invite" in viewer.get("/team").get_data(as_text=True), "owner of the new one"


def test_an_invalid_name_of_another_programme_has_an_error_beside_its_field(owner):
    answer = add(owner, "Win at https://evil.example")
    assert answer.status_code == 422
    assert 'id="further-error"' in answer.get_data(as_text=True)
    assert add(owner, "").status_code == 422
    assert db.session.scalar(select(func.count(Account.id))) == 1


def test_a_person_registers_a_few_programmes_a_day(owner):
    answers = [add(owner, f"Programme {number}").status_code for number in range(PER_PERSON.amount + 1)]
    assert answers == [303] * PER_PERSON.amount + [429]


class TestClosed:
    @pytest.fixture
    def config(self, config):
        return replace(config, registration=Registration.CLOSED)

    def test_only_operators_add_programmes(self, owner):
        assert "Another programme" not in owner.get("/account").get_data(as_text=True)
        assert add(owner).status_code == 403
        db.session.execute(update(Owner).values(is_operator=True))
        db.session.commit()
        assert add(owner).status_code == 303
        copperpot = db.session.scalars(select(Account).where(Account.slug == "copperpot")).one()
        assert copperpot.approved_at is not None


class TestApproved:
    @pytest.fixture
    def config(self, config):
        return replace(config, registration=Registration.APPROVE)

    def test_a_further_programme_waits_for_an_operator(self, owner):
        assert add(owner).status_code == 303
        assert db.session.scalars(select(Account).where(Account.slug == "copperpot")).one().is_waiting
