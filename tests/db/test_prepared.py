"""Prepared statements: rows as SQLAlchemy reads them, lists of ids, errors without values, and what outlives a request."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import String, bindparam, event, func, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from portal.clock import utcnow
from portal.db import db, insert, read_only
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


def insert_worker(**also):
    """Return a statement that inserts a worker ``name``, and its values."""
    texts = dict.fromkeys(("host", "version", "queues"), "")
    given = texts | {
        "pid": 1,
        "key_ids": [],
        "started_at": utcnow(),
        "seen_at": utcnow(),
        "threads": 1,
        **also,
    }
    values = {name: bindparam(f"v_{name}") for name in given}
    return insert(ROW).values(name=bindparam("v_name"), **values), {f"v_{k}": v for k, v in given.items()}


def test_writes_run_on_the_drivers_cursor_in_the_transaction_of_the_session(seen):
    statement, values = insert_worker()
    statement = statement.on_conflict_do_nothing(index_elements=["name"])
    add = PreparedStatement(statement)
    later = PreparedStatement(
        update(ROW).where(ROW.name == bindparam("of")).values(seen_at=bindparam("at")).returning(*COLUMNS)
    )
    delete = PreparedStatement(ROW.__table__.delete().where(ROW.threads == bindparam("number")))
    at, noted = utcnow() + timedelta(hours=1), []
    listener = lambda *details: noted.append(details[2])  # noqa: E731 - removed below
    db.session.get_one(ROW, "w2").threads = 7
    db.session.flush()
    event.listen(db.engine, "before_cursor_execute", listener)
    try:
        assert [add.rowcount(v_name=name, **values) for name in ("w3", "w3", "w0")] == [1, 0, 0]
        assert later.all(of="w1", at=at) == [("w1", at, 1, ["k1"])]
        assert later.scalar(of="nothing", at=at) is None
        assert [delete.rowcount(number=number) for number in (7, 7)] == [1, 0]
    finally:
        event.remove(db.engine, "before_cursor_execute", listener)
    assert noted == []
    assert sorted(db.session.scalars(select(ROW.name))) == ["w0", "w1", "w3"]
    db.session.rollback()
    assert sorted(db.session.scalars(select(ROW.name))) == ["w0", "w1", "w2"]


def test_a_write_that_fails_ends_its_savepoint_alone(seen):
    secret = "w0"  # the values of a row are secrets in an error
    statement, values = insert_worker()
    add = PreparedStatement(statement)
    assert add.rowcount(v_name="before", **values) == 1
    with pytest.raises(IntegrityError) as error, db.session.begin_nested():
        add.rowcount(v_name=secret, **values)
    assert secret not in str(error.value)
    assert add.rowcount(v_name="after", **values) == 1
    db.session.commit()
    assert db.session.scalar(select(func.count()).select_from(ROW)) == 5


@pytest.mark.only_postgresql
def test_a_write_on_a_lost_connection_is_an_error_of_the_database(seen):
    statement, values = insert_worker()
    add = PreparedStatement(statement)
    pid = db.session.scalar(text("SELECT pg_backend_pid()"))
    with db.engine.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    with pytest.raises(OperationalError):
        add.rowcount(v_name="lost", **values)
    db.session.rollback()
    assert add.rowcount(v_name="found", **values) == 1


@pytest.mark.only_postgresql
def test_the_server_keeps_prepared_statements_after_a_transaction_that_only_read(seen):
    query = PreparedStatement(select(ROW.threads).where(ROW.name == bindparam("name")))
    with read_only():
        for _ in range(8):
            assert query.scalar(name="w1") == 1
            db.session.rollback()
        assert db.session.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
