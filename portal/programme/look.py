"""What a programme's public pages show of it: logo, colour, commission, description, and links to terms and privacy policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..accounts.standing import is_limited
from ..notices import branding

if TYPE_CHECKING:
    from ..accounts.models import Account

_HEX_DIGITS = frozenset("0123456789abcdef")
_HOVER_FACTOR = 0.85
# The accent has enough contrast to white (notices/colours.py), so the button is the same in both schemes.
_STYLES = """:root {{
  --accent: #{accent};
  --action: #{accent};
  --action-hover: #{hover};
  --on-action: #fff;
}}
"""


@dataclass(frozen=True)
class PublicLook:
    """``accent`` is six hexadecimal digits, or empty for the portal's own colours.

    ``logo`` and ``picture``, which is for link previews, are absolute addresses.
    """

    accent: str = ""
    logo: str = ""
    logo_width: int = 0
    logo_height: int = 0
    picture: str = ""
    has_picture: bool = False  # of its own, for link previews; else ``picture`` is the logo
    commission: str = ""
    description: str = ""
    terms_url: str = ""
    privacy_url: str = ""

    @property
    def logo_path(self) -> str:
        """The logo's address within the portal."""
        return urlsplit(self.logo).path


def public_look(account: Account) -> PublicLook:
    """Return the look of a programme's public pages.

    A limited account's own pictures, colours and links wait for the approval, as those of its emails do.
    """
    commission, description = account.commission or "", account.description or ""
    if is_limited(account):
        return PublicLook(commission=commission, description=description)
    saved = branding.branding_of(account.id)
    return PublicLook(
        accent="" if saved.accent == branding.DEFAULT_ACCENT else saved.accent.removeprefix("#"),
        logo=saved.logo_url,
        logo_width=saved.logo_width,
        logo_height=saved.logo_height,
        picture=branding.picture_url(account.picture) if account.picture else saved.logo_url,
        has_picture=bool(account.picture),
        commission=commission,
        description=description,
        terms_url=account.terms_url or "",
        privacy_url=account.privacy_url or "",
    )


def styles(accent: str) -> str | None:
    """Return the style sheet of an accent colour of six hexadecimal digits, or None if it is none."""
    if len(accent) != 6 or not set(accent) <= _HEX_DIGITS:
        return None
    channels = (int(int(accent[i : i + 2], 16) * _HOVER_FACTOR) for i in (0, 2, 4))
    return _STYLES.format(accent=accent, hover="".join(f"{channel:02x}" for channel in channels))
