"""Conditions of Handlebars and Mustache, such as ``{{#if FNAME}}…{{/if}}``, to conditions of Liquid."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..liquid import find_tokens
from .names import variable_meant

if TYPE_CHECKING:
    from ..catalogue import Notice

_TOKEN = re.compile(
    r"\{\{~?\s{0,3}(?:(?P<else>else|\^)|/(?P<end>[\w.]{1,60})"
    r"|(?P<sign>[#^])(?:(?P<word>if|unless|with)\s{1,3})?(?P<name>[A-Za-z][\w.-]{0,60}))\s{0,3}~?\}\}"
)


def replace_blocks(source: str, notice: Notice, pairs: dict[str, str]) -> str:
    """Return the source with its conditions replaced, and add them to ``pairs``; unchanged if one is not understood."""
    parts: list[str] = []
    found: dict[str, str] = {}
    opened: list[tuple[str, str]] = []  # the word that ends each block, and how it ends in Liquid
    at = 0
    for token in find_tokens(source):
        match = _TOKEN.fullmatch(token.text)
        if match is None:
            continue
        new = _replace(match, notice, opened)
        if not new:
            return source
        found[token.text] = new
        parts += (source[at : token.start], new)
        at = token.end
    if opened:
        return source
    pairs |= found
    return "".join((*parts, source[at:]))


def _replace(match: re.Match[str], notice: Notice, opened: list[tuple[str, str]]) -> str:
    if match["else"]:
        return "{% else %}" if opened else ""
    if match["end"]:
        expected, new = opened.pop() if opened else ("", "")
        return new if match["end"] == expected else ""
    variable = variable_meant(match["name"], notice)
    word = "unless" if match["word"] == "unless" or match["sign"] == "^" else "if"
    opened.append((match["word"] or match["name"], f"{{% end{word} %}}"))
    return f"{{% {word} {variable} %}}" if variable else ""
