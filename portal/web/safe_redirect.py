"""Redirects that never leave the site."""

from __future__ import annotations


def same_site_path(target: str | None) -> str | None:
    """Return ``target`` if it is a path of this site, else None.

    Browsers read ``//host`` and ``/\\host`` as another site, turn a backslash into a slash, and drop tabs
    and line breaks before they look; so nothing of the kind is let through, wherever it stands.
    """
    if not target or len(target) > 2000 or not target.startswith("/") or target.startswith("//"):
        return None
    if "\\" in target or any(c < "\x21" or "\x7f" <= c <= "\x9f" for c in target):
        return None
    return target
