"""Log-in and log-out: answers, cookies, rate limits, rehashing and the redirect afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import pytest
import time_machine
from argon2 import PasswordHasher, extract_parameters
from sqlalchemy import select

from portal import demo
from portal.accounts import known_browsers, standing
from portal.accounts.login import (
    LOGINS_PER_BROWSER,
    LOGINS_PER_MAILBOX,
    LOGINS_PER_MAILBOX_AND_NETWORK,
    LOGINS_PER_MAILBOX_AND_NETWORK_DAILY,
    LOGINS_PER_NETWORK,
)
from portal.accounts.models import Account, Owner, OwnerSession
from portal.accounts.passwords import Hasher
from portal.accounts.tokens import hash_token
from portal.clock import utcnow
from portal.db import close_connections, db
from portal.state import get_state
from tests.accounts.conftest import ADA, mask_page
from tests.conftest import PASSWORD
from tests.pages import csrf_token
from tests.web.test_requests import OFF_SITE

WRONG = "not the right password"


def log_in(browser, mailbox=ADA, password=PASSWORD, **more):
    return browser.submit("/log-in", {"mailbox": mailbox, "password": password}, **more)


def session_of(browser):
    with browser.session_transaction() as cookie:
        return dict(cookie)


def test_the_right_password_logs_in(client, ada):
    answer = log_in(client)
    assert answer.status_code == 303
    assert answer.location == "/"
    assert client.get("/account").status_code == 200


def test_case_and_space_around_a_mailbox_do_not_matter(client, ada):
    assert log_in(client, mailbox="  ADA@Brightleaf.EXAMPLE ").status_code == 303


def test_space_around_a_password_matters(client, ada):
    assert log_in(client, password=PASSWORD + " ").status_code == 422


def test_a_wrong_password_is_refused_and_never_sent_back(client, ada):
    answer = log_in(client, password=WRONG)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "is wrong" in page
    assert "<title>Error: " in page
    assert WRONG not in page
    assert f'value="{ADA}"' in page


def test_a_known_and_an_unknown_mailbox_get_the_same_answer(client, ada):
    known, unknown = (
        log_in(client, password=WRONG),
        log_in(client, mailbox="eve@brightleaf.example", password=WRONG),
    )
    assert known.status_code == unknown.status_code == 422
    assert mask_page(known.get_data(as_text=True)) == mask_page(unknown.get_data(as_text=True))
    drop = {"Date", "Set-Cookie", "Content-Length"}
    assert {k: v for k, v in known.headers if k not in drop} == {
        k: v for k, v in unknown.headers if k not in drop
    }


@pytest.mark.parametrize("mailbox", [ADA, "eve@brightleaf.example"])
def test_each_refusal_costs_exactly_one_verification(client, ada, counting, mailbox):
    log_in(client, mailbox=mailbox, password=WRONG)
    assert (counting.verified, counting.hashed) == (1, 0)


def test_the_dummy_hash_costs_as_much_as_a_real_one(app, ada, client, counting):
    log_in(client, mailbox="eve@brightleaf.example", password=WRONG)
    real = db.session.get_one(Owner, ada).password_hash
    assert extract_parameters(counting._dummy) == extract_parameters(real)


@pytest.mark.parametrize("field", ["mailbox", "password"])
def test_an_empty_field_has_an_error(client, ada, field):
    answer = log_in(client, **{field: ""})
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.get_data(as_text=True)


def test_a_log_in_without_csrf_token_is_refused_and_keeps_the_mailbox_only(client, ada):
    answer = client.post("/log-in", data={"mailbox": ADA, "password": PASSWORD})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 400
    assert ADA in page
    assert PASSWORD not in page


def test_the_log_in_clears_the_previous_session_cookie(client, ada):
    client.get("/log-in")
    with client.session_transaction() as cookie:
        cookie["planted"] = "by an attacker"
    before = session_of(client)
    log_in(client)
    after = session_of(client)
    assert "planted" not in after
    assert after.get("csrf_token") != before["csrf_token"]


def test_a_planted_session_token_is_not_adopted(client, ada):
    with client.session_transaction() as cookie:
        cookie["_user_id"] = planted = "a token an attacker chose"
    assert client.get("/account").status_code == 303
    log_in(client)
    assert session_of(client)["_user_id"] != planted


def test_the_cookie_contains_a_random_token_and_the_table_its_hash(client, ada):
    log_in(client)
    token = session_of(client)["_user_id"]
    assert len(token) == 43
    assert db.session.scalars(select(OwnerSession.token_hash)).all() == [hash_token(token)]


def test_the_hash_in_the_table_does_not_log_in(client, ada):
    log_in(client)
    with client.session_transaction() as cookie:
        cookie["_user_id"] = hash_token(cookie["_user_id"])
    assert client.get("/account").status_code == 303


def test_logging_out_ends_the_session_on_the_server_too(client, ada):
    log_in(client)
    stolen = session_of(client)
    assert client.submit("/log-out", {}, page="/account").status_code == 303
    assert "_user_id" not in session_of(client)
    with client.session_transaction() as cookie:
        cookie.update(stolen)
    assert client.get("/account").status_code == 303


def test_logging_out_requires_a_post_with_a_csrf_token(owner):
    assert owner.get("/log-out").status_code == 405
    assert owner.post("/log-out").status_code == 400
    assert owner.get("/account").status_code == 200


def test_a_logged_in_owner_is_redirected_from_the_log_in_page(owner):
    assert owner.get("/log-in").location == "/"
    assert owner.get("/register").location == "/"


def test_the_eleventh_attempt_for_a_mailbox_from_a_network_is_refused_even_with_the_right_password(
    client, ada, counting
):
    for _ in range(LOGINS_PER_MAILBOX_AND_NETWORK.amount):
        assert log_in(client, password=WRONG).status_code == 422
    answer = log_in(client)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 429
    assert "Wait " in page
    assert f'value="{ADA}"' in page
    assert 0 < int(answer.headers["Retry-After"]) <= 975
    assert counting.verified == LOGINS_PER_MAILBOX_AND_NETWORK.amount, (
        "a refused attempt costs no verification"
    )


def test_an_unknown_mailbox_has_the_same_rate_limit(client, ada):
    for _ in range(LOGINS_PER_MAILBOX_AND_NETWORK.amount):
        log_in(client, mailbox="eve@brightleaf.example", password=WRONG)
    assert log_in(client, mailbox="eve@brightleaf.example", password=WRONG).status_code == 429


def test_other_spellings_of_a_mailbox_share_its_rate_limit(client, ada):
    for n in range(LOGINS_PER_MAILBOX_AND_NETWORK.amount):
        log_in(client, mailbox=ADA.upper() if n % 2 else ADA, password=WRONG)
    assert log_in(client, mailbox=" Ada@brightleaf.example").status_code == 429


def test_a_network_has_one_rate_limit_for_all_mailboxes(app, client, ada):
    for n in range(LOGINS_PER_NETWORK.amount):
        assert log_in(client, mailbox=f"guess{n}@brightleaf.example", password=WRONG).status_code == 422
    assert log_in(client).status_code == 429
    other = app.test_client()
    assert log_in(other, environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 303


def test_all_addresses_of_an_ipv6_network_share_one_rate_limit(client, ada):
    for n in range(LOGINS_PER_NETWORK.amount):
        address = {"REMOTE_ADDR": f"2001:db8:1:2::{n + 1:x}"}
        log_in(client, mailbox=f"guess{n}@brightleaf.example", password=WRONG, environ_base=address)
    assert log_in(client, environ_base={"REMOTE_ADDR": "2001:db8:1:2:ffff::1"}).status_code == 429
    assert log_in(client, environ_base={"REMOTE_ADDR": "2001:db8:1:3::1"}).status_code == 303


def test_an_attempt_is_allowed_again_after_the_time_that_the_answer_states(client, ada):
    with time_machine.travel(utcnow(), tick=False) as clock:
        for _ in range(LOGINS_PER_MAILBOX_AND_NETWORK.amount + 1):
            answer = log_in(client, password=WRONG)
        clock.shift(timedelta(seconds=int(answer.headers["Retry-After"])))
        assert log_in(client).status_code == 303


def test_a_correct_password_resets_the_rate_limit_of_the_mailbox(client, ada, app):
    for _ in range(3):
        for _ in range(LOGINS_PER_MAILBOX_AND_NETWORK.amount - 1):
            log_in(client, password=WRONG)
        assert log_in(app.test_client()).status_code == 303


def guess(app, networks, times=1):
    """Try wrong passwords for Ada's mailbox from other networks, all on one page; return the status codes."""
    browser = app.test_client()
    token = csrf_token(browser.get("/log-in").get_data(as_text=True))
    form = {"csrf_token": token, "mailbox": ADA, "password": WRONG}
    return [
        browser.post("/log-in", data=form, environ_base={"REMOTE_ADDR": network}).status_code
        for network in networks
        for _ in range(times)
    ]


