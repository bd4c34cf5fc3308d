"""Repair of Liquid tokens that a word processor or a rich-text editor has changed, where their meaning is certain.

Such editors make straight quotes curly, write spaces as ``&nbsp;``, put formatting into the middle of a token or between its
braces, encode the braces of a link, and put ``http://`` before a variable that holds a whole address.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ..catalogue import VariableType
from ..liquid import TOKEN_LIMIT, TOKEN_LIMIT_CHARS, find_tokens
from ..markup.html_tokens import Kind, read_tokens
from .syntax import describe_invalid

if TYPE_CHECKING:
    from ..catalogue import Notice

_TAG = r"<[^<>]{1,300}>"
_GAP = rf"(?:{_TAG}|&(?:ZeroWidthSpace|zwnj|zwj|shy|#8203|#65279);|[\u200b-\u200d\u2060\ufeff\u00ad])"
_SPLIT_OPENING = re.compile(rf"\{{((?:{_GAP}){{1,8}})(?=[{{%])")
_SPLIT_CLOSING = re.compile(rf"(?<=[}}%])((?:{_GAP}){{1,8}})\}}")
_ENTITIES = re.compile(r"(?:&(?:#123|#x7[bB]|lbrace|lcub);){2}|((?:&(?:#125|#x7[dD]|rbrace|rcub);){2})")
_ENCODED = re.compile(r"%7[Bb]%7[Bb]([^\"'<>\s{}]{1,150})%7[Dd]%7[Dd]")
_BEFORE_LINK = re.compile(
    r"((?:(?:href|src)\s{0,3}=\s{0,3}[\"']?|\]\())(?:https?://)(?=\{\{-?\s{0,5}(\w{1,40}))", re.IGNORECASE
)
_STRAIGHT = str.maketrans(
    {
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‘’‚‛′‹›", "'"),
        **dict.fromkeys("\u00a0\u202f\u2007\u2009", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
    }
)
_VOID = {"br", "hr", "img", "wbr"}


def repair(source: str, notice: Notice, *, html: bool) -> tuple[str, list[tuple[str, str]]]:
    """Return the source with its tokens repaired, and the pairs that were replaced. Takes linear time."""
    if source.count("{") + source.count("%7") + source.count("&") > 8 * TOKEN_LIMIT:
        return source, []
    pairs: dict[str, str] = {}
    if html:
        source = _ENTITIES.sub(lambda match: _decode_braces(match, pairs), source)
        source = _SPLIT_OPENING.sub(lambda match: _join(match, pairs, "{"), source)
        source = _SPLIT_CLOSING.sub(lambda match: _join(match, pairs, "}"), source)
    source = _ENCODED.sub(lambda match: _decode(match, pairs), source)
    links = {variable.name for variable in notice.variables if variable.type is VariableType.LINK}

    def drop_scheme(match: re.Match[str]) -> str:
        if match.group(2) not in links:
            return match.group()
        pairs.setdefault(f"{match.group()}{{{{ {match.group(2)}", f"{match.group(1)}{{{{ {match.group(2)}")
        return match.group(1)

    source = _BEFORE_LINK.sub(drop_scheme, source)
    return _repair_tokens(source, pairs, html=html), list(pairs.items())


def _decode_braces(match: re.Match[str], pairs: dict[str, str]) -> str:
    new = "}}" if match.group(1) else "{{"
    pairs[match.group()] = new
    return new


def _join(match: re.Match[str], pairs: dict[str, str], brace: str) -> str:
    """Return a brace that was separated from its neighbour, with the tags between them before or after it."""
    gap = _tags_of(match.group(1))
    pairs.setdefault(match.group(), brace)
    return f"{gap}{brace}" if brace == "{" else f"{brace}{gap}"


def _decode(match: re.Match[str], pairs: dict[str, str]) -> str:
    new = f"{{{{{unquote(match.group(1))}}}}}"
    if describe_invalid(new):
        return match.group()
    pairs[match.group()] = new
    return new


def _repair_tokens(source: str, pairs: dict[str, str], *, html: bool) -> str:
    parts: list[str] = []
    at = 0
    tokens = find_tokens(source)
    if len(tokens) > TOKEN_LIMIT:
        return source
    for token in tokens:
        if len(token.text) > TOKEN_LIMIT_CHARS or not describe_invalid(token.text):
            continue
        tags = _tags_of(token.text) if html else ""
        inner = re.sub(_TAG, "", token.text) if html else token.text
        new = unescape(inner).translate(_STRAIGHT).replace("\\_", "_")
        if new != token.text and not describe_invalid(new):
            pairs[token.text] = new
            parts += (source[at : token.start], tags, new)
            at = token.end
    return "".join((*parts, source[at:]))


def _tags_of(text: str) -> str:
    """Return the tags in a piece of HTML, without pairs that are complete in it."""
    kept: list[tuple[Kind, str, str]] = []
    for tag in re.findall(_TAG, text):
        for token in read_tokens(tag):
            if token.kind is Kind.END and kept and kept[-1][:2] == (Kind.START, token.value):
                kept.pop()
            elif token.kind in (Kind.START, Kind.END) and token.value not in _VOID:
                kept.append((token.kind, token.value, tag))
    return "".join(tag for _, _, tag in kept)
