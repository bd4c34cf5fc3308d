"""Placeholders of other products, such as ``*|FNAME|*`` or ``{name}``, which would be sent as they stand.

Sources of the spellings: the documentation of Mailchimp, AffiliateWP, MailerLite, ActiveCampaign, Mailgun, SendGrid,
Brevo, Mailjet, GetResponse, Constant Contact, Campaign Monitor and AcyMailing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..liquid import find_tokens
from .masks import fill, mask
from .names import variable_meant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..catalogue import Notice

_NAME = r"[A-Za-z][A-Za-z0-9_.:-]{0,40}"
_STRONG = tuple(
    re.compile(pattern)
    for pattern in (
        r"\*(?:\||%7[Cc])([A-Za-z][^|*<>%\n\x01]{0,60})(?:\||%7[Cc])\*",  # Mailchimp, also encoded in a link
        r"<%[=-]?\s?([^%<>\n\x01]{1,60})%>",
        r"&lt;%[=-]?\s?([^%<>&\n\x01]{1,60})%&gt;",
        r"%%=?([A-Za-z][A-Za-z0-9_.() @]{0,40})=?%%",
        rf"\[%\s?({_NAME})\s?%\]",
        rf"\[\[\s?({_NAME})[^\[\]<>\n\x01]{{0,40}}\]\]",
        rf"[$#][{{\[]\s?({_NAME})\s?[}}\]]\$?",
        rf"\{{[$!#]\s?({_NAME})(?:\|[^{{}}<>\n\x01]{{0,40}})?\s?\}}",
        rf"(?:##|@@)({_NAME})(?:##|@@)",
        r"\$([a-z][a-z0-9_]{1,40})\$",
        rf"(?<!\{{)\{{\s?({_NAME})(?:\|[^{{}}<>\n\x01]{{0,40}})?\s?\}}(?!\}})",
        rf"%7[Bb]({_NAME})%7[Dd]",
    )
)
_PERCENT = re.compile(rf"(?<![\w%])%({_NAME})%")
_WEAK = tuple(  # ordinary text can look like this, so the name decides
    re.compile(pattern)
    for pattern in (
        rf"\[\s?({_NAME})(?:,\s?fallback=[^\[\]<>\n\x01]{{0,40}}|\s?\|[^\[\]<>\n\x01]{{0,40}})?\s?\](?![(\[:])",
        r"(?<![\w-])-([A-Za-z][A-Za-z0-9_]{1,40})-(?![\w-])",
        rf"(?<![\w#&])#({_NAME})#(?!\w)",
        r"<([A-Za-z][A-Za-z0-9_]{1,40})>",
        r"&lt;([A-Za-z][A-Za-z0-9_]{1,40})&gt;",
    )
)
_OUTPUT = re.compile(r"\{\{\{?-?\s{0,5}(?:var:|data:)?([A-Za-z][A-Za-z0-9_.:-]{0,60})")
_FILTERS = re.compile(r"\|[^{}]{0,200}")
_CONDITION = re.compile(r"(IF|IFNOT|ELSEIF|ELSE|END):?(.{0,60})")
_IN_FOOTER = {
    "UNSUB", "UPDATE_PROFILE", "ARCHIVE", "FORWARD", "LIST:ADDRESS", "HTML:LIST_ADDRESS_HTML", "LIST:DESCRIPTION",
    "LIST_ADDRESS", "ABOUT_LIST", "REWARDS", "LIST:PHONE", "LIST:URL",
}  # fmt: skip
_FOOTER_LINK = re.compile(
    r"<a\b[^<>]{0,500}\*(?:\||%7[Cc])(?:UNSUB|UPDATE_PROFILE|ARCHIVE|FORWARD)(?:\||%7[Cc])\*[^<>]{0,500}>([^<]{0,200})</a>"
)


@dataclass(frozen=True)
class Placeholder:
    """A placeholder of another product, its place, and what replaces it ("" if nothing does)."""

    text: str
    start: int
    line: int
    replacement: str
    in_footer: bool = False  # Signet's footer has it already

    @property
    def sentence(self) -> str:
        """The sentence for the owner, which begins with a small letter."""
        sent = f"“{self.text}” is another product’s placeholder and is sent as it stands"
        if self.replacement:
            return f"{sent}. Here it is {self.replacement}."
        if self.in_footer:
            return f"{sent}. Remove it: the footer that Signet adds has what recipients need."
        return f"{sent}. Remove it, or put one of the variables below in its place."


def find_placeholders(source: str, notice: Notice, *, html: bool) -> list[Placeholder]:
    """Return the placeholders in order. Liquid tokens, comments, styles and scripts are not searched."""
    masked = mask(source, html=html)
    found: list[tuple[re.Match[str], str]] = []
    for pattern in (*_STRONG, _PERCENT, *_WEAK):
        matches = [(one, _variable(one, pattern, notice)) for one in pattern.finditer(masked)]
        if pattern in _WEAK:
            matches = [(one, variable) for one, variable in matches if variable or _is_identifier(one)]
        elif pattern is _PERCENT:
            matches = [(one, variable) for one, variable in matches if variable or not _is_encoded(one[1])]
        found += matches
        if matches:
            masked = fill(masked, [one.span() for one, _ in matches])
    return list(_placed(source, sorted(found, key=lambda one: one[0].start()), notice))


def replace_placeholders(source: str, notice: Notice, *, html: bool) -> tuple[str, list[tuple[str, str]]]:
    """Return the source with each placeholder replaced whose meaning is known, and the pairs that were replaced."""
    pairs: dict[str, str] = {}
    if html:
        source = _FOOTER_LINK.sub(lambda match: pairs.setdefault(match.group(), "") or "", source)
    parts: list[str] = []
    at = 0
    for one in find_placeholders(source, notice, html=html):
        if one.replacement:
            pairs[one.text] = one.replacement
            parts += (source[at : one.start], one.replacement)
            at = one.start + len(one.text)
    source = "".join((*parts, source[at:]))
    parts, at = [], 0
    for token in find_tokens(source):
        new = _replace_output(token.text, notice)
        if new:
            pairs[token.text] = new
            parts += (source[at : token.start], new)
            at = token.end + (token.text.startswith("{{{") and source[token.end : token.end + 1] == "}")
    return "".join((*parts, source[at:])), list(pairs.items())


def _replace_output(token: str, notice: Notice) -> str:
    """Return the output for another product's variable, such as ``{{ contact.FIRSTNAME }}``; "" if it is not known."""
    match = _OUTPUT.match(token)
    if match is None:
        return ""
    name = match.group(1)
    if name in {variable.name for variable in notice.variables} and not token.startswith("{{{"):
        return ""
    variable = variable_meant(name, notice)
    filters = _FILTERS.search(token)
    rest = f" {filters.group().strip()}" if filters else ""
    return f"{{{{ {variable}{rest} }}}}" if variable else ""


