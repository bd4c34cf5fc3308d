"""Rows of the audit trail: one transaction with the change, no secret, harmless values, and refused changes of rows."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from portal import audit
from portal.audit import Activity, Actor, AuditOutcome, AuditTarget, Way, retention
from portal.audit.actions import KIND_LABELS, KIND_OF, LABELS, ActivityKind
from portal.audit.models import AuditEntry
from portal.audit.recording import _value
from portal.clock import utcnow
from portal.db import db
from tests.audit.support import rows

CANARY = "canary-8f3a1c"


def test_each_action_has_a_kind_and_a_label():
    assert set(KIND_OF) == set(LABELS) == set(Activity)
    assert set(KIND_LABELS) == set(ActivityKind)


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("host", "smtp.x.example\r\nBcc: y", "smtp.x.example  Bcc: y"),
        ("from_name", "A\u202egnp.exe\u2066\u200b", "Agnp.exe"),
        ("from_name", "x" * 1000, "x" * 300),
        ("port", 587, 587),
        ("on", False, False),
        ("kinds", ["b", "a"], "b, a"),
        ("kinds", {"b", "a"}, "a, b"),
        ("password", CANARY, "changed"),
        ("webhook_secret", CANARY, "changed"),
        ("api_token", CANARY, "changed"),
        ("password", "removed", "removed"),
        ("reason", None, None),
    ],
)
def test_a_value_is_stored_as_plain_text_and_a_secret_not_at_all(name, value, stored):
    assert _value(name, value) == stored


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (f"https://hooks.x.example/services/{CANARY}?key={CANARY}", "https://hooks.x.example"),
        (f"https://user:{CANARY}@hooks.x.example:8443/", "https://hooks.x.example"),
        ("", ""),
        ("https://[broken", ""),
    ],
)
def test_of_an_address_only_the_host_is_stored(url, host):
    assert audit.host_of(url) == host


@pytest.mark.both_databases
def test_rows_go_with_the_transaction_and_neither_change_nor_disappear_early(app):
    ada = Actor(Way.PAGE, 7, "Ada", 3, "192.0.2.7")
    audit.record(Activity.CONTACT_CHOSEN, 1, actor=ada, target=AuditTarget("person", 8, "Eve"))
    db.session.rollback()
    assert rows() == []

    audit.record(
        Activity.SERVER_SAVED,
        1,
        actor=ada,
        before={"host": "a.example", "port": 587, "password": CANARY},
        after={"host": "b.example", "port": 587, "password": CANARY},
    )
    audit.record(Activity.CONTACT_CHOSEN, 1, actor=ada, target=AuditTarget("person", 8, "Eve"))
    audit.record(Activity.CONTACT_CHOSEN, None)
    db.session.commit()
    saved, _chosen, own = rows()
    assert saved.values_before == {"host": "a.example", "password": "changed"}
    assert saved.values_after == {"host": "b.example", "password": "changed"}
    assert (saved.actor_id, saved.actor_name, saved.session_id, saved.network) == (7, "Ada", 3, "192.0.2.7")
    assert saved.kept_until - saved.at == timedelta(days=400)
    assert (own.way, own.actor_id, own.account_id, own.values_before) == (Way.SYSTEM, None, None, None)

    for statement in (
        "UPDATE audit_entry SET outcome = 'refused'",
        "UPDATE audit_entry SET actor_name = 'Eve'",
        "UPDATE audit_entry SET target_name = 'Bo' WHERE target_id = 8",
        "UPDATE audit_entry SET values_after = NULL",
        "UPDATE audit_entry SET kept_until = '2020-01-01 00:00:00'",
        "UPDATE audit_entry SET account_id = 2, actor_name = ''",
        "DELETE FROM audit_entry",
        f"DELETE FROM audit_entry WHERE id = {saved.id}",
    ):
        with pytest.raises(DBAPIError, match="audit entries cannot be"):
            db.session.execute(text(statement))
        db.session.rollback()
    assert len(rows()) == 3

    retention.forget_person(7)
    assert [row.actor_name for row in rows(actor_id=7)] == ["", ""]
    retention.forget_person(8)
    assert [row.target_name for row in rows(target_id=8)] == [""]


@pytest.mark.both_databases
def test_old_rows_are_deleted_in_bounded_batches(app, monkeypatch):
    monkeypatch.setattr(retention, "BATCH_ROWS", 3)
    monkeypatch.setattr(retention, "_BATCHES", 2)
    old = {"at": utcnow() - timedelta(days=900), "kept_until": utcnow() - timedelta(days=500)}
    values = {
        "account_id": 1,
        "kind": ActivityKind.LOG_IN,
        "action": Activity.LOGGED_IN,
        "outcome": AuditOutcome.DONE,
    }
    names = {"way": Way.PAGE, "actor_name": "", "network": "", "target_kind": "", "target_name": ""}
    db.session.execute(sa.insert(AuditEntry), [values | names | old for _ in range(8)])
    audit.record(Activity.LOGGED_IN, 1)
    db.session.commit()
    assert retention.prune(utcnow()) == 6
    assert retention.prune(utcnow()) == 2
    (kept,) = rows()
    assert kept.kept_until > utcnow().astimezone(UTC)


def test_refused_attempts_leave_a_bounded_number_of_rows(app):
    for number in range(30):
        audit.record_refusal(Activity.REFUSED_BY_ROLE, 1, key=f"session {number % 2}")
    assert {row.outcome for row in rows()} == {AuditOutcome.REFUSED}
    assert len(rows()) == 30
    for _attempt in range(30):
        audit.record_refusal(Activity.REFUSED_BY_ROLE, 1, key="session 0")
    assert len(rows()) == 35
