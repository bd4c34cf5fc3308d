"""The second factor: its set-up, the second step of a log-in, and every door that must ask for it."""

from __future__ import annotations

import ast
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
import time_machine
from sqlalchemy import func, select, text

from portal.about import ROOT
from portal.accounts.factors import challenges, second_step, totp
from portal.accounts.factors.entry import Entry
from portal.accounts.factors.models import LoginChallenge, Passkey, RecoveryCode, Totp
from portal.accounts.login import Visitor
from portal.accounts.models import Membership, Owner, OwnerSession, ProvedBy
from portal.accounts.sessions import Device
from portal.accounts.team.rights import Role
from portal.clock import utcnow
from portal.db import close_connections, db
from portal.jobs.registry import job_registry
from portal.state import get_state
from tests.accounts import apps
from tests.accounts.apps import NEW_APP, PAGE, STEP, begin, codes_in, first_step, set_up
from tests.accounts.conftest import ADA, path_in, portal_emails
from tests.accounts.people import invited_path
from tests.accounts.test_mailbox_change import change
from tests.accounts.test_proof import make_stale, prove, stored_session
from tests.conftest import PASSWORD
from tests.test_architecture import sources

BO = "bo@copperpot.example"


def later(**by):
    return time_machine.travel(utcnow() + timedelta(**by), tick=True)


def count(table, *where):
    found = db.session.scalar(select(func.count()).select_from(table).where(*where))
    db.session.commit()
    return found


def is_in(browser):
    return browser.get("/account").status_code == 200


def subjects():
    """Return the first words of the emails about second factors."""
    return [text.splitlines()[2] for to, text in portal_emails("second-factor")]


# -- the codes


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
    ],
)
def test_codes_are_those_of_the_rfc_within_one_step(seconds, code):
    """RFC 6238, appendix B, the last six digits."""
    secret, now = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", datetime.fromtimestamp(seconds, UTC)
    assert totp.matching_step(secret, code, now=now) == seconds // 30
    for off in (0, 30, -30 if seconds > 60 else 0):
        assert totp.matching_step(secret, code, now=now + timedelta(seconds=off)) == seconds // 30
    for off in (60, 90, -60 if seconds > 60 else 60):
        assert totp.matching_step(secret, code, now=now + timedelta(seconds=off)) is None
    for wrong in ("", "28708", code + "0", "١٢٣٤٥٦", "\udcff"):
        assert totp.matching_step(secret, wrong, now=now) is None


# -- set-up


@pytest.mark.both_databases
def test_an_app_is_set_up_by_its_first_code_and_shows_recovery_codes_once(app, owner):
    empty = owner.get(PAGE).get_data(as_text=True)
    assert "You log in with your password only" in empty
    assert "the address of this portal is an IP address" in empty
    assert "Log in with a passkey" not in app.test_client().get("/log-in").get_data(as_text=True)
    phone, hidden, token = begin(owner)
    fields = {"csrf_token": token, "secret": hidden}
    wrong = owner.post(NEW_APP, data={**fields, "code": phone.wrong()})
    assert wrong.status_code == 422
    text = wrong.get_data(as_text=True)
    assert "This is not the current code of the app." in text
    assert "data:image/svg+xml" in text, "the QR code stays"
    assert count(Totp) == 0, "nothing is stored before the first right code"
    done = owner.post(NEW_APP, data={**fields, "code": f" {phone.code()[:3]} {phone.code()[3:]} "})
    codes = codes_in(done.get_data(as_text=True))
    assert len(set(codes)) == 10
    assert 'download="signet-recovery-codes.txt"' in done.get_data(as_text=True)
    page = owner.get(PAGE).get_data(as_text=True)
    assert "10 of 10 recovery codes are left." in page
    assert not codes_in(page)
    assert "You need a code as well to log in." in owner.get("/account").get_data(as_text=True)
    assert subjects() == [
        "An authenticator app was set up for your log-in. After your password, a log-in now asks for one of its codes."
    ]
    row = db.session.scalars(select(Totp)).one()
    stored = repr([getattr(row, column.name) for column in Totp.__table__.columns])
    hashes = repr(list(db.session.scalars(select(RecoveryCode.code_hash))))
    db.session.commit()
    assert phone.secret not in stored
    assert not any(code in hashes or code.replace("-", "") in hashes for code in codes)


