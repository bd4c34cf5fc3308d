"""Placeholders of other products, such as ``*|FNAME|*`` or ``{name}``, which would be sent as they stand.

Sources of the spellings: the documentation of Mailchimp, AffiliateWP, MailerLite, ActiveCampaign, Mailgun, SendGrid,
Brevo, Mailjet, GetResponse, Constant Contact, Campaign Monitor and AcyMailing.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from flask_babel import gettext as _

from ..liquid import TOKEN_LIMIT, find_tokens
from .blocks import replace_blocks
from .braces import tags_of
from .masks import fill, mask
from .names import is_compound, variable_meant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..catalogue import Notice

_NAME = r"[A-Za-z][A-Za-z0-9_.:-]{0,40}"
_WORDS = r"[A-Za-z][A-Za-z0-9_.-]{0,30}(?: [A-Za-z0-9_.-]{1,30}){1,2}"
_FALLBACK = r"(?:\s?\|[^{}<>\n\x01]{0,40}|\s[a-z]{1,20}=[^{}<>\n\x01]{0,40})?"
# A look-behind follows the sign it is about: a pattern that begins with a character is searched for several times as fast.
_SINGLE_BRACE = r"\{(?<!\{\{)"
_SINGLE_PERCENT = r"%(?<![\w%]%)"
_QUOTE = r"(?:[\"'“”‘’]|&quot;|&#39;)"
_STRONG = tuple(
    re.compile(pattern)
    for pattern in (
        r"\*(?:\||%7[Cc])([A-Za-z][^|*<>%\n\x01]{0,60})(?:\||%7[Cc])\*",  # Mailchimp, also encoded in a link
        r"<%[=-]?\s?([^%<>\n\x01]{1,60})%>",
        r"&lt;%[=-]?\s?([^%<>&\n\x01]{1,60})%&gt;",
        r"(?:<|&lt;)\?(?:php|=)?\s?(?:echo\s)?\s?\$?(?:\w{1,20}-(?:>|&gt;))?([A-Za-z][^?<>&\n\x01]{0,40})\?(?:>|&gt;)",
        rf"(?:<<|&lt;&lt;)\s?({_NAME}|{_WORDS})\s?(?:>>|&gt;&gt;)",
        r"%%=?([A-Za-z][A-Za-z0-9_.() @]{0,40})=?%%",
        rf"\[%\s?({_NAME})[^%\[\]<>\n\x01]{{0,60}}%\]",
        rf"\[\[\s?({_NAME}|{_WORDS})[^\[\]<>\n\x01]{{0,40}}\]\]",
        rf"[$#][{{\[]\s?({_NAME})\s?[}}\]]\$?",
        rf"\[[$*]({_NAME})\*?\]",
        rf"\{{[$!#]\s?({_NAME}){_FALLBACK}\s?\}}",
        rf"{_SINGLE_BRACE}{_QUOTE}({_NAME}){_QUOTE}\}}(?!\}})",
        rf"(?:##|@@)({_NAME})(?:##|@@)",
        r"\$([a-z][a-z0-9_]{1,40})\$",
        rf"[\\{{](?<!\{{[\\{{])(?:(?<=\{{)|(?<=\\)\{{)\s?({_NAME}|{_WORDS}){_FALLBACK}\s?\\?\}}(?!\}})",
        rf"%7[Bb](?<!%7[Bb]%7[Bb])({_NAME})%7[Dd](?!%7[Dd])",
        rf"{_SINGLE_BRACE}([0-9])\}}(?!\}})",  # numbered ones, of translations
        rf"{_SINGLE_PERCENT}(?:\(([A-Za-z]\w{{0,40}})\)|[1-9]\$)[sd](?!\w)",
        rf"{_SINGLE_PERCENT}(s)(?![\w%])",
    )
)
_PERCENT = re.compile(rf"{_SINGLE_PERCENT}({_NAME})(?:\|[^%<>\n\x01]{{0,40}})?%")
_WEAK = tuple(  # ordinary text can look like this, so the name decides
    re.compile(pattern)
    for pattern in (
        rf"\[\s?({_NAME}|{_WORDS})(?:,\s?fallback=[^\[\]<>\n\x01]{{0,40}}|\s?\|[^\[\]<>\n\x01]{{0,40}})?\s?\](?![(\[:])",
        # Between dashes, or as an element, a name without an underscore is a word.
        r"-(?<![\w-]-)(?=[A-Za-z0-9]{1,40}_)([A-Za-z][A-Za-z0-9_]{1,40})-(?![\w-])",
        rf"#(?<![\w#&]#)({_NAME})#(?!\w)",
        r"<(?=[A-Za-z0-9]{1,40}_)([A-Za-z][A-Za-z0-9_]{1,40})\s?/?>",
        r"&lt;(?=[A-Za-z0-9]{1,40}_)([A-Za-z][A-Za-z0-9_]{1,40})\s?/?&gt;",
        r"\$(?<![\w$]\$)([A-Za-z][A-Za-z0-9_]{1,40})(?![\w$])",
    )
)
_COMPOUND = tuple(  # more ordinary still: only names that no one would write as words, such as first_name
    re.compile(pattern)
    for pattern in (
        rf"[«‹]\s?({_NAME}|{_WORDS})\s?[»›]",
        r"@(?<![\w@./]@)\(?([A-Za-z]\w{0,20}(?:[._]\w{1,20}){1,2})\)?",
        rf"{_SINGLE_PERCENT}([A-Za-z][A-Za-z0-9_]{{1,40}})(?![\w%])",
        *(
            rf"[{sign}](?<![\w{sign}][{sign}])[{sign}]{{0,2}}({_NAME})[{sign}]{{1,3}}(?![\w{sign}])"
            for sign in ("~", "!", "|", "_", "*", "\\^")
        ),
        rf"\(({_NAME})\)",
        r"(?=[A-Za-z])(?<![\w/?&=.@:#$%-])([A-Za-z][A-Za-z0-9]{0,20}(?:_[A-Za-z0-9]{1,20}){1,3})(?![\w=/])",
    )
)
_BETWEEN = "\n\x01\n"  # addresses that are searched together; no pattern matches it
_BARE_NAME = _COMPOUND[-1]
_TAGS = re.compile(r"(?:<[^<>]{0,2000}>)++")
_FORMATTING = re.compile(
    r"(?:<(?=[a-z/])/?(?:a|b|bdi|bdo|code|em|font|i|mark|o:p|small|span|strong|sub|sup|u|wbr)(?:\s[^<>]{0,300})?/?>"
    r"|&(?:ZeroWidthSpace|zwnj|zwj|shy|#8203|#65279);|[\u200b-\u200d\u2060\ufeff\u00ad])++",
    re.IGNORECASE,
)
_INSTRUCTION = re.compile(r"(?:your|insert|enter) \w", re.IGNORECASE)  # of a text to fill in, [your name]
_SPACE = re.compile(r"&(?:nbsp|#160|#xa0);|\u00a0", re.IGNORECASE)
_ESCAPE = re.compile(r"(?:\\(?=[!-/:-@\[-`{-~])|[\u200b-\u200d\u2060\ufeff\u00ad])++")
_OUTPUT = re.compile(r"\{\{\{?-?\s{0,5}(?:var:|data:)?([A-Za-z][A-Za-z0-9_.:-]{0,60})")
_FILTERS = re.compile(r"\|[^{}]{0,200}")
_CONDITION = re.compile(r"(IF|IFNOT|ELSEIF|ELSE|END):?(.{0,60})")
_IN_FOOTER = {
    "UNSUB", "UPDATE_PROFILE", "ARCHIVE", "FORWARD", "LIST:ADDRESS", "HTML:LIST_ADDRESS_HTML", "LIST:DESCRIPTION",
    "LIST_ADDRESS", "ABOUT_LIST", "REWARDS", "LIST:PHONE", "LIST:URL",
}  # fmt: skip
_FOOTER_NAME = re.compile(
    r"unsub|opt_?out|update_?profile|manage_?(?:subscription|preference)|email_?preference|web_?version|(?:view|open)_?in_?browser",
    re.IGNORECASE,
)
_FOOTER_LINK = re.compile(
    r"<a\b[^<>]{0,500}\*(?:\||%7[Cc])(?:UNSUB|UPDATE_PROFILE|ARCHIVE|FORWARD)(?:\||%7[Cc])\*[^<>]{0,500}>([^<]{0,200})</a>"
)


@dataclass(frozen=True)
class Placeholder:
    """A placeholder of another product, its place, and what replaces it ("" if nothing does).

    ``text`` is its source; ``shown`` is what recipients would see, where formatting stands in the middle of it.
    """

    text: str
    start: int
    line: int
    replacement: str
    in_footer: bool = False  # Signet's footer has it already
    shown: str = ""

    @property
    def sentence(self) -> str:
        """The sentence for the owner, which begins with a small letter."""
        sent = _(
            "“%(text)s” is another product’s placeholder and is sent unchanged.",
            text=self.shown or self.text,
        )
        if self.replacement:
            remedy = _("Here it is %(variable)s.", variable=self.replacement)
        elif self.in_footer:
            remedy = _("Remove it: the footer that Signet adds has what recipients need.")
        else:
            remedy = _("Remove it, or put one of the variables below in its place.")
        return f"{sent} {remedy}"


class _Spellings(Enum):
    """Groups of spellings, in the order in which they are searched for."""

    STRONG = _STRONG
    PERCENT = (_PERCENT,)
    WEAK = _WEAK
    COMPOUND = _COMPOUND


class _Found(NamedTuple):
    """A match: where it is in the source, the name in it, what recipients see, and the variable meant."""

    start: int
    end: int
    name: str
    shown: str
    variable: str


def find_placeholders(source: str, notice: Notice, *, html: bool) -> list[Placeholder]:
    """Return the placeholders in order. Liquid tokens, comments, styles and scripts are not searched.

    Of each spelling, at most ``TOKEN_LIMIT`` and one more are found: a text with so many is refused.

    A second pass reads the source as recipients see it: without the formatting, the invisible characters and the escapes that
    editors put between the signs of a placeholder.
    """
    masked = mask(source, html=html)
    found: list[_Found] = []
    for spellings in ((_Spellings.STRONG, _Spellings.PERCENT, _Spellings.WEAK), (_Spellings.COMPOUND,)):
        found += _find(masked, notice, spellings, html=html)
        masked = fill(masked, [(one.start, one.end) for one in found])
        view = _View(masked, html=html)
        if len(view.text) == len(source):
            continue
        for one in _find(view.text, notice, spellings, html=html):
            # An escape belongs to the sign after it; formatting before the first sign does not belong to the placeholder.
            before = view.place_of(one.start - 1) + 1 if one.start else 0
            start = view.place_of(one.start) if html else before
            found.append(one._replace(start=start, end=view.place_of(one.end - 1) + 1))
        masked = fill(masked, [(one.start, one.end) for one in found])
    return list(_placed(source, sorted(found), notice))


def _find(masked: str, notice: Notice, spellings: Iterable[_Spellings], *, html: bool) -> list[_Found]:
    found: list[_Found] = []
    patterns: list[tuple[_Spellings, re.Pattern[str]]]
    patterns = [(one, pattern) for one in spellings for pattern in one.value]
    for spelling, pattern in patterns:
        if pattern is _BARE_NAME and html and pattern.search(masked):  # alone: in attributes they are meant
            masked = fill(masked, [one.span() for one in _TAGS.finditer(masked)])
        matches: list[_Found] = []
        for match in pattern.finditer(masked):
            name = (match[1] or "").strip()
            variable = _variable(name, notice)
            if _is_placeholder(match, name, variable, spelling):
                matches.append(_Found(*match.span(), name, match.group(), variable))
                if len(matches) > TOKEN_LIMIT:
                    break
        if matches:
            found += matches
            masked = fill(masked, [(one.start, one.end) for one in matches])
    return found


def _is_placeholder(match: re.Match[str], name: str, variable: str, spelling: _Spellings) -> bool:
    if spelling is _Spellings.COMPOUND:
        return bool(variable) and is_compound(name)
    if spelling is _Spellings.WEAK:
        return bool(variable) or _is_identifier(match)
    return spelling is _Spellings.STRONG or bool(variable) or not _is_encoded(name)


class _View:
    """The source as it is shown. Where its characters are in the source is found out when it is asked for the first time."""

    def __init__(self, masked: str, *, html: bool) -> None:
        self._changes = ((_FORMATTING, ""), (_SPACE, " ")) if html else ((_ESCAPE, ""),)
        self._before: list[str] = []  # the text before each change
        self.text = masked
        for pattern, new in self._changes:
            self._before.append(self.text)
            self.text = pattern.sub(new, self.text)

    def place_of(self, index: int) -> int:
        """Return the place in the source of a character of the text."""
        for starts, shifts in self._shifts:
            index += shifts[bisect_right(starts, index) - 1]
        return index

    @cached_property
    def _shifts(self) -> list[tuple[list[int], list[int]]]:
        """For each change, the last one first: from which character on the text is shifted, and how far."""
        found = []
        for (pattern, new), text in zip(reversed(self._changes), reversed(self._before), strict=True):
            starts, shifts = [0], [0]
            for match in pattern.finditer(text):
                starts.append(match.start() - shifts[-1] + len(new))
                shifts.append(match.end() - starts[-1])
            found.append((starts, shifts))
        return found


def replace_placeholders(source: str, notice: Notice, *, html: bool) -> tuple[str, list[tuple[str, str]]]:
    """Return the source with each placeholder replaced whose meaning is known, and the pairs that were replaced."""
    pairs: dict[str, str] = {}
    if html:
        source = _FOOTER_LINK.sub(lambda match: pairs.setdefault(match.group(), "") or "", source)
    parts: list[str] = []
    at = 0
    for one in find_placeholders(source, notice, html=html):
        if one.replacement:
            pairs[one.shown or one.text] = one.replacement
            tags = tags_of(one.text) if html and one.shown else ""
            parts += (source[at : one.start], tags, one.replacement)
            at = one.start + len(one.text)
    return _replace_tokens("".join((*parts, source[at:])), notice, pairs), list(pairs.items())


def replace_in_addresses(addresses: Iterable[str], notice: Notice) -> dict[str, str]:
    """Return what each address becomes by ``replace_placeholders``. All of them are searched at once."""
    entered = list(dict.fromkeys(addresses))
    starts = list(accumulate((len(one) + len(_BETWEEN) for one in entered), initial=0))
    found = find_placeholders(_BETWEEN.join(entered), notice, html=False)
    concerned = {bisect_right(starts, one.start) - 1 for one in found}
    return {
        one: replace_placeholders(one, notice, html=False)[0]
        if number in concerned or len(found) > TOKEN_LIMIT
        else _replace_tokens(one, notice, {})
        for number, one in enumerate(entered)
    }


def _replace_tokens(source: str, notice: Notice, pairs: dict[str, str]) -> str:
    """Replace conditions and outputs that are written as Liquid writes them, and add them to ``pairs``."""
    source = replace_blocks(source, notice, pairs)
    parts: list[str] = []
    at = 0
    for token in find_tokens(source):
        new = _replace_output(token.text, notice)
        if new:
            pairs[token.text] = new
            parts += (source[at : token.start], new)
            at = token.end + (token.text.startswith("{{{") and source[token.end : token.end + 1] == "}")
    return "".join((*parts, source[at:]))


def _replace_output(token: str, notice: Notice) -> str:
    """Return the output for another product's variable, such as ``{{ contact.FIRSTNAME }}``; "" if it is not known."""
    match = _OUTPUT.match(token)
    if match is None:
        return ""
    name = match.group(1)
    if name in notice.variable_names and not token.startswith("{{{"):
        return ""
    variable = variable_meant(name, notice)
    filters = _FILTERS.search(token)
    rest = f" {filters.group().strip()}" if filters else ""
    return f"{{{{ {variable}{rest} }}}}" if variable else ""


