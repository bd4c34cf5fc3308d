"""Passkeys: only what the right authenticator has signed for this portal, this challenge and this person is accepted."""

from __future__ import annotations

import json
import re

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import func, select

from portal.accounts.factors import passkeys
from portal.accounts.factors.models import LoginChallenge, Passkey, RecoveryCode
from portal.accounts.models import OwnerSession, ProvedBy
from portal.clock import utcnow
from portal.db import db
from tests.accounts import apps
from tests.accounts.apps import PAGE, STEP, codes_in, first_step
from tests.accounts.authenticators import Authenticator, encode
from tests.accounts.conftest import ADA, portal_emails
from tests.accounts.test_proof import make_stale, stored_session
from tests.accounts.test_second_factor import later
from tests.conftest import make_config
from tests.pages import csrf_token

KEYS = f"{PAGE}/passkeys"
WITH_ANSWER = "/log-in/passkey"
PROOF = "/account/is-it-you/passkey"
NAME = "Blue key"


@pytest.fixture
def config(tmp_path):
    return make_config(tmp_path / "instance", env={"SIGNET_BASE_URL": "http://localhost"})


def count(table):
    found = db.session.scalar(select(func.count()).select_from(table))
    db.session.commit()
    return found


def options(browser, path, page):
    answer = browser.submit(f"{path}/options", {}, page=page)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return json.loads(answer.get_data(as_text=True))


def add(browser, key, **faults):
    answer = key.make(options(browser, KEYS, PAGE), **faults)
    return browser.submit(KEYS, {"name": NAME, "credential": answer}, page=PAGE)


def log_in(browser, key, /, **faults):
    answer = key.sign(options(browser, WITH_ANSWER, "/log-in"), **faults)
    return browser.submit(WITH_ANSWER, {"credential": answer}, page="/log-in")


@pytest.mark.both_databases
def test_a_passkey_logs_in_alone_and_makes_the_password_need_a_second_step(app, owner):
    key = Authenticator()
    asked = options(owner, KEYS, PAGE)
    assert asked["authenticatorSelection"]["residentKey"] == "required"
    assert asked["authenticatorSelection"]["userVerification"] == "required"
    assert asked["rp"]["id"] == "localhost"
    done = add(owner, key)
    codes = codes_in(done.get_data(as_text=True))
    assert len(codes) == 10
    page = owner.get(PAGE).get_data(as_text=True)
    assert NAME in page
    assert "not used yet" in page
    told = portal_emails("second-factor")[-1][1]
    assert "A passkey was added to your log-in: Blue key." in told
    assert "remove what is not yours" in told, "a new password would leave it"

    browser = app.test_client()
    asked = options(browser, WITH_ANSWER, "/log-in")
    assert asked["userVerification"] == "required"
    assert not asked.get("allowCredentials"), "no list of passkeys is sent"
    assert log_in(browser, key).headers["Location"] == "/"
    assert browser.get("/account").status_code == 200
    assert "last used" in owner.get(PAGE).get_data(as_text=True)

    half = app.test_client()
    assert first_step(half, ADA) == STEP
    assert "Log in with a passkey" in half.get(STEP).get_data(as_text=True)
    assert log_in(half, key).status_code == 303
    third = app.test_client()
    first_step(third, ADA)
    assert apps.second_step(third, codes[0]) == 303

    again = Authenticator(id=key.id)
    assert add(owner, again).status_code == 422, "a credential exists once"
    asked = options(owner, KEYS, PAGE)
    assert [one["id"] for one in asked["excludeCredentials"]] == [encode(key.id)]
    second = Authenticator()
    assert add(owner, second).status_code == 303
    assert second.handle == key.handle

    ids = list(db.session.scalars(select(Passkey.id).order_by(Passkey.id)))
    db.session.commit()
    for id_ in ids:
        assert owner.submit(f"{KEYS}/{id_}/remove", {}, page=PAGE).status_code == 303
    assert count(RecoveryCode) == 0
    assert log_in(app.test_client(), key).status_code == 422
    assert owner.submit(f"{KEYS}/{ids[0]}/remove", {}, page=PAGE).status_code == 404


@pytest.mark.both_databases
def test_an_id_that_no_database_holds_is_refused_without_an_error(app, owner):
    key = Authenticator()
    add(owner, key)
    browser = app.test_client()
    for id_ in ("\x00", "\ud800", "x" * 5_000):
        answer = json.loads(key.sign(options(browser, WITH_ANSWER, "/log-in"))) | {"id": id_}
        refused = browser.submit(WITH_ANSWER, {"credential": json.dumps(answer)}, page="/log-in")
        assert refused.status_code == 422
    assert add(owner, Authenticator(id=b"x" * 1_100)).status_code == 422
    assert add(owner, Authenticator(id=b"x" * 1_023)).status_code == 303


