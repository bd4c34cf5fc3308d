"""Idempotency keys are kept for a month, and a repeat has no second effect even after that."""

from datetime import timedelta

import pytest

from portal.api import cleanup
from portal.api.models import ApiRequest
from portal.clock import utcnow
from portal.db import db
from portal.jobs.registry import job_registry
from tests.api.conftest import account_of, purchase

pytestmark = pytest.mark.both_databases


def stored_keys():
    db.session.rollback()
    found = list(db.session.scalars(db.select(ApiRequest.key).order_by(ApiRequest.id)))
    db.session.rollback()
    return found


def test_a_key_is_deleted_after_a_month_and_its_event_stays(shop, stored):
    assert shop.send(purchase(), key="paid").status_code == 201
    assert cleanup.delete_old_requests(utcnow() + timedelta(days=29)) == 0
    assert stored_keys() == ["paid"]
    assert cleanup.delete_old_requests(utcnow() + timedelta(days=31)) == 1
    assert stored_keys() == []
    events, messages = stored()
    assert (len(events), len(messages)) == (1, 2)


def test_a_request_repeated_after_its_key_was_deleted_has_no_second_effect(shop, stored):
    first = shop.send(purchase(), key="paid")
    cleanup.delete_old_requests(utcnow() + timedelta(days=31))
    again = shop.send(purchase(), key="paid")
    assert again.get_json()["id"] == first.get_json()["id"]
    events, messages = stored()
    assert (len(events), len(messages)) == (1, 2)


def test_old_keys_are_deleted_in_batches_and_recent_ones_stay(app, owner, monkeypatch):
    monkeypatch.setattr(cleanup, "BATCH_ROWS", 4)
    now, account_id = utcnow(), account_of().id
    for number in range(10):
        old = now - timedelta(days=31 if number < 7 else 1)
        db.session.add(ApiRequest(account_id=account_id, key=f"k{number}", fingerprint="", created_at=old))
        db.session.flush()
    db.session.commit()
    assert cleanup.delete_old_requests(now) == 7
    assert stored_keys() == ["k7", "k8", "k9"]


def test_the_rollup_job_deletes_old_keys(app, shop):
    shop.send(purchase(), key="paid")
    db.session.execute(db.update(ApiRequest).values(created_at=utcnow() - timedelta(days=31)))
    db.session.commit()
    job_registry(app).tasks["rollup"].call_local(0)
    assert stored_keys() == []
