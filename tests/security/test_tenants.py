"""The tenant matrix on SQLite; ``make security`` runs it on PostgreSQL as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
