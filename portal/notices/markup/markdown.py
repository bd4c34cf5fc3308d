"""Markdown to the HTML of a text (CommonMark with tables). Liquid tokens survive; HTML in it is text.

A line break stays a line break, lines that hold only conditions enclose whole paragraphs, addresses become links, and a link
with the title "button" becomes a button. The result is the source of a text, which is sanitised like HTML that was typed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import hr

from ..checks.plain_lines import link_addresses, separate_tag_lines
from ..liquid import find_tokens
from ..sanitize import unused_marker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

    from ..catalogue import Notice
    from ..liquid import LiquidToken

BUTTON_TITLE = "button"
_UNUSED_RULES = ("code", "html_block", "html_inline", "lheading", "reference")
_SMALLEST_HEADING = "h3"
_MAX_CELLS = 2_000  # of all tables; the parser adds those that its lines lack, up to 65,536
PART_LIMIT = 500  # lines, brackets of links and pictures, emphasised words: each costs time
_EMPHASIS_MARKS = 4  # of one word: ``**word**``
SIGN_LIMIT = _EMPHASIS_MARKS * PART_LIMIT  # of the signs that the parser looks at one by one
_SIGNS = "*_~`\\&"
# Where words can end and a rule of the parser below can begin; its own list has 13 more characters, for unused rules.
_END_OF_WORDS = re.compile(
    r"[\n\\`~*_\[\]]|!(?=\[)|<(?=[A-Za-z][^<>\x00-\x20:@]*+[:@][^<>\x00-\x20]*+>)|&(?=#?\w{1,31};)"
)
_RULE = re.compile(r"-[ \t-]*+|\*[ \t*]*+|_[ \t_]*+")
_BEGINNING = re.compile(r"\{%-?\s{0,5}(?:if|unless|case)\b")
_END = re.compile(r"\{%-?\s{0,5}end")


class TooManyParts(Exception):
    """The text has more lines, links, pictures or emphasised words than an email needs."""


class TooManySigns(TooManyParts):
    """The text has more than ``SIGN_LIMIT`` of the signs around words."""


def _read_words(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - the signature of the parser's rules
    """Take the words up to the next sign, as the rule "text" of the parser does."""
    found = _END_OF_WORDS.search(state.src, state.pos, state.posMax)
    end = found.start() if found else state.posMax
    if end == state.pos:
        return False
    if not silent:
        state.append_pending(state.src[state.pos : end])
    state.pos = end
    return True


def _read_rule(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - the signature of the parser's rules
    """Read a thematic break as the rule "hr" of the parser does, which reads ``- - - a`` sign by sign at each level of lists."""
    is_rule = _RULE.fullmatch(state.src, state.bMarks[start] + state.tShift[start], state.eMarks[start])
    return is_rule is not None and hr(state, start, end, silent)


class _EmailRenderer(RendererHTML):
    """Writes buttons, and headings no smaller than emails have."""

    def link_open(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        token = tokens[index]
        if token.attrGet("title") == BUTTON_TITLE:
            token.attrs = {"class": "button", "href": token.attrGet("href") or ""}
        return self.renderToken(tokens, index, options, env)

    def heading_open(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        tokens[index].tag = min(tokens[index].tag, _SMALLEST_HEADING)
        return self.renderToken(tokens, index, options, env)

    heading_close = heading_open


def _make_parser(*, tables: bool) -> MarkdownIt:
    options: dict[str, Any] = {"html": False, "breaks": True, "xhtmlOut": False, "maxNesting": 20}
    parser = MarkdownIt("commonmark", options, renderer_cls=_EmailRenderer)
    parser.inline.ruler.at("text", _read_words)
    parser.block.ruler.at("hr", _read_rule, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    return parser.enable(["table", "strikethrough"] if tables else "strikethrough").disable(
        list(_UNUSED_RULES)
    )


_PARSER, _PARSER_WITHOUT_TABLES = _make_parser(tables=True), _make_parser(tables=False)


def markdown_to_html(source: str, notice: Notice) -> str:
    """Return the HTML source of a text that was written in Markdown.

    Raises:
        TooManyParts: the text has more than ``PART_LIMIT`` lines that are not empty, links and pictures, or emphasised
            words.
        TooManySigns: the text has more than ``SIGN_LIMIT`` of the signs ``* _ ~ ` \\ &``.
    """
    emphasised = (source.count("*") + source.count("_")) // _EMPHASIS_MARKS
    brackets = max(source.count("["), source.count("]"))
    if max(brackets, _count_lines(source), emphasised) > PART_LIMIT:
        raise TooManyParts
    if sum(map(source.count, _SIGNS)) > SIGN_LIMIT:
        raise TooManySigns
    source = separate_tag_lines(source)
    marker = unused_marker(source)
    tokens = find_tokens(source)
    parts: list[str] = []
    at = 0
    for number, token in enumerate(tokens):  # a word stands for each token
        parts += (source[at : token.start], f"{marker}{number}x")
        at = token.end
    masked = "".join((*parts, source[at:]))
    html = (_PARSER_WITHOUT_TABLES if _has_many_cells(masked) else _PARSER).render(masked)

    def is_tags(match: re.Match[str]) -> bool:
        return all(tokens[int(number)].is_tag for number in re.findall(rf"{marker}(\d+)x", match.group()))

    html = re.sub(
        rf"<p>((?:{marker}[0-9]{{1,5}}+x ?)++)</p>",
        lambda match: match.group(1) if is_tags(match) else match.group(),
        html,
    )
    html = "\n".join(_break_inside(line, marker, tokens) for line in html.split("\n"))
    unmasked = re.sub(rf"{marker}(\d+)x", lambda match: tokens[int(match.group(1))].text, html)
    return link_addresses(unmasked, notice).strip()


def _count_lines(source: str) -> int:
    return sum(not line.isspace() for line in source.split("\n") if line)


def inline_to_html(line: str) -> str:
    """Return the HTML of one line, without its links and placeholders replaced."""
    return str(_PARSER.renderInline(line))


def _has_many_cells(source: str) -> bool:
    """Return whether the tables could have more than ``_MAX_CELLS``. Then the signs of all of them are shown as they stand."""
    blocks = (block.split("\n") for block in re.split(r"\n[ \t]*\n", source) if "|" in block)
    return sum(len(lines) * max(line.count("|") for line in lines) for lines in blocks) > _MAX_CELLS


def _break_inside(line: str, marker: str, tokens: Sequence[LiquidToken]) -> str:
    """Return a line of HTML; where all of it is under a condition, its line break is, too."""
    words = list(re.finditer(rf"{marker}(\d+)x", line)) if line.endswith("<br>") else []
    if (
        not words
        or words[0].start() != (3 if line.startswith("<p>") else 0)
        or words[-1].end() != len(line) - 4
    ):
        return line
    texts = [tokens[int(word.group(1))].text for word in words]
    is_whole = (
        _BEGINNING.match(texts[0]) is not None and sum(_END.match(one) is not None for one in texts) == 1
    )
    at = words[-1].start()
    return f"{line[:at]}<br>{line[at:-4]}" if is_whole and _END.match(texts[-1]) else line