NETWORKS = [f"198.51.100.{number}" for number in range(1, 200)]


def test_guesses_from_one_network_do_not_lock_the_owner_out_of_another(app, client, ada):
    assert guess(app, NETWORKS[:1], 30).count(422) == LOGINS_PER_MAILBOX_AND_NETWORK.amount
    assert log_in(client).status_code == 303


def test_all_networks_together_have_a_hundred_guesses_of_a_mailbox_in_a_day(app, client, ada):
    assert guess(app, NETWORKS).count(422) == LOGINS_PER_MAILBOX.amount == 100
    answer = log_in(client)
    assert answer.status_code == 429
    page = answer.get_data(as_text=True)
    assert "Wait 25 hours" in page
    assert "You can also choose a new password" in page


def test_a_browser_that_logged_in_before_is_not_locked_out_by_guesses_of_others(app, client, ada):
    assert log_in(client).status_code == 303
    client.submit("/log-out", {}, page="/account")
    guess(app, NETWORKS)
    for number in range(LOGINS_PER_NETWORK.amount):  # from its own network, too
        log_in(app.test_client(), mailbox=f"guess{number}@brightleaf.example", password=WRONG)
    assert log_in(app.test_client()).status_code == 429
    assert log_in(client).status_code == 303


def test_a_browser_that_logged_in_before_has_ten_attempts_of_its_own(client, ada):
    log_in(client)
    client.submit("/log-out", {}, page="/account")
    for _ in range(LOGINS_PER_BROWSER.amount):
        assert log_in(client, password=WRONG).status_code == 422
    assert log_in(client).status_code == 429


