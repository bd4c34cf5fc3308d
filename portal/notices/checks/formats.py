"""Converts a message between HTML and Markdown at the owner's request."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from flask_babel import gettext as _

from ..markup.markdown import PART_LIMIT, SIGN_LIMIT, TooManyParts, TooManySigns, markdown_to_html
from ..markup.markdown_writer import html_to_markdown
from ..rendering import clean_lines
from .braces import repair
from .subjects import find_tags
from .syntax import find_errors

if TYPE_CHECKING:
    from ..catalogue import Notice
    from ..texts import Text

_CODE = re.compile(r"`[^`\n]{0,500}`")


def find_html(markdown: str) -> list[str]:
    """Return the HTML tags in Markdown, which recipients would see as text; tags in code are meant."""
    return find_tags(_CODE.sub("", markdown))


def describe_excess(error: TooManyParts) -> str:
    """Return the error of Markdown with more parts than an email needs."""
    if isinstance(error, TooManySigns):
        signs = "* _ ~ ` \\ &"
        return str(
            _(
                "This has more than %(limit)s of the signs %(signs)s; remove some.",
                limit=f"{SIGN_LIMIT:,}",
                signs=signs,
            )
        )
    return str(
        _(
            "This has more than %(limit)s lines, links, pictures or emphasised words; remove some.",
            limit=f"{PART_LIMIT:,}",
        )
    )


def to_markdown(text: Text) -> Text:
    """Return a valid text with its HTML as Markdown; its looks are lost."""
    return replace(text, html="", markdown=html_to_markdown(text.html))


def to_html(notice: Notice, text: Text) -> Text:
    """Return a text in HTML. Markdown that holds HTML, or that could not be saved, is taken as HTML, unchanged."""
    source = clean_lines(text.markdown or "")
    if not find_html(source):
        source = repair(source, notice, html=False)[0]
        if not list(find_errors(source, notice, html=False)):
            with suppress(TooManyParts):
                source = markdown_to_html(source, notice)
    return replace(text, html=source, markdown=None)
