"""Slugs of programmes: their characters, and that each programme gets another one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from portal.accounts import identifiers
from portal.accounts.registration import create_owner
from portal.clock import utcnow
from tests.conftest import PASSWORD


@pytest.mark.parametrize(
    ("programme", "slug"),
    [
        ("Brightleaf", "brightleaf"),
        ("  Ada & Söhne GmbH ", "ada-sohne-gmbh"),
        ("山田", "programme"),
        ("---", "programme"),
        ("x" * 100, "x" * 48),
        ("a_b%c", "a-b-c"),
        ("ﬁne", "fine"),
    ],
)
def test_a_slug_has_only_letters_digits_and_hyphens(programme, slug):
    assert identifiers.slug_of(programme) == slug


def test_programmes_of_the_same_name_get_different_slugs(app):
    owners = [create_owner("Dove tail", "Cy", f"c{n}@x.example", PASSWORD, now=utcnow()) for n in range(4)]
    assert [o.account.slug for o in owners] == ["dove-tail", "dove-tail-2", "dove-tail-3", "dove-tail-4"]


def test_a_slug_is_free_although_another_begins_with_it(app):
    create_owner("Dovetail Joints", "Cy", "c1@x.example", PASSWORD, now=utcnow())
    assert create_owner("Dovetail", "Cy", "c2@x.example", PASSWORD, now=utcnow()).account.slug == "dovetail"


def test_concurrent_registrations_of_one_name_get_different_slugs(app):
    def register_owner(n):
        with app.app_context():
            return create_owner("Dovetail", "Cy", f"c{n}@x.example", PASSWORD, now=utcnow()).account.slug

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(register_owner, range(8)))) == 8
