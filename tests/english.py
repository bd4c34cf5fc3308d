"""Finds English in what a reader of another language gets."""

from __future__ import annotations

import re
from functools import cache

from babel.messages.pofile import read_po

from portal.web.translations import FOLDER

# Words that no German sentence has, nor a name at a provider that the portal writes as the provider does.
_WORDS = (
    "the|your|you|with|and|has|have|this|that|from|was|were|are|is|be|been|not|of|to|for|which|when|its|it"
)
_FUNCTION_WORD = re.compile(rf"\b(?:{_WORDS})\b", re.IGNORECASE)
_NO_WORDS = re.compile(r"https?://\S+|\S+@\S+|„[^“]*“|“[^”]*”|\"[^\"]*\"|\{\{[^}]*\}\}")


@cache
def english_sentences() -> frozenset[str]:
    """Return the messages of the catalogue without values whose German differs."""
    with (FOLDER / "de" / "LC_MESSAGES" / "messages.po").open("rb") as file:
        catalogue = read_po(file, locale="de")
    return frozenset(
        entry.id
        for entry in catalogue
        if isinstance(entry.id, str) and entry.id and entry.string != entry.id and "%(" not in entry.id
    )


def is_english_word(text: str) -> bool:
    """Return whether a text is an English message of the catalogue, as short as it may be: for texts that people do not write."""
    return " ".join(text.split()) in english_sentences()


def is_english(text: str) -> bool:
    """Return whether a text is an English message of the catalogue, or holds two English words outside of names and addresses."""
    plain = " ".join(text.split())
    found = {word.casefold() for word in _FUNCTION_WORD.findall(_NO_WORDS.sub("", plain))}
    return len(found) > 1 or (plain in english_sentences() and " " in plain)