def test_one_network_cannot_use_up_the_guesses_of_a_day(app, client, ada):
    with time_machine.travel(utcnow(), tick=False) as clock:
        found, answers = [], [422]
        for step in range(24 * 3):
            if 422 in answers or step % 12 == 11:  # every four hours once the day's guesses are used up
                answers = guess(app, NETWORKS[:1], 11)
                found += answers
            clock.shift(timedelta(minutes=20))
    assert 0 < found.count(422) <= LOGINS_PER_MAILBOX_AND_NETWORK_DAILY.amount < LOGINS_PER_MAILBOX.amount
    assert log_in(client).status_code == 303


def test_the_browser_cookie_of_an_owner_is_of_no_use_for_another_mailbox_nor_forged(
    app, client, ada, stranger
):
    stranger.submit("/log-out", {}, page="/account")
    forged = app.test_client()
    signed = known_browsers.cookie_with(ada, None)
    forged.set_cookie("signet-browser", signed[:-2] + ("AA" if signed[-2:] != "AA" else "BB"))
    guess(app, NETWORKS)
    assert log_in(stranger).status_code == 429
    assert log_in(forged).status_code == 429
    forged.set_cookie("signet-browser", signed)
    assert log_in(forged).status_code == 303


def test_the_browser_cookie_opens_nothing_and_scripts_cannot_read_it(client, ada):
    (cookie,) = [one for one in log_in(client).headers.getlist("Set-Cookie") if "signet-browser" in one]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Max-Age=31536000" in cookie
    client.delete_cookie("signet")
    assert client.get_cookie("signet-browser") is not None
    assert client.get("/account").status_code == 303


def test_several_owners_can_share_a_known_browser(app, ada):
    cookie = known_browsers.cookie_with(ada, None)
    for owner_id in range(100, 103):
        cookie = known_browsers.cookie_with(owner_id, known_browsers.read(cookie))
    assert known_browsers.read(cookie).owner_ids == (102, 101, 100, ada)
    assert known_browsers.read("") is known_browsers.read(None) is known_browsers.read("x.y.z") is None


def test_a_forged_forwarded_address_does_not_bypass_the_rate_limit(client, ada):
    for n in range(LOGINS_PER_NETWORK.amount + 1):
        headers = {"X-Forwarded-For": f"198.51.100.{n}"}
        answer = log_in(client, mailbox=f"g{n}@brightleaf.example", password=WRONG, headers=headers)
    assert answer.status_code == 429


