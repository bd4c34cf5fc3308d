"""One line of Markdown as it is written: words, and the signs around them, which count only where CommonMark takes them as such.

A sign beside a space, or between a full stop and a word, would be shown as it stands (CommonMark section 6.2).
"""

from __future__ import annotations

import re

from .markdown import inline_to_html

SIGNS = {"strong": "**", "b": "**", "em": "*", "i": "*", "s": "~~"}
_ENDS_OF_SENTENCES = ".,:;!?…"
# A line so simple that all its signs count: on one side of each is a letter, on the other a space or nothing. Most lines are, and
# reading one as Markdown costs much more.
_SIGNS_BESIDE_SPACES = re.compile(
    r"(?:[^*~_`\\\[\]<>&]++|(?<![^ ])[*~]{1,6}+(?=[^\W_])|(?<=[^\W_])[*~]{1,6}+(?![^ ]))*+"
)


class MarkdownLine:
    """The pieces of a line, and the elements that are open, also those that began in the line before."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._signs: list[str] = []  # of open elements, the outermost first; empty for one without a sign
        self._written = 0  # how many of them the line has
        self._closed_at = -1  # the number of pieces if the last one is the sign that ends an element

    def open(self, tag: str) -> None:
        """Begin an element; its sign is written with its first words."""
        self._signs.append("" if SIGNS[tag] in self._signs else SIGNS[tag])

    def close(self) -> None:
        """End the innermost element; one without words has no signs."""
        if not self._signs:
            return
        sign = self._signs.pop()
        if self._written > len(self._signs):
            self._written -= 1
            self._write_end(sign)

    def write(self, text: str) -> None:
        """Add words with single spaces, which are Markdown already."""
        words = text.lstrip(" ")
        if len(words) < len(text):
            self.space()
        if words:
            self.begin_words(words[0])
            self.pieces.append(words)

    def space(self) -> None:
        """Add a space, unless the line is empty or ends with one."""
        if self.pieces and not self.pieces[-1].endswith(" "):
            self.pieces.append(" ")

    def write_code(self, words: str) -> None:
        """Add words as code, between more backticks than they have in a row."""
        words = " ".join(words.split())
        if not words:
            return
        signs = fence(words, 1)
        gap = " " if words[0] == "`" or words[-1] == "`" else ""
        before = next((one for one in reversed(self.pieces) if one not in SIGNS.values()), "")
        if before.endswith("`"):
            self.space()
        self.write(f"{signs}{gap}{words}{gap}{signs}")

    def begin_words(self, first: str) -> None:
        """Write the signs of open elements before words that begin with this character."""
        new = self._signs[self._written :]
        is_closed = self._closed_at == len(self.pieces)
        if is_closed and new and new[0] == self.pieces[-1]:
            self.pieces.pop()  # two elements of one kind become one
            new, self._closed_at = new[1:], -1
        elif is_closed and (first.isalnum() or first == "["):
            self._let_signs_end()
        elif is_closed and new:
            self.space()
        self.pieces += filter(None, new)
        self._written = len(self._signs)

    def take(self) -> str:
        """Return the line and begin another one, in which the same elements are open.

        It has no signs at all if they would be shown, as those of ``a**(b)**`` would.
        """
        while self._written:
            self._written -= 1
            self._write_end(self._signs[self._written])
        pieces, self.pieces, self._closed_at = self.pieces, [], -1
        line = "".join(pieces).strip()
        words = "".join(one for one in pieces if one not in SIGNS.values()).strip()
        counts = line == words or _SIGNS_BESIDE_SPACES.fullmatch(line) is not None
        return line if counts or _shown(line) == _shown(words) else words

    def _let_signs_end(self) -> None:
        """Put the full stop before the last signs behind them, or else a space, so that a word can follow."""
        at = len(self.pieces) - 2
        while self.pieces[at] in SIGNS.values():
            at -= 1
        words = self.pieces[at]
        without_end = words.rstrip(_ENDS_OF_SENTENCES)
        if without_end and without_end != words:
            self.pieces[at] = without_end
            self.pieces.append(words[len(without_end) :])
        elif not words[-1].isalnum():
            self.pieces.append(" ")

    def _write_end(self, sign: str) -> None:
        if not sign or not self.pieces:
            return
        spaces = False
        while not (words := self.pieces[-1].rstrip(" ")) and len(self.pieces) > 1:
            self.pieces.pop()
            spaces = True
        if words == sign:  # nothing is between the two
            self.pieces.pop()
        else:
            spaces |= words != self.pieces[-1]
            self.pieces[-1:] = [words, sign]
            self._closed_at = len(self.pieces)
        if spaces:
            self.space()


def fence(code: str, least: int) -> str:
    """Return backticks to put around code."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", code)), default=0))


def _shown(line: str) -> str:
    return "".join(re.sub(r"<[^>]*>", "", inline_to_html(line)).split())
