"""Every sentence and link of the sending status can be translated."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from portal.about import ROOT

_TRANSLATES = {"_", "ngettext"}


def _plain(tree: ast.Module) -> list[tuple[int, str]]:
    """Return the texts of several words that no call of gettext holds, without docstrings."""
    hidden: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _TRANSLATES:
            hidden |= {id(one) for one in ast.walk(node)}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            hidden.add(id(node.value))
    texts = (
        node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return [
        (one.lineno, one.value) for one in texts if id(one) not in hidden and re.search(r"[a-z] ", one.value)
    ]


@pytest.mark.parametrize("module", ["stops", "quality", "sending"])
def test_every_sentence_can_be_translated(module: str) -> None:
    path = Path(ROOT) / "portal" / "status" / f"{module}.py"
    assert _plain(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_a_plain_sentence_is_found() -> None:
    assert _plain(ast.parse('"""A docstring."""\nx = _("One text") + f"Two texts {1}"')) == [
        (2, "Two texts ")
    ]