def test_the_key_of_another_session_or_of_an_old_page_sets_nothing_up(app, owner, stranger):
    phone, hidden, _token = begin(owner)
    theirs = begin(stranger)[2]
    stolen = stranger.post(NEW_APP, data={"csrf_token": theirs, "secret": hidden, "code": phone.code()})
    assert stolen.status_code == 303, "sealed for another person and session"
    phone, hidden, token = begin(owner)
    for bad in ("", "%%%", "AAAA", hidden[:-8] + "AAAAAAA="):
        answer = owner.post(NEW_APP, data={"csrf_token": token, "secret": bad, "code": phone.code()})
        assert answer.status_code == 303
    with later(minutes=15, seconds=1):
        fields = {"csrf_token": token, "secret": hidden, "code": phone.code()}
        assert owner.post(NEW_APP, data=fields).status_code == 303
        assert "The set-up took too long." in owner.get(PAGE).get_data(as_text=True)
    assert count(Totp) == 0


def test_changes_need_a_proof_by_password_and_code_and_are_emailed(app, owner):
    first, codes = set_up(owner)
    make_stale()
    assert "/is-it-you" in owner.get(NEW_APP).location
    with later(minutes=1):
        for path in ("app/remove", "recovery-codes", "passkeys", "passkeys/options"):
            asked = owner.submit(f"{PAGE}/{path}", {"name": "Phone"}, page=PAGE)
            assert asked.status_code == 403, path
        assert 'name="code"' in asked.get_data(as_text=True)
        for password, code in (("a wrong password", first.code()), (PASSWORD, first.wrong()), (PASSWORD, "")):
            assert prove(owner, asked, password, code=code).status_code == 422
            assert owner.get(NEW_APP).status_code == 303
        assert prove(owner, asked, code=first.code()).status_code == 303
        assert stored_session().proved_by is ProvedBy.CODE
        make_stale()
        assert prove(owner, asked, code=first.code()).status_code == 422, "the code has counted"
        assert prove(owner, asked, code=codes[0]).status_code == 303
    with later(minutes=2):
        made = owner.submit(f"{PAGE}/recovery-codes", {}, page=PAGE)
        fresh = codes_in(made.get_data(as_text=True))
    assert len(fresh) == 10
    assert not set(fresh) & set(codes)
    with later(minutes=3):
        second, none = set_up(owner)
        assert none == [], "recovery codes still work"
    assert second.secret != first.secret
    with later(minutes=5):
        browser = app.test_client()
        assert first_step(browser, ADA).startswith(STEP)
        assert apps.second_step(browser, codes[1]) == 422, "new codes end the former ones"
        assert apps.second_step(browser, first.code()) == 422, "the former app counts no more"
        assert apps.second_step(browser, second.code()) == 303
        assert owner.submit(f"{PAGE}/app/remove", {}, page=PAGE).status_code == 303
        assert (count(Totp), count(RecoveryCode)) == (0, 0)
        assert first_step(app.test_client(), ADA) == "/"
        assert owner.submit(f"{PAGE}/recovery-codes", {}, page=PAGE).status_code == 303
        assert count(RecoveryCode) == 0, "no codes without a factor"
    assert [subject.split(" for your")[0].split(" from your")[0] for subject in subjects()] == [
        "An authenticator app was set up",
        "A recovery code was used",
        "New recovery codes were created",
        "An authenticator app was set up",
        "The authenticator app was removed",
    ]


# -- the second step


@pytest.mark.both_databases
def test_a_log_in_needs_password_and_code_and_each_code_counts_once(app, owner):
    phone, codes = set_up(owner)
    browser = app.test_client()
    with later(minutes=2):
        assert first_step(browser, ADA) == STEP
        with browser.session_transaction() as cookie:
            assert "_user_id" not in cookie
        assert not is_in(browser)
        sessions = count(OwnerSession)
        page = browser.get(STEP).get_data(as_text=True)
        assert 'autocomplete="one-time-code"' in page
        assert ADA not in page
        assert apps.second_step(browser, "") == 422
        assert apps.second_step(browser, phone.wrong()) == 422
        assert apps.second_step(browser, phone.code(steps=-2)) == 422
        assert count(OwnerSession) == sessions
        used = phone.code(steps=1)
        assert apps.second_step(browser, used) == 303
        assert is_in(browser)
        assert count(LoginChallenge) == 0

        replayed = app.test_client()
        first_step(replayed, ADA)
        assert apps.second_step(replayed, used) == 422, "the same code twice"
        assert apps.second_step(replayed, phone.code()) == 422, "an earlier step than that of the last code"
        spelled = codes[0].upper().replace("-", " ").replace("0", "O").replace("1", "l")
        assert apps.second_step(replayed, spelled) == 303
        assert is_in(replayed)
    with later(minutes=4):
        again = app.test_client()
        first_step(again, ADA)
        assert apps.second_step(again, codes[0]) == 422, "a recovery code twice"
        assert apps.second_step(again, phone.code()) == 303
    assert "A recovery code was used for your log-in. 9 codes are left." in subjects()


