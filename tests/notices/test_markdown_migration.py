"""Migration 0037 adds the Markdown of texts and drafts; texts of before are HTML and stay so."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.db import db
from portal.db.migrate import downgrade, upgrade
from tests.conftest import make_config
from tests.migrations import make_tables
from tests.test_account_states_migration import FOLDER, _fill

pytestmark = [pytest.mark.both_databases, pytest.mark.empty_database]
BEFORE, AFTER = "0036", "0037"


def test_texts_of_before_stay_html_in_both_directions(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    with app.app_context():
        make_tables(BEFORE)
        with db.engine.begin() as connection:
            _fill(connection)
            before = connection.execute(sa.text("SELECT * FROM notice_text ORDER BY id")).all()
            assert before
        upgrade(directory=FOLDER, revision=AFTER)
        with db.engine.begin() as connection:
            rows = connection.execute(sa.text("SELECT * FROM notice_text ORDER BY id")).all()
            assert [row.markdown for row in rows] == [None] * len(before)
            assert [row.html for row in rows] == [row.html for row in before]
        downgrade(directory=FOLDER, revision=BEFORE)
        with db.engine.begin() as connection:
            assert connection.execute(sa.text("SELECT * FROM notice_text ORDER BY id")).all() == before
        db.engine.dispose()
