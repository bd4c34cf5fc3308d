"""Concurrent requests: duplicates from a shop, and token forms submitted at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, text

from portal import recipient_limits
from portal.accounts.models import Account, Owner
from portal.api import tokens
from portal.clock import utcnow
from portal.db import db
from portal.events.models import Event
from portal.outbox.models import OutboxMessage
from tests.api.conftest import EVENTS, PURCHASE, account_of, purchase
from tests.outbox.support import wait_for

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


@pytest.mark.only_postgresql
def test_a_new_token_and_a_log_in_of_an_owner_do_not_wait_for_each_other(app, owner):
    account_id, key = account_of().id, db.session.scalar(select(Owner.mailbox_key))
    db.session.rollback()

    def make():
        with app.app_context():
            return tokens.create(account_id, name="Shop", by="Ada", form_key="f" * 43, now=utcnow())

    # As a log-in from a new browser: it counts the email about it, then adds a session, which refers to the account.
    assert recipient_limits.consume(recipient_limits.SECURITY_NOTICES, key, now=utcnow())
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(make)
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )

        def is_waiting():
            with (
                db.engine.connect() as connection
            ):  # a new transaction: one sees the same activities to its end
                return connection.scalar(waiting)

        wait_for(is_waiting)
        refers = select(Account.id).where(Account.id == account_id)
        assert db.session.scalar(refers.with_for_update(read=True, key_share=True, nowait=True)) == account_id
        db.session.commit()
        assert made.result(timeout=60).startswith(tokens.PREFIX)
