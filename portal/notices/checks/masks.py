"""Parts of a source that other checks must not read: comments, styles, scripts, and Liquid tokens."""

from __future__ import annotations

from ..liquid import find_tokens

FILLER = "\x01"  # no pattern of a check matches it
_UNSEEN = {"<!--": "-->", "<style": "</style", "<script": "</script", "<title": "</title"}


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
        parts += (source[at:start], "\n".join(FILLER * len(line) for line in inner.split("\n")))
        at = end
    return "".join((*parts, source[at:]))


def _unseen_spans(source: str) -> list[tuple[int, int]]:
    """Find comments and elements whose content is not shown. What is not closed reaches to the end."""
    lowered = source.lower()
    if len(lowered) != len(source):  # some letters have a longer lower case
        lowered = "".join(one if len(one) == 1 else "x" for one in map(str.lower, source))
    spans: list[tuple[int, int]] = []
    at = 0
    while (start := lowered.find("<", at)) != -1:
        opening = next((one for one in _UNSEEN if lowered.startswith(one, start)), "")
        at = start + 1
        if opening:
            end = lowered.find(_UNSEEN[opening], start + len(opening))
            at = len(source) if end == -1 else end + len(_UNSEEN[opening])
            spans.append((start, at))
    return spans
