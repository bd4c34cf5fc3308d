"""Real servers for the engine. Tests of a missing one are skipped, or fail if SIGNET_REQUIRE_INTEROP is set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.interop.dovecot import Dovecot, dovecot_missing
from tests.interop.postfix import Postfix, postfix_missing
from tests.interop.servers import Haraka, haraka_missing


def _skip(reason: str | None) -> None:
    if reason is None:
        return
    if os.environ.get("SIGNET_REQUIRE_INTEROP"):
        pytest.fail(f"{reason}, and the real servers may not be skipped here")
    pytest.skip(reason)


@pytest.fixture
def real_or_skip() -> Callable[[str | None], None]:
    """Return a function that skips the test for a reason, or does nothing for None."""
    return _skip


@pytest.fixture(scope="session")
def postfix() -> Iterator[Postfix]:
    _skip(postfix_missing())
    with Postfix() as server:
        yield server


@pytest.fixture(scope="session")
def haraka() -> Iterator[Haraka]:
    _skip(haraka_missing())
    with Haraka() as server:
        yield server


@pytest.fixture(scope="session")
def dovecot(postfix: Postfix) -> Iterator[Dovecot]:
    _skip(dovecot_missing())
    with Dovecot(postfix) as server:
        yield server
