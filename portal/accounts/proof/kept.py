"""What was typed into a form before a proof of person: packed into a hidden field, then into the session's row.

It fills the form once the person has proved who they are. Secrets are never among the values (``web.errors``), and nothing
is saved by it: the person sends the form again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import MultiDict

if TYPE_CHECKING:
    from collections.abc import Sequence

_LIMIT_CHARS = 20_000


@dataclass(frozen=True)
class KeptForm:
    """The harmless fields of a form, and the endpoint that it was sent to."""

    endpoint: str
    values: tuple[tuple[str, str], ...]

    @property
    def formdata(self) -> MultiDict[str, str]:
        """The values as WTForms reads them."""
        return MultiDict(self.values)


def pack(endpoint: str, values: Sequence[tuple[str, str]]) -> str:
    """Return endpoint and values as text; without the values where they are more than any form holds."""
    packed = json.dumps([endpoint, [list(pair) for pair in values]])
    return packed if len(packed) <= _LIMIT_CHARS else json.dumps([endpoint, []])


def unpack(packed: str) -> KeptForm | None:
    """Return what was packed, or None. The text comes from a browser, so it may be anything."""
    if not packed or len(packed) > _LIMIT_CHARS:
        return None
    try:
        found: Any = json.loads(packed)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or len(found) != 2 or not isinstance(found[1], list):
        return None
    endpoint, pairs = found
    texts = [endpoint, *(text for pair in pairs for text in (pair if isinstance(pair, list) else [None]))]
    if not all(isinstance(text, str) for text in texts) or any(len(pair) != 2 for pair in pairs):
        return None
    return KeptForm(endpoint, tuple((name, value) for name, value in pairs))