def test_nothing_but_the_right_signature_for_this_log_in_is_accepted(app, owner, stranger):
    key = Authenticator()
    add(owner, key)
    assert log_in(app.test_client(), key).status_code == 303
    before = count(OwnerSession)
    faults = [
        {"challenge": encode(b"x" * 64)},
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:8000"},
        {"host": "evil.example"},
        {"kind": "webauthn.create"},
        {"verified": False},
        {"key": ec.generate_private_key(ec.SECP256R1())},
        {"handle": b"of another person"},
        {"handle": b""},
        {"count": 1},
    ]
    browser = app.test_client()
    for fault in faults:
        kept, answer = key.count, log_in(browser, key, **fault)
        key.count = kept
        assert answer.status_code == 422, fault
        assert "This passkey was not accepted." in answer.get_data(as_text=True)
    for malformed in (
        "",
        "{",
        "[]",
        "7",
        "[" * 9000,
        "x" * 20_000,
        json.dumps({"id": 7}),
        key.sign({"challenge": ""}),
    ):
        options(browser, WITH_ANSWER, "/log-in")
        assert browser.submit(WITH_ANSWER, {"credential": malformed}, page="/log-in").status_code == 422
    assert log_in(browser, Authenticator(handle=key.handle)).status_code == 422, "unknown"

    answer = key.sign(options(browser, WITH_ANSWER, "/log-in"))
    other = app.test_client()
    options(other, WITH_ANSWER, "/log-in")
    assert other.submit(WITH_ANSWER, {"credential": answer}, page="/log-in").status_code == 422, (
        "another browser"
    )
    with later(minutes=5, seconds=1):
        late = browser.submit(WITH_ANSWER, {"credential": answer}, page="/log-in")
        assert late.status_code == 422, "too late"
    assert count(OwnerSession) == before
    answer = key.sign(options(browser, WITH_ANSWER, "/log-in"))
    assert browser.submit(WITH_ANSWER, {"credential": answer}, page="/log-in").status_code == 303
    replayed = other.submit(WITH_ANSWER, {"credential": answer}, page="/log-in")
    assert replayed.status_code == 422, "a challenge counts once"


def test_a_passkey_is_added_only_for_the_person_who_was_asked(app, owner, stranger):
    for fault in (
        {"challenge": encode(b"x" * 64)},
        {"origin": "https://evil.example"},
        {"host": "evil.example"},
        {"kind": "webauthn.get"},
        {"verified": False},
    ):
        assert add(owner, Authenticator(), **fault).status_code == 422, fault
    for malformed in ("", "{", "[" * 9000, json.dumps({"id": "x", "rawId": "x", "type": "public-key"})):
        options(owner, KEYS, PAGE)
        refused = owner.submit(KEYS, {"name": NAME, "credential": malformed}, page=PAGE)
        assert refused.status_code == 422
        assert NAME in refused.get_data(as_text=True), "what was typed stays"
    assert owner.submit(KEYS, {"name": "", "credential": "{}"}, page=PAGE).status_code == 422
    answer = Authenticator().make(options(owner, KEYS, PAGE))
    with owner.session_transaction() as mine, stranger.session_transaction() as theirs:
        theirs["passkey"] = mine["passkey"]
    assert stranger.submit(KEYS, {"name": NAME, "credential": answer}, page=PAGE).status_code == 422
    assert count(Passkey) == 0

    key = Authenticator()
    add(owner, key)
    mine = db.session.scalars(select(Passkey.id)).one()
    db.session.commit()
    assert stranger.submit(f"{KEYS}/{mine}/remove", {}, page=PAGE).status_code == 404
    assert count(Passkey) == 1


def test_a_passkey_proves_who_the_person_is_and_no_other_ones_does(app, owner, stranger):
    key, theirs = Authenticator(), Authenticator()
    add(owner, key)
    add(stranger, theirs)
    make_stale()
    asked = owner.submit(KEYS, {"name": "Second"}, page=PAGE)
    assert asked.status_code == 403
    html = asked.get_data(as_text=True)
    assert f'data-passkey-options="{PROOF}/options"' in html
    hidden = re.search(r'name="kept" value="([^"]*Second[^"]*)"', html)[1].replace("&#34;", '"')
    for one, status in ((theirs, 422), (key, 303)):
        answer = one.sign(options(owner, PROOF, "/account"))
        fields = {"credential": answer, "to": PAGE, "kept": hidden}
        done = owner.submit(PROOF, fields, page="/account")
        assert done.status_code == status
    assert done.location == f"{PAGE}?kept=1"
    assert 'value="Second"' in owner.get(done.location).get_data(as_text=True)
    assert stored_session().proved_by is ProvedBy.PASSKEY
    evil = {"credential": key.sign(options(owner, PROOF, "/account")), "to": "https://evil.example/"}
    assert owner.submit(PROOF, evil, page="/account").location == "/account"


def test_questions_for_passkeys_are_limited_and_cleaned_up(app, owner):
    browser = app.test_client()
    token = csrf_token(browser.get("/log-in").get_data(as_text=True))
    found = [
        browser.post(f"{WITH_ANSWER}/options", data={"csrf_token": token}).status_code
        for _ in range(passkeys._PER_NETWORK.amount + 1)
    ]
    assert found == [200] * passkeys._PER_NETWORK.amount + [429]
    with later(minutes=6):
        passkeys.challenges.delete_old(utcnow())
        assert count(LoginChallenge) == 0


def test_a_host_with_a_name_has_passkeys_under_the_origin_that_browsers_state():
    hosts = {"127.0.0.1": False, "::1": False, "192.0.2.7": False, "localhost": True, "signet.example": True}
    assert {host: passkeys.can_have_passkeys(host) for host in hosts} == hosts
    for base, origin in (
        ("https://Signet.example:443", "https://signet.example"),
        ("https://signet.example:8443", "https://signet.example:8443"),
        ("https://signet.example", "https://signet.example"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:8080", "http://localhost:8080"),
    ):
        assert passkeys.origin_of(base) == origin
