"""Finds sentences that are not in a call of ``_()``: methods of extraction for Babel, named in ``babel.cfg``."""

from __future__ import annotations

import ast
import tomllib
from typing import IO, TYPE_CHECKING, Any

from .stored_sentences import TITLES, templates

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    Message = tuple[int, str, str, list[str]]


def extract_toml(
    fileobj: IO[bytes], _keywords: Collection[str], _comment_tags: Collection[str], options: Mapping[str, str]
) -> Iterator[Message]:
    """Yield the texts under the keys that the option ``keys`` lists, at any depth; ``table.key`` is one of such tables only."""
    keys = frozenset(options["keys"].split())
    for text in _texts(tomllib.load(fileobj), keys, within=False):
        yield 1, "gettext", text, []


def extract_sentences(
    fileobj: IO[bytes],
    _keywords: Collection[str],
    _comment_tags: Collection[str],
    options: Mapping[str, str],  # noqa: ARG001 - Babel passes it by name
) -> Iterator[Message]:
    """Yield the strings of a Python module that begin with a capital letter and hold a space; docstrings aside."""
    for statement in ast.walk(ast.parse(fileobj.read())):
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            for node in ast.walk(statement.value):
                if (
                    isinstance(node, ast.Constant)
                    and isinstance(node.value, str)
                    and _is_sentence(node.value)
                ):
                    yield node.lineno, "gettext", node.value, []


def extract_stored(
    _fileobj: IO[bytes],
    _keywords: Collection[str],
    _comment_tags: Collection[str],
    options: Mapping[str, str],  # noqa: ARG001 - Babel passes it by name
) -> Iterator[Message]:
    """Yield the templates of the sentences that checks store, and their titles (stored_sentences.py)."""
    for title in TITLES:
        yield 1, "gettext", title, []
    for _path, line, text in templates():
        yield line, "gettext", text, []


def _is_sentence(text: str) -> bool:
    return text[:1].isupper() and " " in text


def _texts(value: Any, keys: frozenset[str], *, within: bool, table: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            listed = key in keys or f"{table}.{key}" in keys
            yield from _texts(one, keys, within=within or listed, table=key)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, keys, within=within, table=table)
    elif within and isinstance(value, str) and any(letter.isalpha() for letter in value):
        yield value
