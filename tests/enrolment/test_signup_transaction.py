"""What a sign-up does between taking the write lock and letting it go: it writes, and nothing else."""

from __future__ import annotations

import re
import threading

import pytest

from portal.accounts.models import Account
from portal.affiliates import suppressions
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import confirmation_links, signup_rules
from portal.notices import rendering
from portal.notices.catalogue import CONFIRM_SIGN_UP
from tests.enrolment.conftest import GRACE

# Who is not written to may have changed since the email was written, and the moment is asked of the database.
_ALLOWED = ("SELECT strftime", "SELECT suppression.reason")
# Budgets of network and mailbox, affiliate, queue, message, link; the question above; begin and commit.
_WITH_CONFIRMATION, _WITHOUT = 10, 16


@pytest.fixture
def course(app, database, monkeypatch):
    """What SQLite was told, and when something was rendered, in one line."""
    if database != "sqlite":
        pytest.skip("only SQLite has a lock that keeps everybody else from writing")
    told: list[str] = []
    render_with = rendering.render_with
    monkeypatch.setattr(
        rendering, "render_with", lambda *a, **k: told.append("render") or render_with(*a, **k)
    )
    listen = lambda connection, _record, _proxy: connection.set_trace_callback(told.append)  # noqa: E731
    db.event.listen(db.engine, "checkout", listen)
    yield told
    db.event.remove(db.engine, "checkout", listen)
    db.session.remove()
    db.engine.dispose()


def _locked(course):
    """Return what was told while the write lock was held, without what SQLite says to itself for triggers and words."""
    [begin] = [number for number, one in enumerate(course) if one == "BEGIN IMMEDIATE"]
    told = course[begin : course.index("COMMIT", begin) + 1]
    return [one for one in dict.fromkeys(told) if one[:2] != "--" and "'main'" not in one]


@pytest.mark.parametrize(("confirm", "most"), [(True, _WITH_CONFIRMATION), (False, _WITHOUT)])
def test_a_sign_up_looks_up_and_renders_before_it_takes_the_lock_and_only_writes_then(
    programme, client, course, confirm, most
):
    signup_rules.save_rules(programme.id, signup_rules.Rules(confirm=confirm))
    client.get("/join/brightleaf")
    confirmation_links._render.cache_clear()
    page = client.get("/join/brightleaf").get_data(as_text=True)
    hidden = dict(re.findall(r'name="(csrf_token|started)"[^>]*value="([^"]*)"', page))
    course.clear()
    assert client.post("/join/brightleaf", data=GRACE | hidden).status_code == 303
    locked = _locked(course)
    assert len(locked) <= most, locked
    assert "render" in course
    assert "render" not in locked
    assert [one for one in locked if one.startswith("SELECT") and not one.startswith(_ALLOWED)] == []


def test_a_sign_up_looks_up_on_another_connection_so_that_the_writers_keeps_its_prepared_statements(
    programme, client, course
):
    page = client.get("/join/brightleaf").get_data(as_text=True)
    hidden = dict(re.findall(r'name="(csrf_token|started)"[^>]*value="([^"]*)"', page))
    for mailbox in ("one@example.net", "two@example.net"):
        course.clear()
        assert client.post("/join/brightleaf", data=GRACE | hidden | {"mailbox": mailbox}).status_code == 303
    assert "BEGIN IMMEDIATE" in course
    assert [one for one in course if one == "BEGIN" or one.startswith("PRAGMA")] == []


def test_a_form_with_a_fault_and_a_robots_form_never_take_the_lock(programme, client, course):
    client.get("/join/brightleaf")
    course.clear()
    assert client.submit("/join/brightleaf", GRACE | {"name": ""}).status_code == 422
    assert client.submit("/join/brightleaf", GRACE | {"website": "x"}).status_code == 303
    assert "BEGIN IMMEDIATE" not in course


def test_a_confirmation_written_ahead_is_what_rendering_makes_of_it(programme):
    written = confirmation_links.render_confirmation(programme)
    [token] = set(re.findall(r"/confirm-sign-up/([\w-]+)", written.mail.text + written.mail.html))
    values = {
        "programme": programme.name,
        "confirm_link": confirmation_links._token_url(confirmation_links.TokenPurpose.CONFIRM, token),
    }
    assert written.mail == rendering.render(CONFIRM_SIGN_UP, programme, values)
    assert confirmation_links.hash_token(token) == written.token_hash
    again = confirmation_links.render_confirmation(programme)
    assert token not in again.mail.text + again.mail.html


def test_a_new_name_of_the_programme_is_in_the_next_confirmation(programme):
    assert "Brightleaf" in confirmation_links.render_confirmation(programme).mail.subject
    other = Account(id=programme.id, slug="brightleaf", name="Copperpot")
    mail = confirmation_links.render_confirmation(other).mail
    assert "Copperpot" in mail.subject
    assert "Brightleaf" not in mail.subject + mail.text + mail.html


def test_who_comes_onto_the_list_while_the_email_is_written_gets_none(
    app, programme, left, monkeypatch, client
):
    signup_rules.save_rules(programme.id, signup_rules.Rules(confirm=True))
    write = confirmation_links.render_confirmation

    def put_on_the_list(account_id):
        with app.app_context():
            suppressions.add(account_id, GRACE["mailbox"], "", now=utcnow())

    def write_slowly(account):
        other = threading.Thread(target=put_on_the_list, args=[account.id])
        other.start()
        other.join()
        return write(account)

    monkeypatch.setattr(confirmation_links, "render_confirmation", write_slowly)
    assert client.submit("/join/brightleaf", GRACE).status_code == 303
    assert len(left().affiliates) == 1
    assert left().messages == []
