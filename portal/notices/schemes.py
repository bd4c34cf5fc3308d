"""Showing a mail in its light or its dark dress, whatever the owner's own screen prefers."""

from __future__ import annotations

_ASKED = "@media (prefers-color-scheme: dark)"


def force_scheme(html: str, *, dark: bool) -> str:
    """Return a mail that no longer asks the screen; only for looking at, never for sending."""
    shown = html.replace(_ASKED, "@media all" if dark else "@media not all")
    scheme = "dark" if dark else "light"
    return shown.replace("color-scheme: light dark;", f"color-scheme: {scheme};")
