"""What a reply says, whatever its language: foreign text is folded, then searched for ideas.

An *idea* is a named list of phrases of many languages ("wrong" holds invalid, falsch, incorrecto, неверн,
错误 ...).
Cases speak of ideas, so that a reply nobody has listed is still understood.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..toml_tables import read_toml

if TYPE_CHECKING:
    from collections.abc import Iterable

_LEXICON = Path(__file__).parent / "cases" / "words.toml"
_ADDRESS = re.compile(r"<?[^\s<>@:;,()\"']+@[^\s<>@:;,()\"']+>?")
_NOT_A_WORD = re.compile(r"[^\w.@]+|_+")
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_EMAIL = re.compile(r"\be mail")


def fold(text: str) -> str:
    """Return ``text`` in small letters, without accents and punctuation, addresses replaced.

    Addresses and their parts must not speak: ``<quota@example.com>: user unknown`` is no quota.
    """
    text = _ADDRESS.sub(" @ ", text)
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    spaced = _NOT_A_WORD.sub(" ", bare).strip()
    return _EMAIL.sub("email", re.sub(r"\.(?=\s|$)", "", re.sub(r"\s+", " ", spaced)))


def _pattern_of(phrase: str) -> str:
    """Return one phrase as a pattern: a word's beginning, ``*`` for a few words between, ``$`` for the
    word's end.

    Chinese, Japanese, Thai and Korean write without spaces, so there a phrase may begin anywhere.
    """
    whole = phrase.endswith("$")
    parts = [re.escape(fold(part)) for part in phrase.rstrip("$").split("*")]
    head = "" if _UNSPACED.search(phrase) else r"(?<![^\W_])"
    return head + r".{0,50}?".join(parts) + (r"(?![^\W_])" if whole else "")


@cache
def phrases(listed: tuple[str, ...]) -> re.Pattern[str]:
    """Return one pattern that finds any of the phrases in folded text."""
    return re.compile("|".join(_pattern_of(phrase) for phrase in listed))


@cache
def lexicon() -> dict[str, re.Pattern[str]]:
    """Return every idea with its pattern."""
    ideas = read_toml(_LEXICON)
    return {name: phrases(ideas.texts(name, required=True)) for name in ideas}


def ideas_in(folded: str) -> frozenset[str]:
    """Return the names of the ideas a folded text holds."""
    return frozenset(name for name, pattern in lexicon().items() if pattern.search(folded))


def unknown_ideas(names: Iterable[str]) -> list[str]:
    """Return the names the lexicon does not have."""
    return sorted(set(names) - set(lexicon()))
