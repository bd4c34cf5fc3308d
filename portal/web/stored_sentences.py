"""Stored sentences with values in the language of a page.

What a check of the server or of a domain found is stored in English, filled with its values. Each sentence that ``MODULES`` can
make is a template of the catalogue: a string, or an f-string whose values are {a}, {b} and so on. The template is found by
comparing it with the stored sentence, and its values are put into the translation.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flask_babel import get_locale, gettext

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Below portal/; each makes sentences that are stored, or shown beside JSON.
MODULES = (
    *(
        f"domains/{name}"
        for name in ("assessment", "checks", "dkim", "dkim_advice", "dmarc", "findings", "mx", "sources")
    ),
    *(f"domains/spf/{name}" for name in ("advice", "evaluate", "record", "tree")),
    *(f"smtp/protocol/{name}" for name in ("handshake", "stages", "transaction")),
    *(f"smtp/probe/{name}" for name in ("autoconfig", "fixes", "port_detection")),
    *(f"api/{name}" for name in ("schemas", "problems")),
    *(f"incidents/{name}" for name in ("bounces", "detection", "expiry", "held_mail", "monitor", "webhooks")),
    "smtp/network/guard",
    "smtp/providers/credential_checks",
    "http_client",
    "privacy/blanking",
)
# Of findings about a domain, before the sentence of one: "SPF: There is no record."
TITLES = ("SPF", "DKIM", "DMARC", "Receiving", "Return path")
_FOLDER = Path(__file__).parent.parent
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_SENTENCE_END = re.compile(r"(?<=[.!?]) (?=[A-Z])")
_WORD = re.compile(r"(?<![\w=/:.-])[A-Za-z]{2,}(?![\w=/:])")
_NO_SENTENCE = re.compile(
    r"\n|%s|^\[|^encrypted with|^[^\s@]++@\S++$"
)  # layouts, and lines of logs and transcripts
_MAX_DEPTH = 4  # a sentence within a value of a sentence
_MIN_WORDS = 2


def translate(text: str, depth: int = 0) -> str:
    """Return a stored text in the language of the page; one that no template fits unchanged. Takes linear time."""
    if not text:
        return ""
    whole, locale = gettext(text), get_locale()
    is_value = " " not in text  # a host name, a number: no template is that short
    if whole != text or is_value or locale is None or locale.language == "en" or depth > _MAX_DEPTH:
        return whole
    for template in _templates():
        values = values_of(template, text)
        if values is not None:
            return fill(
                gettext(template), {name: translate(value, depth + 1) for name, value in values.items()}
            )
    subject, colon, rest = text.partition(": ")
    if colon and subject in TITLES:
        return f"{gettext(subject)}: {translate(rest, depth + 1)}"
    parts = _SENTENCE_END.split(text)
    return " ".join(translate(part, depth + 1) for part in parts) if len(parts) > 1 else text


def values_of(template: str, sentence: str) -> dict[str, str] | None:
    """Return the values that a template was filled with, None for another sentence. Takes linear time."""
    literals, names = _parts(template)
    start = literals[0]
    if sentence[: len(start)].casefold() != start.casefold():
        return None
    values: dict[str, str] = {}
    at = len(start)
    for name, literal in zip(names, literals[1:], strict=True):
        end = sentence.find(literal, at) if literal else len(sentence)
        if literal is literals[-1] and literal:
            end = len(sentence) - len(literal)
            if end < at or not sentence.endswith(literal):
                return None
        if end < 0:
            return None
        values.setdefault(name, sentence[at:end])
        at = end + len(literal)
    return values if at == len(sentence) else None


@cache
def _parts(template: str) -> tuple[list[str], list[str]]:
    """Return the words of a template and the names of the values between them. The templates are those of this program."""
    return _PLACEHOLDER.split(template)[::2], _PLACEHOLDER.findall(template)


def placeholders_of(template: str) -> set[str]:
    """Return the names of the values that a template needs."""
    return set(_parts(template)[1])


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return a template with its values; a missing one is empty."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], ""), template)


def own_length(template: str) -> int:
    """Return the number of characters of a template that are no value's."""
    return len(_PLACEHOLDER.sub("", template))


def templates() -> Iterator[tuple[str, int, str]]:
    """Yield the templates of each module, with its path below ``portal/`` and the line."""
    for module in MODULES:
        tree = ast.parse((_FOLDER / f"{module}.py").read_text(encoding="utf-8"))
        parts = {
            id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)
        }
        docs = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = _template(node)
            elif (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in parts | docs
            ):
                text = node.value
            else:
                continue
            if len(_WORD.findall(_PLACEHOLDER.sub("", text))) >= _MIN_WORDS and not _NO_SENTENCE.search(text):
                yield f"{module}.py", node.lineno, text


def _template(node: ast.JoinedStr) -> str:
    names = iter("abcdefghijklmnopqrstuvwxyz")
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else f"{{{next(names)}}}" for part in node.values
    )


@cache
def _templates() -> tuple[str, ...]:
    """Return the templates with the most words of their own first: one that is hardly more than a value fits any sentence."""
    return tuple(sorted({text for _path, _line, text in templates()}, key=own_length, reverse=True))
