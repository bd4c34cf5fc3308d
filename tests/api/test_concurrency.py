"""Two at the same moment: a shop that is impatient, and an owner with two windows."""

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


def at_once(app, deed, values):
    """Do something with each value in a thread of its own, all at the same time."""
    db.session.commit()  # so that the test itself holds no lock

    def one(value):
        with app.app_context():
            return deed(value)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, values))


def test_of_twins_one_causes_the_event_and_the_others_get_its_answer(app, shop):
    headers = shop.headers | {"Idempotency-Key": "twins"}
    answers = at_once(
        app, lambda _: app.test_client().post(EVENTS, json=purchase(), headers=headers), range(_AT_ONCE)
    )
    assert sorted(one.status_code for one in answers) == [200] * (_AT_ONCE - 1) + [201]
    assert len({one.get_data() for one in answers}) == 1
    assert db.session.scalar(select(func.count()).select_from(Event)) == 1
    assert db.session.scalar(select(func.count()).select_from(OutboxMessage)) == 2


def test_of_two_events_with_one_key_only_one_is_taken(app, shop):
    headers = shop.headers | {"Idempotency-Key": '"one key"'}
    bodies = [purchase(data=PURCHASE | {"order": f"A-{number}"}) for number in range(_AT_ONCE)]
    answers = at_once(app, lambda body: app.test_client().post(EVENTS, json=body, headers=headers), bodies)
    assert sorted(one.status_code for one in answers) == [201] + [422] * (_AT_ONCE - 1)
    assert db.session.scalar(select(func.count()).select_from(Event)) == 1


def test_two_windows_do_not_make_more_tokens_than_there_may_be(app, owner, token_of):
    for _ in range(tokens.MAX_TOKENS - 2):
        token_of()
    ident = account_of().id

    def make(number):
        try:
            tokens.create(ident, name="Late", by="Ada", form_key=f"late-{number:038}", now=utcnow())
        except tokens.TooManyTokens:
            return False
        return True

    assert sum(at_once(app, make, range(_AT_ONCE))) == 2
    assert tokens.count_active(ident) == tokens.MAX_TOKENS


def test_a_form_sent_twice_at_once_makes_one_token(app, owner):
    ident = account_of().id

    def make(_):
        try:
            tokens.create(ident, name="Twice", by="Ada", form_key="f" * 43, now=utcnow())
        except tokens.AlreadyCreated:
            return False
        return True

    assert sum(at_once(app, make, range(_AT_ONCE))) == 1