def test_five_wrong_codes_end_the_log_in_and_the_person_is_informed(app, owner):
    phone, _codes = set_up(owner)
    browser = app.test_client()
    with later(minutes=2):
        first_step(browser, ADA)
        found = [apps.second_step(browser, code) for code in (phone.wrong(), "zzzz-zzzz-zzzz-zzzz") * 2]
        assert found == [422] * 4
        last = browser.submit(STEP, {"code": phone.wrong()})
        assert last.headers["Location"] == "/log-in"
        assert "five minutes and five attempts" in browser.get("/log-in").get_data(as_text=True)
        assert browser.get(STEP).status_code == 303
        assert subjects()[-1].startswith("Your password was entered, and then several wrong codes.")
        assert not is_in(browser)
        first_step(browser, ADA)
        assert apps.second_step(browser, phone.code()) == 303


def test_a_log_in_waits_five_minutes_and_not_beyond_a_new_password(app, owner):
    phone, _codes = set_up(owner)
    browser = app.test_client()
    with later(minutes=2):
        first_step(browser, ADA)
    with later(minutes=7, seconds=1):
        assert browser.get(STEP).headers["Location"] == "/log-in"
        assert count(LoginChallenge) == 1
        for cleanup in job_registry(app).cleanups:
            cleanup(utcnow())
        assert count(LoginChallenge) == 0
        first_step(browser, ADA)
        visitor = app.test_client()
        visitor.submit("/forgot-password", {"mailbox": ADA})
        link = path_in(portal_emails("password-reset")[-1][1])
        assert visitor.submit(link, {"password": "seven purple kettles"}).status_code == 303
        assert browser.get(STEP).headers["Location"] == "/log-in", "begun with the former password"
        assert not is_in(owner)
        assert first_step(visitor, ADA, "seven purple kettles") == STEP, "a reset removes no factor"
        assert not is_in(visitor)
        assert apps.second_step(visitor, phone.code()) == 303


def test_wrong_codes_are_reported_also_where_no_log_in_had_five(app, owner):
    """Who knows the password begins anew after four."""
    phone, _codes = set_up(owner)
    with later(hours=1):
        for expected in (False, True):
            browser = app.test_client()
            first_step(browser, ADA)
            assert [apps.second_step(browser, phone.wrong()) for _ in range(4)] == [422] * 4
            assert (
                any("several wrong codes" in one for _to, one in portal_emails("second-factor")) is expected
            )


def test_codes_are_limited_for_a_person_and_for_a_network(app, owner):
    phone, codes = set_up(owner)
    with later(hours=1):
        statuses = []
        for _ in range(3):
            browser = app.test_client()
            first_step(browser, ADA)
            statuses += [
                apps.second_step(browser, wrong)
                for wrong in (phone.wrong(), "zzzz-zzzz-zzzz-zzzz", "x", phone.wrong())
            ]
        assert statuses == [422] * 10 + [429] * 2, "both kinds of codes share the limit"
        assert apps.second_step(browser, codes[0]) == 429, "also the right one"
        elsewhere = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
        other = app.test_client()
        first_step(other, ADA)
        assert apps.second_step(other, codes[0], **elsewhere) == 303


def test_a_stranger_uses_up_no_codes_of_a_known_browser_and_an_open_session(app, owner):
    """A network has 20 codes a day, all together 50; the person's browser and session have their own."""
    phone, _codes = set_up(owner)
    known = app.test_client()
    with later(minutes=2):
        first_step(known, ADA)
        assert apps.second_step(known, phone.code()) == 303
        known.submit("/log-out", {}, page="/account")

    def guesses(network):
        statuses = []
        for _ in range(6):
            browser = app.test_client()
            first_step(browser, ADA)
            at = {"environ_base": {"REMOTE_ADDR": network}}
            statuses += [apps.second_step(browser, phone.wrong(), **at) for _ in range(4)]
        return statuses

    with later(hours=1):
        assert guesses("192.0.2.7").count(422) == 10
    with later(hours=2):
        assert guesses("192.0.2.7").count(422) == 10
    with later(hours=3):
        assert guesses("192.0.2.7").count(422) == 0, "the day's codes of this network are used"
        assert [guesses(f"198.51.100.{number}").count(422) for number in (1, 2, 3, 4)] == [10, 10, 9, 0], (
            "the log-in above was one of 50"
        )
        stranger = app.test_client()
        first_step(stranger, ADA)
        elsewhere = {"environ_base": {"REMOTE_ADDR": "203.0.113.9"}}
        assert apps.second_step(stranger, phone.code(), **elsewhere) == 429
        first_step(known, ADA)
        assert apps.second_step(known, phone.code()) == 303
    assert second_step.CODES_PER_PERSON.amount + second_step.CODES_OF_DEVICES.amount <= 100, "NIST SP 800-63B"


