"""The write transaction of a sign-up: while it holds the write lock it only writes."""

from __future__ import annotations

import re
import sqlite3

import pytest

from portal.accounts.models import Account
from portal.affiliates import erased, suppressions
from portal.clock import utcnow
from portal.db import db
from portal.db.urls import READ_ONLY_BIND
from portal.enrolment import confirmation_links, signup_rules
from portal.notices import rendering
from portal.notices.catalogue import CONFIRM_SIGN_UP
from tests.enrolment.support import GRACE
from tests.outbox.support import run_in_thread

# The database's time, and the suppression check, because the mailbox may have been suppressed after the rendering.
_ALLOWED = ("SELECT strftime", "SELECT suppression.reason")
# Statements: two rate limits, affiliate, queue, message, token, the two reads above, BEGIN and COMMIT.
_MAX_WITH_CONFIRMATION, _MAX_WITHOUT = 10, 16


@pytest.fixture
def trace(app, database, monkeypatch):
    """Record the statements that SQLite runs, and each rendering of an email as "render", in one list."""
    if database != "sqlite":
        pytest.skip("only SQLite has a single writer")
    steps: list[str] = []
    render_with = rendering.render_with
    monkeypatch.setattr(
        rendering, "render_with", lambda *a, **k: steps.append("render") or render_with(*a, **k)
    )
    listen = lambda connection, _record, _proxy: connection.set_trace_callback(steps.append)  # noqa: E731
    db.event.listen(db.engine, "checkout", listen)
    yield steps
    db.event.remove(db.engine, "checkout", listen)
    db.session.remove()
    db.engine.dispose()


def _locked(trace):
    """Return the steps of the write transaction, without the statements of triggers and the search index."""
    [begin] = [number for number, step in enumerate(trace) if step == "BEGIN IMMEDIATE"]
    steps = trace[begin : trace.index("COMMIT", begin) + 1]
    return [step for step in dict.fromkeys(steps) if step[:2] != "--" and "'main'" not in step]


@pytest.mark.parametrize(("confirm", "most"), [(True, _MAX_WITH_CONFIRMATION), (False, _MAX_WITHOUT)])
def test_a_sign_up_reads_and_renders_before_its_write_transaction(programme, client, trace, confirm, most):
    signup_rules.save_rules(programme.id, signup_rules.Rules(confirm=confirm))
    erased.ensure_key()  # as python -m portal.bootstrap does
    client.get("/join/brightleaf")
    confirmation_links._render.cache_clear()
    page = client.get("/join/brightleaf").get_data(as_text=True)
    hidden = dict(re.findall(r'name="(csrf_token|started)"[^>]*value="([^"]*)"', page))
    trace.clear()
    assert client.post("/join/brightleaf", data=GRACE | hidden).status_code == 303
    locked = _locked(trace)
    assert len(locked) <= most, locked
    assert "render" in trace
    assert "render" not in locked
    assert [one for one in locked if one.startswith("SELECT") and not one.startswith(_ALLOWED)] == []


def test_a_sign_up_reads_on_another_connection_so_that_the_writer_keeps_its_prepared_statements(
    programme, client, trace
):
    page = client.get("/join/brightleaf").get_data(as_text=True)
    hidden = dict(re.findall(r'name="(csrf_token|started)"[^>]*value="([^"]*)"', page))
    for mailbox in ("one@example.net", "two@example.net"):
        trace.clear()
        assert client.post("/join/brightleaf", data=GRACE | hidden | {"mailbox": mailbox}).status_code == 303
    assert "BEGIN IMMEDIATE" in trace
    assert [one for one in trace if one == "BEGIN" or one.startswith("PRAGMA")] == []


