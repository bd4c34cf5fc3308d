"""Answers of one test's name server are not remembered by the next one's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal.domains import asking


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    asking._cache.__init__()
    yield
