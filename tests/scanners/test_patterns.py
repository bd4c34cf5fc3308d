"""Regular expressions that can take more than linear time: each one of portal/ is either safe by its form or reviewed.

Python's engine tries every way to divide a text between repetitions that can match the same characters. Safe are
possessive repetitions (``*+``), bounded ones, and those whose neighbours match other characters. Four forms are found:
lazy and nested repetitions, neighbours that overlap, and a pattern that begins with a repetition, which a search tries
again at every character.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

import portal
from portal.smtp.diagnosis.cases import load_cases
from portal.smtp.diagnosis.phrases import concept_phrases, phrase_pattern
from portal.smtp.providers import load_catalogue

ROOT = Path(portal.__file__).parent
FUNCTIONS = {"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}
MANY = 1000  # a repetition of up to so many is unbounded
SAMPLE = [chr(n) for n in range(256)] + ["\u0301", "\u2028", "é", "ж", "中", "\u202e"]

REVIEWED = {  # the pattern, and why it takes linear time
    r"\.(?:[a-z0-9]*[a-z][a-z0-9]*|[a-z0-9]+-[a-z0-9-]*[a-z0-9])\.?\Z": "reads the last 80 characters of a record",
    r"[^\s<>@\",;:\\()\[\]]+@[^\s<>@\",;:\\()\[\]]+": "used with fullmatch, so it is tried at the start only",
    r"[^<>]*<([^<>]*)>[\s.,;]*": "used with fullmatch, so it is tried at the start only",
    r"[ \u00a0\u3000]*[@＠][ \u00a0\u3000]*": "a pasted address has 1,000 characters",
    r"([^:]*):\d+": "used with fullmatch, so it is tried at the start only",
    r"\{\{\s*(\w{1,40})\s*(?:\|\||\?\?|\bor\b|,|\|\s*default\b\s*[:=(]?)\s*(\"[^\"]*\"|'[^']*')\s*\)?\s*\}\}": "500 characters",
    r"\{\{\s*[.$@=]?\s*(\w{1,40})\s*(?:\(\s*\))?[;.]?\s*\}\}": "500 characters",
    r"\s*[a-z0-9]{0,20}\.([\w-]{1,60})\s*": "used with fullmatch, so it is tried at the start only",
    r"/\*.*?(?:\*/|\Z)": "goes on where it ended; without an end it takes the rest",
    r"([^\s()@]++@[^\s()]++)\s*+\([^()@]*\)": "used with fullmatch, so it is tried at the start only",
    r"\b(?:accepted|queued)\W+<?([\w.@+-]*\d[\w.@+-]{5,})>?": "one word after each match; a reply has 2,000 characters",
    r"[(-]*x(?:[ \t()-]+x){0,5}\)?\s*[:=]\s*(?![:/]|[0-9]+\b(?!\.))": "a pasted host has 300 characters, read from the start",
    r"[(-]*x(?:[ \t()-]+x){0,5}\)?\s+(?=[^\W_][\w-]*\.[^\W_])": "a pasted host has 300 characters, read from the start",
    r"[(-]*[^\W\d][^\W\d()-]*(?:[ \t()-]+[^\W\d][^\W\d()-]*){0,5}\)?\s*[:=]\s*(?![:/]|[0-9]+\b(?!\.))": "as above, composed",
    r"[(-]*[^\W\d][^\W\d()-]*(?:[ \t()-]+[^\W\d][^\W\d()-]*){0,5}\)?\s+(?=[^\W_][\w-]*\.[^\W_])": "as above, composed",
    r"[\s,;]*\(?(?:ports?\b)?\s*[:=]?\s*([0-9]{1,5})?[\s,;(]*(?:start)?(?:tls|ssl)?\)?": "a pasted host has 300 characters",
    r"(?:at \S.{0,300}:\d+\)?|File \".{1,300}, line \d+.*)$": "matched at the start of a line only, with 300 characters between",
    r"(?P<before>[^/?]*://(?:[^/?]*@)?)(?P<hosts>[^/?@]*,[^/?@]*)(?P<after>.*)": "the operator's DATABASE_URL, once at the start",
    r"(?<![\w@.-])(?:[a-z0-9-]+\.)+[a-z]{2,}(?![\w@-])": "tried where a name begins; a stored cause has few sentences",
}


def _patterns_in_source() -> Iterator[tuple[str, str, int]]:
    """Yield pattern, place and flags of every call of ``re`` with a pattern that is written there."""
    for path in sorted(ROOT.rglob("*.py")):
        if "migrations" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            of = node.func.value
            if not (isinstance(of, ast.Name) and of.id == "re" and node.func.attr in FUNCTIONS):
                continue
            pattern = _literal(node.args[0])
            if pattern is not None:
                yield pattern, f"{path.relative_to(ROOT.parent)}:{node.lineno}", 0


def _literal(node: ast.expr) -> str | None:
    """Return a pattern; an inserted value, which is a word in all cases, becomes ``x``. None without literal parts."""
    if isinstance(node, ast.Constant):
        return node.value.decode("latin-1") if isinstance(node.value, bytes) else str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
    return None


def _patterns_in_memory() -> Iterator[tuple[str, str, int]]:
    """Yield the patterns that modules have compiled."""
    for module in pkgutil.walk_packages([str(ROOT)], "portal."):
        if ".migrations" in module.name or module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            for one in _nested(value):
                pattern = one.pattern.decode("latin-1") if isinstance(one.pattern, bytes) else one.pattern
                yield pattern, f"{module.name}.{name}", one.flags & ~re.UNICODE


def _patterns_in_data() -> Iterator[tuple[str, str, int]]:
    """Yield the patterns of diagnoses and provider cards."""
    for concept, phrases in concept_phrases().items():
        yield phrase_pattern(phrases).pattern, f"concept {concept}", 0
    cards = load_catalogue().providers
    yield from ((shape.pattern.pattern, f"card {card.id}", 0) for card in cards for shape in card.secrets)
    cases = [*load_cases(), *(case for card in cards for case in card.cases)]
    for case in (case for case in cases if case.phrases):
        yield phrase_pattern(case.phrases).pattern, f"case {case.code}", 0


def _patterns() -> Iterator[tuple[str, str, int]]:
    yield from (*_patterns_in_source(), *_patterns_in_memory(), *_patterns_in_data())


def _nested(value: object) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        for one in (*value, *value.values()):
            yield from _nested(one)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            yield from _nested(one)


# -- the forms


def find_risks(pattern: str, flags: int = 0) -> list[str]:
    """Return a description of each form in a pattern that can take more than linear time."""
    return list(dict.fromkeys(_risks(list(parser.parse(pattern, flags)), is_start=True)))


def _risks(items: list[Any], *, is_start: bool = False) -> Iterator[str]:
    if is_start:
        yield from _risks_at_start(items)
    yield from _risks_of_neighbours(_flattened(items))
    for operator, argument in items:
        if operator in (codes.MAX_REPEAT, codes.MIN_REPEAT) and argument[1] > MANY:
            if operator is codes.MIN_REPEAT:
                yield "lazy"
            if any(_unbounded(one) for one in _every(list(argument[2]))):
                yield "nested"
        for inner in _bodies(operator, argument):
            yield from _risks(inner)


def _risks_at_start(items: list[Any]) -> Iterator[str]:
    flat = _flattened(items)
    if not flat or not _unbounded(flat[0], possessive=True):
        return
    if any(not _is_optional(one) for one in flat[1:]):
        yield "begins with a repetition"


def _risks_of_neighbours(items: list[Any]) -> Iterator[str]:
    """Find two repetitions that can both match what stands between them."""
    for index, first in enumerate(items):
        if not _unbounded(first):
            continue
        alphabet = _characters(first)
        for second in items[index + 1 :]:
            common = alphabet & _characters(second)
            if _unbounded(second) and common:
                yield "overlapping neighbours"
            if not _is_optional(second) and not common:
                break


def _flattened(items: list[Any]) -> list[Any]:
    """Return a sequence with the content of its plain groups in place of them."""
    flat = []
    for operator, argument in items:
        if operator is codes.SUBPATTERN:
            flat += _flattened(list(argument[3]))
        elif operator is codes.AT or operator in (codes.ASSERT, codes.ASSERT_NOT):
            flat.append((codes.AT, None))
        else:
            flat.append((operator, argument))
    return flat


def _bodies(operator: Any, argument: Any) -> Iterator[list[Any]]:
    if operator in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        yield list(argument[2])
    elif operator is codes.SUBPATTERN:
        yield list(argument[3])
    elif operator is codes.ATOMIC_GROUP:
        yield list(argument)
    elif operator is codes.BRANCH:
        yield from (list(branch) for branch in argument[1])
    elif operator in (codes.ASSERT, codes.ASSERT_NOT):
        yield list(argument[1])


def _every(items: list[Any]) -> Iterator[Any]:
    for item in items:
        yield item
        for inner in _bodies(*item):
            yield from _every(inner)


def _unbounded(item: Any, *, possessive: bool = False) -> bool:
    operator, argument = item
    kinds = {codes.MAX_REPEAT, codes.MIN_REPEAT} | ({codes.POSSESSIVE_REPEAT} if possessive else set())
    return operator in kinds and argument[1] > MANY


def _is_optional(item: Any) -> bool:
    operator, argument = item
    if operator is codes.AT:
        return False
    repeats = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)
    return operator in repeats and argument[0] == 0


def _characters(item: Any) -> set[str]:
    """Return the characters of the sample that an item can match, in any place."""
    operator, argument = item
    if operator is codes.LITERAL:
        return {chr(argument)}
    if operator is codes.NOT_LITERAL:
        return {c for c in SAMPLE if c != chr(argument)}
    if operator is codes.ANY:
        return set(SAMPLE)
    if operator is codes.IN:
        return _in_class(argument)
    return {c for inner in _bodies(operator, argument) for one in inner for c in _characters(one)}


def _in_class(members: list[Any]) -> set[str]:
    found: set[str] = set()
    for operator, argument in members:
        if operator is codes.LITERAL:
            found.add(chr(argument))
        elif operator is codes.RANGE:
            found |= {c for c in SAMPLE if argument[0] <= ord(c) <= argument[1]}
        elif operator is codes.CATEGORY:
            found |= {c for c in SAMPLE if re.fullmatch(_CATEGORIES[argument], c)}
    negated = any(operator is codes.NEGATE for operator, _ in members)
    return set(SAMPLE) - found if negated else found


_CATEGORIES = {
    codes.CATEGORY_DIGIT: r"\d",
    codes.CATEGORY_NOT_DIGIT: r"\D",
    codes.CATEGORY_SPACE: r"\s",
    codes.CATEGORY_NOT_SPACE: r"\S",
    codes.CATEGORY_WORD: r"\w",
    codes.CATEGORY_NOT_WORD: r"\W",
}


def test_every_pattern_takes_linear_time_by_its_form_or_is_reviewed():
    found = {}
    for pattern, place, flags in _patterns():
        risks = find_risks(pattern, flags)
        if risks and pattern not in REVIEWED:
            found.setdefault(pattern, (place, risks))
    listing = "\n".join(
        f"{place}: {pattern!r}: {', '.join(risks)}" for pattern, (place, risks) in found.items()
    )
    assert not found, f"Use a possessive repetition or str.find, or review these:\n{listing}"


def test_no_reviewed_pattern_is_left_over():
    used = {pattern for pattern, _, _ in _patterns()}
    assert set(REVIEWED) <= used


@pytest.mark.parametrize(
    ("pattern", "risk"),
    [
        (r"\{\{.*?\}\}", "lazy"),
        (r"x(?:a+)+y", "nested"),
        (r"x\s*\s*y", "overlapping neighbours"),
        (r"x[^,]+@[^,]+y", "overlapping neighbours"),
        (r"x\s*(a?)\s*y", "overlapping neighbours"),
        (r"[^,]+@", "begins with a repetition"),
        (r"(?:(?!-->).)*-->", "begins with a repetition"),
    ],
)
def test_a_dangerous_form_is_found(pattern, risk):
    assert risk in find_risks(pattern)


@pytest.mark.parametrize(
    "pattern", [r"x[^,@]+@[^,]+", r"(?<![^ ])[^ @]++@", r"\s+", r"a{1,50}b", r"<[a-z]++[^>]*+>", r"[a-z]+\d*"]
)
def test_a_safe_form_is_not(pattern):
    assert find_risks(pattern) == []
