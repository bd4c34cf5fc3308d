"""The text that a search for affiliates matches, and the form in which texts and queries are compared.

Both sides are folded here and not in the database: SQLite folds ASCII letters only, and PostgreSQL as its locale does. A
search reads the texts of one account, so its cost grows with their number and with nothing else.
"""

from __future__ import annotations

import unicodedata

from ..smtp.mailbox import readable_mailbox

LIMIT_CHARS = 100  # of a query; normalisation takes quadratic time for long runs of marks
_FOLDED_CHARS = 1000
# Apostrophes and dashes as keyboards, word processors and web pages write them, and letters that do not decompose.
_SAME = str.maketrans(
    dict.fromkeys("’‘ʼ‛`´′＇ʹˈ", "'")
    | dict.fromkeys("‐‑‒–—―−", "-")
    | dict.fromkeys("“”„«»", '"')
    | {"ı": "i", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ł": "l", "ŧ": "t", "þ": "th", "æ": "ae", "œ": "oe"}
)


def fold(text: str) -> str:
    """Return a text without the differences that a search overlooks: case, accents, forms of apostrophes and dashes."""
    folded = text[:_FOLDED_CHARS].casefold().translate(_SAME)
    if folded.isascii():
        return folded
    kept = (c for c in unicodedata.normalize("NFKD", folded) if unicodedata.category(c) not in {"Mn", "Cf"})
    return "".join(kept).casefold().translate(_SAME)


def fold_query(query: str) -> str:
    """Return what was typed into a search field in the form of ``fold``, in one line and of limited length."""
    return " ".join(fold(query.replace("\0", "")[:LIMIT_CHARS]).split())


def search_text(name: str, mailbox: str, code: str, external_id: str | None = None) -> str:
    """Return the text that a search matches: what the pages show of an affiliate, the domain in both spellings."""
    parts = [name, mailbox, readable_mailbox(mailbox), code, external_id or ""]
    return "\n".join(dict.fromkeys(" ".join(fold(part).split()) for part in parts if part))
