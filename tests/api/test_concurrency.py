"""Concurrent requests: duplicates from a shop, and token forms submitted at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from portal.api import tokens
from portal.clock import utcnow
from portal.db import db
from portal.events.models import Event
from portal.outbox.models import OutboxMessage
from tests.api.conftest import EVENTS, PURCHASE, account_of, purchase

pytestmark = pytest.mark.both_databases
_AT_ONCE = 8


def at_once(app, action, values):
    """Run an action for each value in a thread of its own, all at the same time."""
    db.session.commit()  # so that the test itself holds no lock

    def one(value):
        with app.app_context():
            return action(value)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, values))


def test_of_concurrent_duplicates_one_records_the_event_and_the_others_get_its_response(app, shop):
    headers = shop.headers | {"Idempotency-Key": "duplicates"}
    responses = at_once(
        app, lambda _: app.test_client().post(EVENTS, json=purchase(), headers=headers), range(_AT_ONCE)
    )
    assert sorted(one.status_code for one in responses) == [200] * (_AT_ONCE - 1) + [201]
    assert len({one.get_data() for one in responses}) == 1
    assert db.session.scalar(select(func.count()).select_from(Event)) == 1
    own = select(func.count()).select_from(OutboxMessage).where(OutboxMessage.account_id.is_not(None))
    assert db.session.scalar(own) == 2


def test_of_several_events_with_one_key_only_one_is_recorded(app, shop):
    headers = shop.headers | {"Idempotency-Key": '"one key"'}
    bodies = [purchase(data=PURCHASE | {"order": f"A-{number}"}) for number in range(_AT_ONCE)]
    responses = at_once(app, lambda body: app.test_client().post(EVENTS, json=body, headers=headers), bodies)
    assert sorted(one.status_code for one in responses) == [201] + [422] * (_AT_ONCE - 1)
    assert db.session.scalar(select(func.count()).select_from(Event)) == 1


def test_concurrent_requests_do_not_exceed_the_number_of_tokens(app, owner, token_of):
    for _ in range(tokens.MAX_TOKENS - 2):
        token_of()
    account_id = account_of().id

    def make(number):
        try:
            tokens.create(account_id, name="Late", by="Ada", form_key=f"late-{number:038}", now=utcnow())
        except tokens.TooManyTokens:
            return False
        return True

    assert sum(at_once(app, make, range(_AT_ONCE))) == 2
    assert tokens.count_active(account_id, utcnow()) == tokens.MAX_TOKENS


def test_a_form_submitted_several_times_at_once_creates_one_token(app, owner):
    account_id = account_of().id

    def make(_):
        try:
            tokens.create(account_id, name="Twice", by="Ada", form_key="f" * 43, now=utcnow())
        except tokens.AlreadyCreated:
            return False
        return True

    assert sum(at_once(app, make, range(_AT_ONCE))) == 1
