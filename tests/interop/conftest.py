"""Real servers for the engine. One that is absent is skipped, with the reason, unless that is forbidden."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.interop.servers import Haraka, Postfix, why_no_haraka, why_no_postfix


def _skip(reason: str | None) -> None:
    if reason is None:
        return
    if os.environ.get("SIGNET_REQUIRE_INTEROP"):
        pytest.fail(f"{reason}, and the real servers may not be skipped here")
    pytest.skip(reason)


@pytest.fixture
def real_or_skip() -> Callable[[str | None], None]:
    """Tell it why a server is absent, or None when it is there."""
    return _skip


@pytest.fixture(scope="session")
def postfix() -> Iterator[Postfix]:
    _skip(why_no_postfix())
    with Postfix() as server:
        yield server


@pytest.fixture(scope="session")
def haraka() -> Iterator[Haraka]:
    _skip(why_no_haraka())
    with Haraka() as server:
        yield server
