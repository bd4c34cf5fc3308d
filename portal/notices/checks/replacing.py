"""Replacement of all that other products and editors left in a text, as far as its meaning is certain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..liquid import SOURCE_LIMIT_CHARS
from . import leaddyno
from .addresses import complete_addresses
from .braces import repair
from .foreign import replace_placeholders
from .leaddyno import Conversion
from .names import variable_meant
from .subjects import READ_LIMIT_CHARS, find_html, remove_html
from .syntax import describe_token_excess, shorten

if TYPE_CHECKING:
    from ..catalogue import Notice
    from ..texts import Text


class Replaced(NamedTuple):
    """A text with its replacements."""

    text: Text
    conversions: tuple[Conversion, ...]


def replace_all(notice: Notice, text: Text) -> Replaced:
    """Return the text with replacements. A part that is too long or has too many placeholders stays unchanged."""
    pairs: dict[tuple[str, str], None] = {}
    parts: dict[str, str] = {}
    for name in ("subject", "html", "text", "markdown"):
        source = getattr(text, name)
        if source is None or len(source) > SOURCE_LIMIT_CHARS or describe_token_excess(source):
            continue
        if name == "subject" and len(source) > READ_LIMIT_CHARS:
            continue
        html = name == "html"
        new, found = repair(source, notice, html=html)
        pairs |= dict.fromkeys((shorten(old), shorten(meant)) for old, meant in found)
        new, found = replace_placeholders(new, notice, html=html)
        pairs |= dict.fromkeys(found)
        for unknown in leaddyno.convert(new, notice, html=html)[2]:
            variable = variable_meant(unknown.placeholder.strip("$"), notice)
            if variable:
                pairs[(unknown.placeholder, f"{{{{ {variable} }}}}")] = None
        if name == "subject":
            tags = find_html(new)
            new = remove_html(new) if tags else new
            pairs |= {(one, remove_html(one)): None for one in dict.fromkeys(tags)}
        elif name in ("html", "markdown"):
            new, found = complete_addresses(new)
            pairs |= dict.fromkeys(found)
        parts[name] = leaddyno.replace_meant(new, notice)
    return Replaced(replace(text, **parts), tuple(Conversion(*pair) for pair in pairs))
