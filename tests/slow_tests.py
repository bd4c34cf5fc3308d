"""Which tests are slow: plain ``pytest`` leaves them out, so that it takes three minutes on two processors.

``slow_tests.txt`` lists the functions whose sets of parameters together take more than ``LIMIT_S`` of processor time. To
measure them anew and write the file, run ``python -m pytest -n0 -p tests.slow_tests -m 'not thorough'``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMIT_S = 0.40
FILE = Path(__file__).with_suffix(".txt")
_used: Counter[str] = Counter()


def function_of(nodeid: str) -> str:
    """Return the name of a test without its parameters."""
    return nodeid.partition("[")[0]


def names() -> frozenset[str]:
    """Return the names of the slow functions, as node ids without parameters."""
    return frozenset(FILE.read_text("utf-8").split())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure the processor time of a test with its fixtures and the processes it waits for."""
    before = _processor_s()
    try:
        return (yield)
    finally:
        _used[function_of(item.nodeid)] += _processor_s() - before


def pytest_sessionfinish() -> None:
    """Write the file."""
    slow = sorted(name for name, used_s in _used.items() if used_s > LIMIT_S)
    FILE.write_text("".join(f"{name}\n" for name in slow), "utf-8")


def _processor_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
