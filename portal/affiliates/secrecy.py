"""Emails by which an affiliate agrees to something: their links are hidden from the owner, who could agree instead."""

from __future__ import annotations

import re

KINDS = frozenset({"confirm-sign-up", "invited"})
_HIDDEN = "hidden-link"
# Wherever the owner's own text has put it, and however cut. No word of a text or a style is as long.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{30,}")


def holds_a_key(kind: str) -> bool:
    """Whether emails of this kind hold a link that acts in the affiliate's name."""
    return kind in KINDS


def shown(kind: str, text: str) -> str:
    """Return a body as the owner may see it."""
    return _TOKEN.sub(_HIDDEN, text) if holds_a_key(kind) else text
