"""How an email greets a person of whom only the full name is known."""

from __future__ import annotations

import re
import unicodedata

# In these scripts the family name stands first, and half a name would be no greeting.
_FAMILY_NAME_FIRST = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"  # kana, ideographs, Hangul
)


def first_name_of(name: str) -> str:
    """Return the first name, or the whole name where the first word is a title, an initial, "Lovelace,"."""
    words = name.split()
    if len(words) < 2:
        return name.strip()
    first = words[0]
    letters = sum(unicodedata.category(c)[0] == "L" for c in first)
    if letters < 2 or first[-1] in ".,،" or _FAMILY_NAME_FIRST.search(name):
        return " ".join(words)
    return first
