"""Log-in sessions: their end on all devices, their limits, and their cost for the database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import event, func, select, text, update

from portal.accounts import sessions
from portal.accounts.models import Owner, OwnerSession
from portal.clock import utcnow
from portal.db import db
from portal.state import get_state
from tests.accounts.conftest import ADA
from tests.accounts.test_login import log_in
from tests.conftest import PASSWORD, make_config

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def session_rows():
    found = db.session.scalars(select(OwnerSession).order_by(OwnerSession.id)).all()
    db.session.expunge_all()
    db.session.commit()
    return found


def is_logged_in(browser):
    return browser.get("/account").status_code == 200


def second_device(app, **more):
    browser = app.test_client()
    assert log_in(browser, **more).status_code == 303
    return browser


def test_another_device_can_be_logged_out(app, owner):
    other = second_device(app)
    session_id = session_rows()[1].id
    assert owner.submit(f"/account/devices/{session_id}/log-out", {}, page="/account").status_code == 303
    assert not is_logged_in(other)
    assert is_logged_in(owner)


def test_all_other_devices_can_be_logged_out(app, owner):
    others = [second_device(app) for _ in range(3)]
    answer = owner.submit("/account/devices/log-out-others", {}, page="/account", follow_redirects=True)
    assert "3 other devices are logged out." in answer.get_data(as_text=True)
    assert not any(is_logged_in(other) for other in others)
    assert is_logged_in(owner)


def test_a_device_of_another_owner_is_not_found(owner, stranger):
    session_id = next(row.id for row in session_rows())
    assert stranger.submit(f"/account/devices/{session_id}/log-out", {}, page="/account").status_code == 404
    assert is_logged_in(owner)


def test_logging_out_other_devices_does_not_affect_other_owners(owner, stranger):
    owner.submit("/account/devices/log-out-others", {}, page="/account")
    assert is_logged_in(stranger)


@pytest.mark.parametrize("path", ["/account/devices/1/log-out", "/account/devices/log-out-others"])
def test_logging_out_a_device_requires_a_csrf_token(owner, path):
    assert owner.post(path).status_code == 400
    assert owner.get(path).status_code in {404, 405}


def test_a_session_ends_after_14_days_without_use(client, ada):
    with time_machine.travel(utcnow(), tick=False) as clock:
        log_in(client)
        clock.shift(timedelta(days=13, hours=23))
        assert is_logged_in(client)
        clock.shift(timedelta(days=13, hours=23))
        assert is_logged_in(client), "use extends the session"
        clock.shift(timedelta(days=14))
        assert not is_logged_in(client)


def test_a_session_ends_after_90_days_despite_use(client, ada):
    with time_machine.travel(utcnow(), tick=False) as clock:
        log_in(client)
        for _ in range(8):
            clock.shift(timedelta(days=11))
            assert is_logged_in(client)
        clock.shift(timedelta(days=2))
        assert not is_logged_in(client)


def test_the_operator_sets_when_a_session_ends(tmp_path, app, ada):
    """A shorter idle time needs the last use more exactly, and ends the sessions that are open as well."""
    env = {"SIGNET_SESSION_IDLE_HOURS": "0.25", "SIGNET_SESSION_HOURS": "1"}
    config = make_config(tmp_path / "other", env=env)
    assert (config.session_idle, config.session_age) == (900, 3600)
    browser = app.test_client()
    with time_machine.travel(utcnow(), tick=False) as clock:
        log_in(browser)
        ends = {"session_idle": config.session_idle, "session_age": config.session_age}
        get_state(app).config = replace(get_state(app).config, **ends)
        for _ in range(3):
            clock.shift(timedelta(minutes=4))
            assert is_logged_in(browser)
            clock.shift(timedelta(minutes=12))
            assert is_logged_in(browser), "used 12 minutes ago"
        clock.shift(timedelta(minutes=11))
        assert is_logged_in(browser)
        clock.shift(timedelta(minutes=1))
        assert not is_logged_in(browser), "an hour old"
        log_in(browser)
        clock.shift(timedelta(minutes=15))
        assert not is_logged_in(browser), "not used"


def test_the_last_use_is_stored_every_five_minutes(client, ada):
    with time_machine.travel(utcnow(), tick=False) as clock:
        log_in(client)
        begun = utcnow()
        clock.shift(timedelta(minutes=4, seconds=59))
        assert is_logged_in(client)
        assert session_rows()[0].seen_at == begun
        clock.shift(timedelta(seconds=1))
        assert is_logged_in(client)
        assert session_rows()[0].seen_at == utcnow()


def test_a_get_takes_the_write_lock_only_to_store_the_last_use(client, ada):
    begun, written = [], []

    @event.listens_for(db.engine, "checkout")
    def _trace(connection, *_rest):
        connection.set_trace_callback(_record)

    def _record(statement):
        if statement.startswith("BEGIN"):
            begun.append(statement)
        elif statement.split()[0] in {"UPDATE", "INSERT", "DELETE"}:
            written.append((begun[-1], statement.split()[1]))

    with time_machine.travel(utcnow(), tick=False) as clock:
        log_in(client)
        clock.shift(timedelta(minutes=6))
        begun.clear(), written.clear()
        client.get("/account")
    assert written == [("BEGIN IMMEDIATE", "owner_session")]
    assert begun.count("BEGIN IMMEDIATE") == 1


def test_a_page_is_served_during_another_write_transaction(client, ada):
    log_in(client)
    with db.engine.connect() as writer:
        writer.execute(update(Owner).values(name="not yet committed"))
        page = client.get("/account").get_data(as_text=True)
    assert "Ada Fairweather" in page


def test_expired_sessions_are_deleted_at_the_next_log_in(app, ada):
    with time_machine.travel(utcnow(), tick=False) as clock:
        second_device(app)
        second_device(app)
        clock.shift(timedelta(days=15))
        second_device(app)
    assert db.session.scalar(select(func.count(OwnerSession.id))) == 1


def test_the_page_shows_device_and_network_and_marks_new_log_ins(app, owner):
    with time_machine.travel(utcnow(), tick=False) as clock:
        environ = {"REMOTE_ADDR": "2001:db8:1:2:3:4:5:6"}
        second_device(app, headers={"User-Agent": FIREFOX}, environ_base=environ)
        page = owner.get("/account").get_data(as_text=True)
        for shown in ("Firefox on Linux", "2001:db8:1:2::/64", ">New<", "127.0.0.1"):
            assert shown in page, shown
        assert page.count(">New<") == 1, "not this device"
        assert "3:4:5:6" not in page
        clock.shift(timedelta(days=1))
        assert ">New<" not in owner.get("/account").get_data(as_text=True)


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36",
            "Chrome on Windows",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) AppleWebKit/605 Version/18 Safari/605",
            "Safari on Mac",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18 Mobile Safari/604",
            "Safari on iPhone",
        ),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit Chrome/140 Mobile Safari/537", "Chrome on Android"),
        ("curl/8.5.0", "Unknown device"),
        ("", "Unknown device"),
        ("<script>alert(1)</script>" * 50, "Unknown device"),
        ("Firefox/" * 10_000, "Firefox"),
    ],
)
def test_a_device_is_described_by_browser_and_system(user_agent, name):
    assert sessions.describe_device(user_agent) == name


def test_deleting_the_row_ends_the_session(client, ada):
    log_in(client, mailbox=ADA, password=PASSWORD)
    db.session.delete(db.session.scalars(select(OwnerSession)).one())
    db.session.commit()
    assert not is_logged_in(client)


def test_a_database_error_is_shown_on_a_page_without_another_query(owner):
    db.session.execute(text("ALTER TABLE owner_session RENAME TO gone"))
    answer = owner.get("/account")
    assert answer.status_code == 503
    assert "<h1>" in answer.get_data(as_text=True)


def test_a_database_error_within_a_page_is_shown_in_the_language_of_the_person(owner):
    owner.submit("/account/language", {"language": "de"}, page="/account")
    db.session.execute(text("ALTER TABLE affiliate RENAME TO gone"))
    db.session.commit()
    answer = owner.get("/affiliates")
    assert answer.status_code == 503
    assert "Das Portal ist ausgelastet" in answer.get_data(as_text=True)