def _variable(match: re.Match[str], pattern: re.Pattern[str], notice: Notice) -> str:
    name = match.group(1).strip()
    if pattern in _WEAK and "_" not in name and match.group().startswith(("-", "<", "&")):
        return ""  # a dash around a word, or an element
    return variable_meant(name, notice)


def _is_identifier(match: re.Match[str]) -> bool:
    """Return whether the name in a weak spelling is no ordinary word."""
    name = match.group(1)
    return match.group().startswith("[") and ("_" in name or (len(name) > 2 and name.isupper()))


def _is_encoded(name: str) -> bool:
    """Return whether this is part of an encoded address, such as %e2%80%93."""
    return len(name) < 3 or all(one in "0123456789abcdefABCDEF" for one in name[:2])


def _placed(source: str, found: list[tuple[re.Match[str], str]], notice: Notice) -> Iterator[Placeholder]:
    conditions = _replace_conditions([match.group(1) for match, _ in found], notice)
    line, counted = 1, 0
    for match, variable in found:
        line += source.count("\n", counted, match.start())
        counted = match.start()
        name = match.group(1).strip()
        new = conditions.get(name) or (f"{{{{ {variable} }}}}" if variable else "")
        yield Placeholder(match.group(), match.start(), line, new, in_footer=name.upper() in _IN_FOOTER)


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
