"""Retired words do not come back: CONTRIBUTING.md lists them with the words to use instead.

Read are identifiers, comments, docstrings and log messages of portal/, tests/ and benchmarks/, comments of TOML files, and the
documentation without its code. Strings that users read are those of the catalogue; a second table lists their retired words.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from babel.messages.pofile import read_po

from portal.about import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
_LOGGING = {"debug", "info", "warning", "error", "exception", "critical"}
# Read as wholes: published names in which a retired word stands.
ALLOWED = re.compile(r"journald|journalctl|systemd-journal", re.IGNORECASE)
DOCS = ("README.md", "SECURITY.md", "docs/*.md", "docs/adr/*.md")
GENERATED = {"diagnoses.md"}  # from texts that owners read


@cache
def retired(heading: str = "| Retired | Use |") -> dict[str, str]:
    """Return each retired word or phrase of a table of CONTRIBUTING.md with the word to use."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index(heading) :].split("\n\n", 1)[0]
    rows = _ROW.findall(table)[1:]
    return {
        word.strip(): use for words, use in rows if not words.startswith("-") for word in words.split(",")
    }


@cache
def _pattern() -> re.Pattern[str]:
    """Return what finds a retired word in lower case."""
    words = sorted((word.lower() for word in retired()), key=len, reverse=True)
    first = re.escape("".join({word[0] for word in words}))
    either = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in words)
    return re.compile(rf"\b(?=[{first}])(?:{either})\b")


def _spoken(identifier: str) -> str:
    """Return the words of an identifier: ``letGo_of`` becomes ``let Go of``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", identifier).replace("_", " ")


_BETWEEN_LITERALS = re.compile(r"""["']\s*[a-zA-Z]{0,2}["']""")  # which Python joins


def _python_texts(source: str) -> Iterator[tuple[int, str]]:
    if not any(map(_matches, (source, _spoken(source), _BETWEEN_LITERALS.sub("", source)))):
        return  # as in most files, which need not be parsed
    yield from _comments(source)
    for node in ast.walk(ast.parse(source)):
        for identifier in _identifiers(node):
            yield getattr(node, "lineno", 1), _spoken(identifier)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if docstring := ast.get_docstring(node, clean=False):
                yield node.body[0].lineno, docstring
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _LOGGING
        ):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments, of which only those with a retired word matter: most files are not split into tokens."""
    after_signs = (line.partition("#")[2] for line in source.splitlines())
    if any(_matches(text) for text in after_signs):
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def _identifiers(node: ast.AST) -> Iterator[str]:
    """Yield the names in the fields of a node: every string in them but the value of a literal."""
    if isinstance(node, ast.Constant):
        return
    for name in node._fields:
        value = getattr(node, name, None)
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, str):
                yield one


def _without_code(text: str) -> str:
    """Return Markdown with its code removed and its lines kept."""
    blocks = re.sub(
        r"^```.*?^```", lambda found: "\n" * found[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL
    )
    return re.sub(r"`[^`\n]*`|\]\([^)\s]*\)", " ", blocks)


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from _python_texts(source)
    elif path.suffix == ".toml":
        for number, line in enumerate(source.splitlines(), 1):
            yield number, line.partition("#")[2] if line.lstrip().startswith("#") else ""
    else:
        yield 1, _without_code(source)


def _files() -> Iterator[Path]:
    for folder in ("portal", "tests", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".toml") and "versions" not in path.parts and path != Path(__file__):
                yield path
    for pattern in DOCS:
        yield from (path for path in sorted(ROOT.glob(pattern)) if path.name not in GENERATED)


@lru_cache(maxsize=100_000)  # the same names occur again and again
def _matches(text: str) -> tuple[tuple[int, str], ...]:
    """Return where retired words begin in a text, and the words."""
    found = _pattern().finditer(ALLOWED.sub("", text).lower())
    return tuple((match.start(), re.sub(r"\s+", " ", match[0])) for match in found)


def found_in(texts: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for line, text in texts:
        for start, word in _matches(text):
            yield line + text[:start].count("\n"), word


def test_no_retired_word_comes_back():
    found = [
        f"{path.relative_to(ROOT)}:{line} {word}: use {retired()[word]}"
        for path in _files()
        for line, word in found_in(_texts(path))
    ]
    assert not found, "retired words, see CONTRIBUTING.md\n" + "\n".join(found)


def test_no_retired_word_is_visible():
    use = retired("| Retired from visible strings | Use |")
    either = "|".join(re.escape(word) for word in sorted(use, key=len, reverse=True))
    pattern = re.compile(rf"\b({either})\b", re.IGNORECASE)
    with (ROOT / "portal" / "translations" / "messages.pot").open("rb") as file:
        messages = [message.id for message in read_po(file) if message.id]
    texts = [text for one in messages for text in ([one] if isinstance(one, str) else one)]
    assert len(texts) > 4000
    assert [
        f"{found[0]}: use {use[found[0].lower()]}: {text}"
        for text in texts
        if (found := pattern.search(text))
    ] == []


@pytest.mark.parametrize(
    "source",
    [
        "def owe(message): ...",
        "class OwedMessage: ...",
        "x = 1  # whoever comes first",
        'def f():\n    """Judge a form."""',
        '_log.warning("the journal of %s", x)',
        "from .x import let_go",
    ],
)
def test_a_retired_word_is_found(source):
    assert list(found_in(_python_texts(source)))


def test_words_in_code_of_the_documentation_and_in_pages_are_left_alone():
    assert _without_code("see `rungs` and\n```\nowe\n```\n[x](twins.md)").split() == ["see", "and", "[x"]
    assert not list(found_in(_python_texts('label = "Nobody signed up yet."')))


_DEFINITION = re.compile(r"^ *(?:async )?(def|class) (\w+)", re.MULTILINE)


@cache
def _definitions() -> tuple[tuple[str, str, str], ...]:
    """Return where the portal defines what: the file, ``def`` or ``class``, and the name."""
    return tuple(
        (path.relative_to(ROOT).as_posix(), kind, name)
        for path in sorted((ROOT / "portal").rglob("*.py"))
        for kind, name in _DEFINITION.findall(path.read_text(encoding="utf-8"))
    )


def test_no_function_has_a_name_that_states_nothing():
    empty = {"look", "tell", "judge", "of", "due"}
    assert not [(where, name) for where, _kind, name in _definitions() if name in empty]


def test_no_class_name_has_two_meanings():
    places: dict[str, list[str]] = {}
    for where, kind, name in _definitions():
        if kind == "class":
            places.setdefault(name, []).append(where)
    assert len(places) > 100
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