def test_the_queue_of_an_account_is_inserted_with_its_first_message(programme, client, trace):
    page = client.get("/join/brightleaf").get_data(as_text=True)
    hidden = dict(re.findall(r'name="(csrf_token|started)"[^>]*value="([^"]*)"', page))
    inserted = []
    for mailbox in ("one@example.net", "two@example.net"):
        trace.clear()
        assert client.post("/join/brightleaf", data=GRACE | hidden | {"mailbox": mailbox}).status_code == 303
        inserted.append(sum(one.startswith("INSERT INTO outbox_queue") for one in trace))
    assert inserted == [1, 0]


def test_a_sign_up_reads_by_one_statement_that_sqlite_prepares_once(programme, client, app, database):
    if database != "sqlite":
        pytest.skip("PostgreSQL prepares by itself")
    signup_rules.save_rules(programme.id, signup_rules.Rules(confirm=True))
    erased.ensure_key()
    page = client.get("/join/brightleaf").get_data(as_text=True)
    hidden = dict(re.findall(r'name="(csrf_token|started)"[^>]*value="([^"]*)"', page))
    read, prepared, readers = [], [], db.engines[READ_ONLY_BIND]

    def listen(connection, _record, _proxy):
        connection.set_authorizer(lambda *what: prepared.append(what[:3]) or sqlite3.SQLITE_OK)
        connection.set_trace_callback(read.append)

    db.event.listen(readers, "checkout", listen, once=True)
    for number in range(4):  # setting an authorizer makes SQLite prepare once more
        read.clear()
        prepared.clear()
        sent = client.post("/join/brightleaf", data=GRACE | hidden | {"mailbox": f"ada{number}@example.net"})
        assert sent.status_code == 303
    assert [one.split()[0] for one in read] == ["SELECT"]
    assert prepared == []
    readers.dispose()


def test_an_invalid_form_and_a_bots_form_do_not_take_the_write_lock(programme, client, trace):
    client.get("/join/brightleaf")
    trace.clear()
    assert client.submit("/join/brightleaf", GRACE | {"name": ""}).status_code == 422
    assert client.submit("/join/brightleaf", GRACE | {"website": "x"}).status_code == 303
    assert "BEGIN IMMEDIATE" not in trace


def test_a_cached_confirmation_equals_a_rendered_one(programme):
    confirmation = confirmation_links.render_confirmation(programme)
    [token] = set(re.findall(r"/confirm-sign-up/([\w-]+)", confirmation.mail.text + confirmation.mail.html))
    values = {
        "programme": programme.name,
        "confirm_link": confirmation_links.token_url(confirmation_links.TokenPurpose.CONFIRM, token),
    }
    assert confirmation.mail == rendering.render(CONFIRM_SIGN_UP, programme, values)
    assert confirmation_links.hash_token(token) == confirmation.token_hash
    again = confirmation_links.render_confirmation(programme)
    assert token not in again.mail.text + again.mail.html


def test_a_changed_programme_name_is_in_the_next_confirmation(programme):
    assert "Brightleaf" in confirmation_links.render_confirmation(programme).mail.subject
    other = Account(id=programme.id, slug="brightleaf", name="Copperpot", approved_at=utcnow())
    mail = confirmation_links.render_confirmation(other).mail
    assert "Copperpot" in mail.subject
    assert "Brightleaf" not in mail.subject + mail.text + mail.html


def test_a_mailbox_suppressed_after_the_rendering_gets_no_email(app, programme, stored, monkeypatch, client):
    signup_rules.save_rules(programme.id, signup_rules.Rules(confirm=True))
    render = confirmation_links.render_confirmation_with

    def suppress(account_id):
        suppressions.add(account_id, GRACE["mailbox"], "", now=utcnow())

    def render_slowly(account, *read, **also_read):
        run_in_thread(app, suppress, account.id)
        return render(account, *read, **also_read)

    monkeypatch.setattr(confirmation_links, "render_confirmation_with", render_slowly)
    assert client.submit("/join/brightleaf", GRACE).status_code == 303
    assert len(stored().affiliates) == 1
    assert stored().messages == []
