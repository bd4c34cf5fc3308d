"""Prepared statements: rows as SQLAlchemy reads them, lists of ids, errors without values, and what outlives a request."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import String, bindparam, func, select, text
from sqlalchemy.exc import DBAPIError

from portal.clock import utcnow
from portal.db import db, read_only
from portal.db.prepared import PreparedStatement, any_of, bind_ids, ids_in
from portal.db.transaction import current_dialect
from portal.jobs.models import WorkerHeartbeat

pytestmark = pytest.mark.both_databases


@pytest.fixture
def seen(app):
    """Write three workers with different times; return them."""
    now = utcnow()
    with app.app_context():
        rows = [
            WorkerHeartbeat(
                name=f"w{n}", key_ids=[f"k{n}"], started_at=now, seen_at=now - timedelta(hours=n), threads=n
            )
            for n in range(3)
        ]
        db.session.add_all(rows)
        db.session.commit()
        yield [(row.name, row.seen_at, row.threads, row.key_ids) for row in rows]


ROW = WorkerHeartbeat
COLUMNS = (ROW.name, ROW.seen_at, ROW.threads, ROW.key_ids)


def test_rows_are_those_of_the_session(seen):
    after = seen[1][1]
    query = select(*COLUMNS).where(ROW.seen_at >= bindparam("after")).order_by(ROW.name)
    found = PreparedStatement(query).all(after=after)
    assert found == [tuple(row) for row in db.session.execute(query, {"after": after})] == seen[:2]


def test_a_column_has_one_of_some_values(seen):
    query = PreparedStatement(select(ROW.name).where(any_of(ROW.threads, (1, 2))).order_by(ROW.name))
    assert query.all() == [("w1",), ("w2",)]


@pytest.mark.parametrize("ids", [(), (2,), (0, 1, 7)])
def test_a_list_of_ids_is_one_parameter(seen, ids):
    dialect = current_dialect()
    query = select(ROW.threads).where(ids_in(ROW.threads, "ids", dialect)).order_by(ROW.threads)
    found = PreparedStatement(query).all(ids=bind_ids(ids, dialect))
    assert [number for (number,) in found] == [number for number in ids if number < 3]


def test_an_error_is_that_of_sqlalchemy_without_the_values(seen):
    secret = "a secret value"
    broken = PreparedStatement(select(func.no_such_function(bindparam("value", type_=String()))))
    with pytest.raises(DBAPIError) as error:
        broken.all(value=secret)
    db.session.rollback()
    assert secret not in str(error.value)
    assert PreparedStatement(select(func.count()).select_from(ROW)).scalar() == 3


@pytest.mark.only_postgresql
def test_the_server_keeps_prepared_statements_after_a_transaction_that_only_read(seen):
    query = PreparedStatement(select(ROW.threads).where(ROW.name == bindparam("name")))
    with read_only():
        for _ in range(8):
            assert query.scalar(name="w1") == 1
            db.session.rollback()
        assert db.session.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
