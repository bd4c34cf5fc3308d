"""Parts of a source that other checks must not read: comments, styles, scripts, and Liquid tokens."""

from __future__ import annotations

import re

from ..liquid import find_tokens

FILLER = "\x01"  # no pattern of a check matches it
_UNSEEN = {"<!--": "-->", "<style": "</style", "<script": "</script", "<title": "</title"}
_UNSEEN_START = re.compile("|".join(_UNSEEN))


def mask(source: str, *, html: bool, tokens: bool = True) -> str:
    """Return the source with fillers of the same length, so that places and lines stay. Takes linear time."""
    spans = [(one.start, one.end) for one in find_tokens(source)] if tokens else []
    return fill(source, [*spans, *(_unseen_spans(source) if html else ())])


def fill(source: str, spans: list[tuple[int, int]]) -> str:
    """Return the source with each span filled; line ends stay."""
    parts: list[str] = []
    at = 0
    for start, end in sorted(spans):
        if end <= at:
            continue
        inner = source[max(at, start) : end]
        filler = FILLER * len(inner)
        if "\n" in inner:
            filler = "\n".join(FILLER * len(line) for line in inner.split("\n"))
        parts += (source[at:start], filler)
        at = end
    return "".join((*parts, source[at:]))


def _unseen_spans(source: str) -> list[tuple[int, int]]:
    """Find comments and elements whose content is not shown. What is not closed reaches to the end."""
    lowered = source.lower()
    if len(lowered) != len(source):  # some letters have a longer lower case
        lowered = "".join(one if len(one) == 1 else "x" for one in map(str.lower, source))
    spans: list[tuple[int, int]] = []
    at = 0
    while (opening := _UNSEEN_START.search(lowered, at)) is not None:
        closing = _UNSEEN[opening.group()]
        end = lowered.find(closing, opening.end())
        at = len(source) if end == -1 else end + len(closing)
        spans.append((opening.start(), at))
    return spans
