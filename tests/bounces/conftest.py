"""Fixtures of the bounces: an account with a name that the tests use."""

from __future__ import annotations

import pytest

from tests.bounces.support import account_id_of


@pytest.fixture
def brightleaf(app, owner) -> int:
    """The id of Ada's account."""
    return account_id_of()


@pytest.fixture
def copperpot(app, stranger) -> int:
    """The id of Bo's account."""
    return account_id_of("copperpot")
