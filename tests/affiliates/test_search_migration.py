"""The migration that folds search texts keeps every row and trigger, and affiliates of before are found without accents."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.affiliates.search_text import search_text
from portal.db import db, readiness
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import _fill, _triggers
from tests.test_plain_names import _tables

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
FOLDER = str(readiness.MIGRATIONS)
BEFORE, AFTER = "0030", "0031"
ADDED = {
    "affiliate": {"external_id", "notes"},
    "affiliate_link": {"mailbox"},
    "api_request": {"affiliate_id"},
}
PEOPLE = [("José O’Brien", "info@xn--bcher-kva.example", "CODE1"), ("Grace", "grace@x.example", "CODE2")]


def _rows(connection: sa.Connection, *, without_texts: bool = True) -> dict[str, list[tuple]]:
    found = {}
    for table in _tables(connection):
        if table.name == "former_code":
            continue
        left_out = ADDED.get(table.name, set()) | ({"search_text"} if without_texts else set())
        columns = [column for column in table.columns if column.name not in left_out]
        found[table.name] = sorted((tuple(row) for row in connection.execute(sa.select(*columns))), key=repr)
    return found


def test_affiliates_of_before_are_found_without_accents_and_nothing_else_changes(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            [affiliate] = [table for table in _tables(connection) if table.name == "affiliate"]
            for number, (name, mailbox, code) in enumerate(PEOPLE, 1):
                text = f"{name}\n{mailbox}\n{code}".casefold()
                values = {"name": name, "mailbox": mailbox, "code": code, "search_text": text}
                connection.execute(sa.update(affiliate).where(affiliate.c.id == number).values(values))
            before, triggers = _rows(connection, without_texts=False), _triggers(connection)
            others = _rows(connection)
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            assert (_rows(connection), _triggers(connection)) == (others, triggers)
            [affiliate] = [table for table in _tables(connection) if table.name == "affiliate"]
            query = sa.select(affiliate.c.search_text, affiliate.c.external_id, affiliate.c.notes)
            rows = connection.execute(query.order_by(affiliate.c.id)).all()
            assert [tuple(row) for row in rows] == [(search_text(*one), None, "") for one in PEOPLE]
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert (_rows(connection, without_texts=False), _triggers(connection)) == (before, triggers)
        db.engine.dispose()