def test_a_hash_with_former_parameters_is_replaced_at_log_in(client, ada):
    owner = db.session.get_one(Owner, ada)
    owner.password_hash = former = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    db.session.commit()
    assert log_in(client).status_code == 303
    now = db.session.get_one(Owner, ada, populate_existing=True).password_hash
    assert now != former
    assert "t=1" in now
    db.session.commit()
    assert log_in(client.application.test_client()).status_code == 303


@pytest.mark.parametrize("stored", ["", "not a hash", "$argon2id$v=19$m=8,t=1,p=1$broken"])
def test_a_damaged_hash_rejects_every_password(client, ada, stored):
    db.session.get_one(Owner, ada).password_hash = stored
    db.session.commit()
    assert log_in(client).status_code == 422


def test_a_password_that_changed_during_verification_does_not_log_in(app, client, ada):
    class ChangingHasher(Hasher):
        def verify(self, stored, password):
            right = super().verify(stored, password)
            db.session.get_one(Owner, ada).password_hash = "changed"
            db.session.commit()
            return right

    get_state(app).put(Hasher, ChangingHasher(get_state(app).part(Hasher)._hasher))
    assert log_in(client).status_code == 422
    assert db.session.scalars(select(OwnerSession)).all() == []


def test_after_log_in_the_owner_is_redirected_to_the_requested_page(client, ada):
    location = client.get("/deliveries?status=failed&x=1").location
    assert location == "/log-in?next=/deliveries?status%3Dfailed%26x%3D1"
    answer = client.submit(location, {"mailbox": ADA, "password": PASSWORD})
    assert answer.location == "/deliveries?status=failed&x=1"


def test_the_redirect_target_survives_a_wrong_password(client, ada):
    answer = client.submit("/log-in?next=/account", {"mailbox": ADA, "password": WRONG})
    assert 'action="/log-in?next=/account"' in answer.get_data(as_text=True)


def test_a_post_after_log_out_is_explained_and_not_repeated(owner):
    owner.get("/account")
    with owner.session_transaction() as cookie:
        cookie["_user_id"] = "gone"
    names = {"programme": "X", "name": "Y"}
    answer = owner.submit("/account/names", names, page="/log-in", follow_redirects=True)
    assert answer.request.path == "/log-in"
    assert "nothing was changed" in answer.get_data(as_text=True)


@pytest.mark.parametrize("path", ["/account", "/deliveries", "/settings/email-preferences"])
def test_the_redirect_to_log_in_does_not_contain_the_host_header(client, path):
    location = client.get(path, headers={"Host": "localhost"}).location
    assert location.startswith("/log-in?next=/")
    assert "localhost" not in location


@pytest.mark.parametrize("target", OFF_SITE[::10])  # tests/web/test_requests.py tries all of them
def test_a_log_in_never_redirects_to_another_site(client, ada, target):
    answer = client.submit(f"/log-in?next={quote(target, safe='')}", {"mailbox": ADA, "password": PASSWORD})
    assert answer.status_code == 303
    assert answer.location == "/"


def test_the_demo_password_opens_nothing_outside_a_rehearsal(app, client):
    demo.seed()
    assert log_in(client, demo.MAILBOX, demo.PASSWORD).status_code == 303
    state = get_state(app)
    state.config = replace(state.config, rehearsal=False)
    unknown = log_in(app.test_client(), "nobody@brightleaf.example", demo.PASSWORD)
    refused = log_in(app.test_client(), demo.MAILBOX, demo.PASSWORD)
    assert refused.status_code == unknown.status_code == 422
    assert mask_page(refused.get_data(as_text=True)) == mask_page(unknown.get_data(as_text=True))
    assert demo.has_published_password()
    assert demo.replace_published_password(utcnow())
    assert not demo.has_published_password()
    assert client.get("/account").status_code == 303, "its sessions have ended"


@pytest.mark.only_postgresql
def test_a_log_in_does_not_wait_for_a_decision_about_the_account(app, ada):
    """It has locked its person, whom an approval changes next: each would wait for the other."""
    account_id = db.session.scalars(select(Account.id)).one()
    db.session.commit()
    with ThreadPoolExecutor(1) as pool:
        standing._lock(account_id)
        other = pool.submit(log_in, app.test_client())
        try:
            assert other.result(20).status_code == 303
        finally:
            db.session.rollback()
    close_connections()
