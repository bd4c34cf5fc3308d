"""Colours of emails: contrast of the accent colour (WCAG 2.2), and a fixed light or dark scheme for previews."""

from __future__ import annotations

import re

from flask_babel import gettext as _

_HEX = re.compile(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{3})")
_MIN_CONTRAST = 4.5  # to 1; WCAG success criterion 1.4.3
_DARKEN = 0.97  # the factor of each step
_DARK_SCHEME_QUERY = "@media (prefers-color-scheme: dark)"


class InvalidColour(ValueError):
    """The text is not a colour. The message is one sentence for the owner."""


def make_readable(text: str) -> tuple[str, str]:
    """Return a colour with enough contrast to white text, and a sentence if it had to be darkened.

    Raises:
        InvalidColour: ``text`` is not a hexadecimal colour of three or six digits.
    """
    found = _HEX.fullmatch(text.strip())
    if found is None:
        raise InvalidColour(_("Enter a colour as six digits, such as #1f3f5c."))
    digits = found.group(1).lower()
    entered = "#" + (digits if len(digits) == 6 else "".join(2 * digit for digit in digits))
    colour = entered
    while contrast_with_white(colour) < _MIN_CONTRAST:
        colour = _darken(colour)
    if colour == entered:
        return entered, ""
    return colour, _(
        "%(entered)s is too light for white text, so it was darkened to %(colour)s.",
        entered=entered,
        colour=colour,
    )


def contrast_with_white(colour: str) -> float:
    """Return the contrast ratio of a colour such as #1f3f5c with white, from 1 to 21."""
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def force_scheme(html: str, *, dark: bool) -> str:
    """Return an email's HTML fixed to its light or dark scheme, regardless of the device. For previews only."""
    shown = html.replace(_DARK_SCHEME_QUERY, "@media all" if dark else "@media not all")
    scheme = "dark" if dark else "light"
    return shown.replace("color-scheme: light dark;", f"color-scheme: {scheme};")


def _linear(channel: float) -> float:
    """Return an sRGB channel (0 to 1) as linear light."""
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)


def _darken(colour: str) -> str:
    return "#" + "".join(f"{int(int(colour[i : i + 2], 16) * _DARKEN):02x}" for i in (1, 3, 5))
