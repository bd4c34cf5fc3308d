"""Repair of Liquid tokens that a word processor or a rich-text editor has changed, where their meaning is certain.

Such editors make straight quotes curly, write spaces as ``&nbsp;``, put formatting into the middle of a token or between its
braces, encode the braces of a link, and put ``http://`` before a variable that holds a whole address.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ..liquid import TAGS, TOKEN_LIMIT, TOKEN_LIMIT_CHARS, find_tokens
from ..markup.html_tokens import Kind, read_tokens
from .syntax import describe_invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..catalogue import Notice

_TAG = r"<[^<>]{1,300}>"
_GAP = rf"(?:{_TAG}|&(?:ZeroWidthSpace|zwnj|zwj|shy|#8203|#65279);|[\u200b-\u200d\u2060\ufeff\u00ad])"
_SPLIT_OPENING = re.compile(rf"\{{((?:{_GAP}){{1,8}})(?=[{{%])")
_SPLIT_CLOSING = re.compile(rf"(?<=[}}%])((?:{_GAP}){{1,8}})\}}")
_ENTITIES = re.compile(r"(?:\{|&(?:#123|#x7[bB]|lbrace|lcub);){2}|((?:\}|&(?:#125|#x7[dD]|rbrace|rcub);){2})")
_APART = re.compile(  # { { first_name } }, and the wide braces of Chinese and Japanese keyboards
    r"[{\uff5b][ \u00a0\u3000]?([{\uff5b%\uff05])([^{}<>\n\uff5b\uff5d]{1,150}?)([}\uff5d%\uff05])[ \u00a0\u3000]?[}\uff5d]"
)
_MISCOUNTED = re.compile(r"(?<!\{)(\{{1,3})\s{0,3}(\w{1,40})\s{0,3}(\}{1,3})(?!\})")
_WIDE = str.maketrans("\uff5b\uff5d\uff05\u3000", "{}% ")
_ENCODED = re.compile(r"%7[Bb]%7[Bb]([^\"'<>\s{}]{1,150})%7[Dd]%7[Dd]")
_BEFORE_LINK = re.compile(
    r"((?:(?:href|src)\s{0,3}=\s{0,3}[\"']?|\]\())(?:https?://)(?=\{\{-?\s{0,5}(\w{1,40}))", re.IGNORECASE
)
_STRAIGHT = str.maketrans(
    {
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‘’‚‛′‹›", "'"),
    }
)
_INVISIBLE = str.maketrans(
    {
        **dict.fromkeys("\u00a0\u202f\u2007\u2009\u3000", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
    }
)
_ANY_QUOTE = str.maketrans(dict.fromkeys("“”„‟«»″‘’‚‛′‹›'", '"'))
_TAG_NAME = re.compile(r"\{%-?\s*(\w+)")
_KNOWN_TAGS = {*TAGS, "else", "elsif", "when", "endif", "endunless", "endcase"}
_QUOTED_NAME = re.compile(r"(\{\{\s*)[\"'](\w{1,40})[\"'](\s*[|}])")
_FALLBACK = re.compile(  # {{ x || "y" }}, {{ x or "y" }}, {{ x, "y" }}, {{ x | default("y") }} of other languages
    r"\{\{\s*(\w{1,40})\s*(?:\|\||\?\?|\bor\b|,|\|\s*default\b\s*[:=(]?)\s*(\"[^\"]*\"|'[^']*')\s*\)?\s*\}\}",
    re.IGNORECASE,
)
_SIGNS_AROUND = re.compile(r"\{\{\s*[.$@=]?\s*(\w{1,40})\s*(?:\(\s*\))?[;.]?\s*\}\}")
_OUTPUT_AS_TAG = re.compile(r"\{%\s*(\w{1,40})\s*%\}")
_OPERATORS = {"&&": " and ", "||": " or "}
_SIGNS_LIMIT = 4_000  # braces, encoded ones and character references; a source with more is left as it is
_VOID = {"br", "hr", "img", "wbr"}


def repair(source: str, notice: Notice, *, html: bool) -> tuple[str, list[tuple[str, str]]]:
    """Return the source with its tokens repaired, and the pairs that were replaced. Takes linear time."""
    if source.count("{") + source.count("%7") + source.count("&") > _SIGNS_LIMIT:
        return source, []
    pairs: dict[str, str] = {}
    if html and "&" in source:
        source = _ENTITIES.sub(lambda match: _decode_braces(match, pairs), source)
    if html:
        source = _SPLIT_OPENING.sub(lambda match: _join(match, pairs, "{"), source)
        source = _SPLIT_CLOSING.sub(lambda match: _join(match, pairs, "}"), source)
    if len(_APART.findall(source)) <= TOKEN_LIMIT:  # each is parsed
        source = _APART.sub(lambda match: _bring_together(match, pairs), source)
    source = _ENCODED.sub(lambda match: _decode(match, pairs), source)
    names = notice.variable_names
    source = _MISCOUNTED.sub(lambda match: _count_right(match, pairs, names), source)
    links = notice.link_names

    def drop_scheme(match: re.Match[str]) -> str:
        if match.group(2) not in links:
            return match.group()
        pairs.setdefault(f"{match.group()}{{{{ {match.group(2)}", f"{match.group(1)}{{{{ {match.group(2)}")
        return match.group(1)

    if "://{{" in source:
        source = _BEFORE_LINK.sub(drop_scheme, source)
    return _repair_tokens(source, pairs, notice, html=html), list(pairs.items())


def _bring_together(match: re.Match[str], pairs: dict[str, str]) -> str:
    opening, inner, closing = (part.translate(_WIDE) for part in match.groups())
    new = f"{{{opening}{inner}{closing}}}"
    if (opening, closing) not in (("{", "}"), ("%", "%")) or new == match.group() or describe_invalid(new):
        return match.group()
    pairs[match.group()] = new
    return new


def _count_right(match: re.Match[str], pairs: dict[str, str], names: frozenset[str]) -> str:
    """Return two braces on both sides of a variable that has one or three on a side."""
    opening, name, closing = match.groups()
    counts = len(opening), len(closing)
    if name not in names or counts in ((1, 1), (2, 2)):  # a single one is another product's placeholder
        return match.group()
    return pairs.setdefault(match.group(), f"{{{{ {name} }}}}")


def _decode_braces(match: re.Match[str], pairs: dict[str, str]) -> str:
    if "&" not in match.group():
        return match.group()
    new = "}}" if match.group(1) else "{{"
    pairs[match.group()] = new
    return new


def _join(match: re.Match[str], pairs: dict[str, str], brace: str) -> str:
    """Return a brace that was separated from its neighbour, with the tags between them before or after it."""
    gap = tags_of(match.group(1))
    pairs.setdefault(match.group(), brace)
    return f"{gap}{brace}" if brace == "{" else f"{brace}{gap}"


def _decode(match: re.Match[str], pairs: dict[str, str]) -> str:
    new = f"{{{{{unquote(match.group(1))}}}}}"
    if describe_invalid(new):
        return match.group()
    pairs[match.group()] = new
    return new


def _repair_tokens(source: str, pairs: dict[str, str], notice: Notice, *, html: bool) -> str:
    parts: list[str] = []
    at = 0
    tokens = find_tokens(source)
    if len(tokens) > TOKEN_LIMIT:
        return source
    known = notice.variable_names
    for token in tokens:
        if len(token.text) > TOKEN_LIMIT_CHARS:
            continue
        new = _repair_token(token.text, known, html=html)
        if new != token.text:
            pairs[token.text] = new
            parts += (source[at : token.start], tags_of(token.text) if html else "", new)
            at = token.end
    return "".join((*parts, source[at:]))


def _repair_token(token: str, known: frozenset[str], *, html: bool) -> str:
    """Return a token as it was meant, or unchanged if that is not certain."""
    quoted = _QUOTED_NAME.match(token)
    if quoted is not None and quoted.group(2) in known:  # quotes would print the name itself
        return _QUOTED_NAME.sub(r"\1\2\3", token, count=1)
    if _is_understood(token):
        return token
    inner = re.sub(_TAG, "", token) if html else token
    plain = unescape(inner).translate(_INVISIBLE).replace("\\_", "_")
    for new in _meanings(plain, known):
        if _is_understood(new):
            quoted = _QUOTED_NAME.match(new)
            is_quoted_name = quoted is not None and quoted.group(2) in known
            return _QUOTED_NAME.sub(r"\1\2\3", new, count=1) if is_quoted_name else new
    return token


def _meanings(token: str, known: frozenset[str]) -> Iterator[str]:
    """Yield what a token can have meant, the most likely one first."""
    straight = token.translate(_STRAIGHT)
    yield straight
    yield token.translate(_ANY_QUOTE)
    straight = re.sub(r"\s+", " ", straight)
    if token.startswith("{%"):
        output = _OUTPUT_AS_TAG.fullmatch(straight)
        if output is not None and output.group(1) in known:
            yield f"{{{{ {output.group(1)} }}}}"
        yield re.sub(r" ?(&&|\|\|) ?", lambda match: _OPERATORS[match.group(1)], straight)
        return
    fallback, signs = _FALLBACK.fullmatch(straight), _SIGNS_AROUND.fullmatch(straight)
    if fallback is not None and fallback.group(1) in known:
        yield f"{{{{ {fallback.group(1)} | default: {fallback.group(2)} }}}}"
    if signs is not None and signs.group(1) in known:
        yield f"{{{{ {signs.group(1)} }}}}"
    yield re.sub(r"(?<=\|)(\s*)([A-Z]\w*)", lambda match: match.group().lower(), straight)


def _is_understood(token: str) -> bool:
    """Return whether a token is valid; a tag is parsed with its block, so its name must be known as well."""
    tag = _TAG_NAME.match(token)
    if token.startswith("{%") and (tag is None or tag.group(1) not in _KNOWN_TAGS):
        return False
    return not describe_invalid(token)


def tags_of(text: str) -> str:
    """Return the tags in a piece of HTML, without pairs that are complete in it."""
    kept: list[tuple[Kind, str, str]] = []
    for tag in re.findall(_TAG, text):
        for token in read_tokens(tag):
            if token.kind is Kind.END and kept and kept[-1][:2] == (Kind.START, token.value):
                kept.pop()
            elif token.kind in (Kind.START, Kind.END) and token.value not in _VOID:
                kept.append((token.kind, token.value, tag))
    return "".join(tag for _, _, tag in kept)
