"""The list of slow tests names tests that exist."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from tests import slow_tests

ROOT = Path(__file__).parents[1]


@cache
def _tests_of(path: str) -> frozenset[str]:
    """Return the tests of a file as node ids without parameters."""
    if not (ROOT / path).exists():
        return frozenset()
    found = set()
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(f"{path}::{node.name}")
        elif isinstance(node, ast.ClassDef):
            methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
            found |= {f"{path}::{node.name}::{method.name}" for method in methods}
    return frozenset(found)


def test_each_slow_test_exists():
    listed = slow_tests.names()
    assert listed
    assert {name for name in listed if name not in _tests_of(name.partition("::")[0])} == set()
