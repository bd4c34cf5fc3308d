"""Colours that text can be read on (WCAG 2.2, contrast minimum)."""

from __future__ import annotations

import re

_HEX = re.compile(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{3})")
_ENOUGH = 4.5  # to 1, success criterion 1.4.3


class InvalidColour(ValueError):
    """The text is no colour; the message is one plain sentence."""


def make_readable(text: str) -> tuple[str, str]:
    """Return a colour that white text can be read on, and what to say where it had to be darkened.

    Raises InvalidColour.
    """
    found = _HEX.fullmatch(text.strip())
    if found is None:
        raise InvalidColour("Enter a colour as six digits, such as #1f3f5c.")
    digits = found.group(1).lower()
    typed = "#" + (digits if len(digits) == 6 else "".join(2 * digit for digit in digits))
    colour = typed
    while contrast_with_white(colour) < _ENOUGH:
        colour = _darker(colour)
    if colour == typed:
        return typed, ""
    return colour, f"{typed} is too light for white words on it, so it was darkened to {colour}."


def contrast_with_white(colour: str) -> float:
    """Return the contrast ratio of a colour such as #1f3f5c with white, from 1 to 21."""
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)


def _darker(colour: str) -> str:
    return "#" + "".join(f"{int(int(colour[i : i + 2], 16) * 0.97):02x}" for i in (1, 3, 5))