@pytest.mark.both_databases
def test_of_two_log_ins_at_once_with_one_code_one_succeeds(app, owner):
    phone, codes = set_up(owner)
    with later(minutes=2):
        for code in (phone.code(), codes[0]):
            owner_id = db.session.scalars(select(Owner.id).where(Owner.mailbox == ADA)).one()
            tokens = [
                challenges.add(second_step.ChallengePurpose.LOG_IN, owner_id, now=utcnow()) for _ in range(2)
            ]
            db.session.commit()
            before, together = count(OwnerSession), Barrier(2)

            def complete(token, together=together, code=code):
                with app.app_context():
                    visitor = Visitor(Device("Firefox on Linux", "192.0.2.7"))
                    together.wait()
                    try:
                        return second_step.complete(token, code, visitor, now=utcnow())
                    except second_step.WrongCode:
                        return None
                    finally:
                        db.session.remove()
                        close_connections()

            with ThreadPoolExecutor(2) as pool:
                found = list(pool.map(complete, tokens))
            assert sum(one is not None for one in found) == 1
            assert count(OwnerSession) == before + 1


@pytest.mark.only_postgresql
def test_a_log_in_that_meets_a_change_of_the_password_ends_and_nothing_deadlocks(app, owner):
    """Both lock the person before the pending log-in."""
    phone, _codes = set_up(owner)
    with later(minutes=2):
        owner_id = db.session.scalars(select(Owner.id).where(Owner.mailbox == ADA)).one()
        token = challenges.add(second_step.ChallengePurpose.LOG_IN, owner_id, now=utcnow())
        db.session.commit()

        def complete():
            with app.app_context():
                visitor = Visitor(Device("Firefox on Linux", "192.0.2.7"))
                return second_step.complete(token, phone.code(), visitor, now=utcnow())

        with ThreadPoolExecutor(1) as pool:
            db.session.get_one(Owner, owner_id, with_for_update={"of": Owner})  # as the change begins
            other = pool.submit(complete)
            blocked = text(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            until = time.monotonic() + 60
            with db.engine.connect() as connection:
                while not connection.scalar(blocked) and time.monotonic() < until and not other.done():
                    connection.rollback()
            assert not other.done()
            challenges.end_all(owner_id)
            db.session.commit()
            with pytest.raises(second_step.PendingEnded):
                other.result(60)
        close_connections()


# -- every door


def test_only_one_function_makes_sessions_and_only_the_second_step_passes_it_by():
    """A door that inserts a session itself would let a person in without the second factor."""
    inserts, starts, completes, checks = set(), set(), set(), set()
    for source in sources():
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name.endswith("OwnerSession") or (name == "insert" and "OwnerSession" in ast.unparse(node)):
                inserts.add(source.module)
            if name in {"sessions.start", "start"} and "account" in source.module:
                starts.add(source.module)
            if name in {"entry.complete", "complete"} and source.module.startswith("portal.accounts"):
                completes.add(source.module)
            if name.endswith("complete_log_in"):
                checks.add(source.module)
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.endswith("sessions"):
                assert "start" not in {one.name for one in node.names}, source.module
    assert inserts == {"portal.accounts.sessions"}
    assert starts == {"portal.accounts.factors.entry"}
    room = "portal.accounts.factors"
    assert completes == {f"{room}.entry", f"{room}.completing"}
    assert checks == {f"{room}.passkeys", f"{room}.second_step"}
    raw = [
        path
        for path in (ROOT / "portal").rglob("*.py")
        if "versions" not in path.parts
        and re.search(r"INSERT INTO owner_session", path.read_text("utf-8"), re.I)
    ]
    assert raw == []


def test_an_invitation_asks_and_joins_only_after_the_second_factor(app, owner, stranger):
    phone, _codes = set_up(stranger)
    path = invited_path(owner, BO, Role.EDITOR)
    with later(minutes=2):
        visitor = app.test_client()
        answer = visitor.submit(path, {"password": PASSWORD})
        assert answer.headers["Location"] == f"{STEP}?next=/team"
        brightleaf = select(Owner.account_id).where(Owner.mailbox == ADA).scalar_subquery()
        joined = (Membership.account_id == brightleaf, Membership.role == Role.EDITOR)
        assert count(Membership, *joined) == 0
        assert not is_in(visitor)
        done = visitor.submit(STEP, {"code": phone.code()}, page=answer.headers["Location"])
        assert done.status_code == 303
        assert count(Membership, *joined) == 1
        assert "Brightleaf" in visitor.get("/team").get_data(as_text=True)


def test_a_withdrawn_invitation_lets_the_person_log_in_without_it(app, owner, stranger):
    phone, _codes = set_up(stranger)
    path = invited_path(owner, BO, Role.EDITOR)
    with later(minutes=2):
        visitor = app.test_client()
        visitor.submit(path, {"password": PASSWORD})
        page = owner.get("/team").get_data(as_text=True)
        withdraw = re.search(r'action="(/team/invitations/\d+/withdraw)"', page)[1]
        assert owner.submit(withdraw, {}, page="/team").status_code == 303
        refused = visitor.submit(STEP, {"code": phone.code()})
        assert refused.status_code == 422
        assert "The invitation no longer works." in refused.get_data(as_text=True)
        assert apps.second_step(visitor, phone.code()) == 303, "the code has not counted"
        assert "Brightleaf" not in visitor.get("/team").get_data(as_text=True)


def test_undoing_a_change_of_the_mailbox_removes_the_factors_that_were_added_since(app, owner):
    """Else the stranger who had changed it would go on logging in, by a passkey."""
    owner_id = db.session.scalars(select(Owner.id).where(Owner.mailbox == ADA)).one()
    kept = Passkey(
        owner_id=owner_id, credential_id="kept", public_key=b"", sign_count=0, handle=b"", name="Mine"
    )
    kept.is_backed_up, kept.created_at = False, utcnow() - timedelta(days=2)
    db.session.add(kept)
    db.session.commit()
    with later(minutes=1):
        undo = change(owner)
    with later(minutes=2):
        set_up(owner)
        pending = challenges.add(second_step.ChallengePurpose.LOG_IN, owner_id, now=utcnow())
        db.session.commit()
        assert app.test_client().submit(undo, {}).status_code == 303
        assert (count(Totp), count(RecoveryCode), count(Passkey)) == (0, 0, 1)
        assert not second_step.is_waiting(pending, now=utcnow())


@pytest.mark.both_databases
def test_undoing_a_change_of_the_mailbox_removes_the_factors_that_the_stranger_added_before_it(app, owner):
    """A stranger with the password adds a passkey first. It would let the stranger in, and keep the person out."""
    with later(minutes=1):
        set_up(owner)
        assert count(RecoveryCode) == 10
    with later(minutes=2):
        undo = change(owner)
    with later(days=6):
        answer = app.test_client().submit(undo, {})
        assert (count(Totp), count(RecoveryCode)) == (0, 0)
        visitor = app.test_client()
        visitor.submit(answer.location, {"password": "seven purple kettles"})
        assert first_step(visitor, ADA, "seven purple kettles") == "/", "no second step"


def test_nothing_can_be_set_up_while_half_logged_in(app, owner):
    set_up(owner)
    with later(minutes=2):
        browser = app.test_client()
        first_step(browser, ADA)
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', browser.get(STEP).get_data(as_text=True))[
            1
        ]
        fields = {"csrf_token": token, "password": PASSWORD, "code": "123456"}
        for path in ("app", "app/remove", "recovery-codes", "passkeys", "passkeys/options"):
            assert browser.post(f"{PAGE}/{path}", data=fields).headers["Location"] == "/log-in"
        assert "/log-in" in browser.get(PAGE).headers["Location"]
        assert (count(Totp), count(RecoveryCode)) == (1, 10)


def test_a_key_that_cannot_be_decrypted_leaves_the_recovery_codes(app, owner, caplog):
    phone, codes = set_up(owner)
    row = db.session.scalars(select(Totp)).one()
    row.sealed_secret = get_state(app).vault.seal(phone.secret, {"kind": "totp", "owner": 999})
    db.session.commit()
    with later(minutes=2):
        browser = app.test_client()
        first_step(browser, ADA)
        assert apps.second_step(browser, phone.code()) == 422
        assert "cannot be decrypted" in caplog.text
        assert phone.secret not in caplog.text
        assert apps.second_step(browser, codes[3]) == 303


def test_secrets_are_in_no_repr():
    new = totp.NewApp("data:image/svg+xml,x", "GEZDGNBV", "sealed-7")
    assert "GEZDGNBV" not in repr(new)
    assert "sealed-7" not in repr(new)
    assert "token-7" not in repr(Entry("token-7"))
