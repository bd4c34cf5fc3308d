"""The tenant matrix on SQLite; ``make security`` runs it on PostgreSQL as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import update

from portal.accounts.models import OwnerSession
from portal.clock import utcnow
from portal.db import db
from tests.security import tenants
from tests.security.rows import Row


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tenants.Portal]:
    with tenants.portal(tmp_path_factory.mktemp("tenants")) as found:
        yield found


def breaches(rows: list[Row]) -> list[str]:
    assert rows
    return [f"{row.name}: {row.measured}" for row in rows if not row.passed]


def test_head_and_options_are_safe_on_every_page(place: tenants.Portal) -> None:
    assert breaches(tenants.safe_methods(place, "SQLite")) == []


def test_no_form_is_accepted_without_its_csrf_token(place: tenants.Portal) -> None:
    assert breaches(tenants.csrf(place, "SQLite")) == []


def test_no_person_sees_or_changes_what_belongs_to_another_account(place: tenants.Portal) -> None:
    rows = tenants.matrix(place, "SQLite")
    found = breaches(rows)
    assert not found, "\n".join(found)
    assert len(place.rules()) > 80


def test_a_session_that_is_seen_again_is_no_change(place: tenants.Portal) -> None:
    person = place.people[tenants.BETA]
    mine = OwnerSession.account_id == person.account_id
    with place.app.app_context():
        before = tenants._rows_of(person)
        assert before["owner_session"]
        db.session.execute(update(OwnerSession).where(mine).values(seen_at=utcnow()))
        db.session.commit()
        assert tenants._rows_of(person) == before


def test_a_leak_is_found(place: tenants.Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a person in another owner's browser sees that owner's things."""
    alpha = place.people[tenants.ALPHA]
    thief = tenants.Person("a thief", alpha.browser)
    with monkeypatch.context() as patch:
        patch.setattr(place, "people", {"a thief": thief, tenants.ALPHA: alpha, tenants.BETA: thief})
        patch.setattr(thief, "ids", alpha.ids)
        patch.setattr(thief, "slug", alpha.slug)
        patch.setattr(thief, "mark", "none of the pages has this")
        leaks, *_ = tenants.matrix(place, "control")
    assert not leaks.passed