def _variable(name: str, notice: Notice) -> str:
    found = variable_meant(name, notice)
    return found or (variable_meant(name.partition(":")[0], notice) if ":" in name else "")


def _is_identifier(match: re.Match[str]) -> bool:
    """Return whether the name in a weak spelling is no ordinary word."""
    name = match.group(1)
    if not match.group().startswith("["):
        return False
    is_name = "_" in name or (len(name) > 2 and name.isupper())
    return is_name or _FOOTER_NAME.match(name) is not None or _INSTRUCTION.match(name) is not None


def _is_encoded(name: str) -> bool:
    """Return whether this is part of an encoded address, such as %e2%80%93."""
    return len(name) < 3 or all(one in "0123456789abcdefABCDEF" for one in name[:2])


def _placed(source: str, found: list[_Found], notice: Notice) -> Iterator[Placeholder]:
    conditions = _replace_conditions([one.name for one in found], notice)
    line, counted = 1, 0
    for one in found:
        line += source.count("\n", counted, one.start)
        counted = one.start
        name, text = one.name, source[one.start : one.end]
        new = conditions.get(name) or (f"{{{{ {one.variable} }}}}" if one.variable else "")
        in_footer = name.upper() in _IN_FOOTER or (not new and _FOOTER_NAME.search(name) is not None)
        yield Placeholder(text, one.start, line, new, in_footer, one.shown if one.shown != text else "")


def _replace_conditions(names: list[str], notice: Notice) -> dict[str, str]:
    """Return what replaces Mailchimp's conditions by name; nothing if one of them is not understood."""
    replaced = {}
    for name in names:
        match = _CONDITION.fullmatch(name)
        if match is None:
            continue
        word, rest = match.groups()
        variable = variable_meant(rest, notice)
        if word == "END":
            replaced[name] = "{% endif %}"
        elif word == "ELSE":
            replaced[name] = "{% else %}"
        elif not variable or "=" in rest or ">" in rest:
            return {}
        else:
            replaced[name] = {"IF": f"{{% if {variable} %}}", "ELSEIF": f"{{% elsif {variable} %}}"}.get(
                word, f"{{% if {variable} == blank %}}"
            )
    return replaced
