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
# The endpoints whose form is filled again (access.kept_form). The others have buttons and choices, and nothing to type.
_FILLED_AGAIN = frozenset(
    (
        "accounts.change_mailbox", "api_pages.create", "bounce_mailbox.save", "connect.save_google",
        "connect.save_microsoft", "connect_mailbox.begin", "connect_mailbox.save_app",
        "connect_mailbox.save_service_account", "consent.begin", "deliveries.keep", "factors.add_passkey",
        "incidents.save_webhook", "notices.add_mailbox", "operator.give_order", "operator.invite",
        "operator.save_platform_limit", "settings.save", "team.invite",
    )
)  # fmt: skip


@dataclass(frozen=True)
class KeptForm:
    """The harmless fields of a form, and the endpoint that it was sent to."""

    endpoint: str
    values: tuple[tuple[str, str], ...]

    @property
    def is_filled_again(self) -> bool:
        """Whether the page of the form shows the values."""
        return bool(self.values) and self.endpoint in _FILLED_AGAIN

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
