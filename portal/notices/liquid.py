"""The template language of the texts: a subset of Liquid whose rendering time is bounded.

There are no loops, no arithmetic, and no filters that join or repeat, so the work grows only with the length of the
text; the limits of the environment are a second safeguard. A text can read the values of its notice and nothing else.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from decimal import Decimal
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_babel import gettext as _
from liquid import BoundTemplate, Environment, Undefined
from liquid.exceptions import LiquidError

from ..amounts import parse_amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_CLOSING = {"{{": "}}", "{%": "%}"}
_OPENING = re.compile(r"\{[{%]")
_OTHER_OPENING = {"{{": re.compile(r"\{%"), "{%": re.compile(r"\{\{")}
SOURCE_LIMIT_CHARS = 20_000
TOKEN_LIMIT = 150  # outputs and tags of one part that is saved; each costs time at every preview
FILTER_LIMIT = 150  # of all of them together
_SENT_TOKEN_LIMIT = 500  # of one that is sent; earlier versions saved so many
TOKEN_LIMIT_CHARS = 500  # of one output or tag
_PARENTHESES_LIMIT = 20  # of one output or tag; the library needs quadratic time for them
_OUTPUT_LIMIT_BYTES = 64 * 1024  # of a body; Gmail cuts off a message, with its layout, at 102 KB
_FILTER_LIMIT_CHARS = 200_000  # read and written by all filters of one rendering together
FILTERS = (
    "capitalize",
    "default",
    "downcase",
    "newline_to_br",
    "strip",
    "truncate",
    "truncatewords",
    "upcase",
    "url_encode",
)
TAGS = ("assign", "case", "if", "unless")
_INTERNAL_TAGS = ("content", "output", "illegal")  # nodes of the library that are not written as tags


class LiquidToken(NamedTuple):
    """An output such as ``{{ name }}`` or a tag such as ``{% if name %}``, with its place. ``line`` counts from 1."""

    text: str
    start: int
    line: int

    @property
    def end(self) -> int:
        """The index after the token."""
        return self.start + len(self.text)

    @property
    def is_tag(self) -> bool:
        """Whether this is a tag, not an output."""
        return self.text.startswith("{%")


class UnclosedToken(NamedTuple):
    """Opening braces without closing ones after them."""

    opening: str
    line: int

    @property
    def closing(self) -> str:
        """The braces that are missing."""
        return _CLOSING[self.opening]


class UnrenderableText(Exception):
    """A text cannot be rendered. The message is one sentence for the owner."""


def find_tokens(source: str) -> list[LiquidToken]:
    """Return the outputs and tags of a text."""
    return [*(_remembered_tokens(source) if len(source) <= SOURCE_LIMIT_CHARS else _read_tokens(source))]


def _read_tokens(source: str) -> tuple[LiquidToken, ...]:
    return tuple(one for one in _scan(source, with_unclosed=False) if isinstance(one, LiquidToken))


_remembered_tokens = lru_cache(maxsize=16)(_read_tokens)  # the checks of a text ask for them thirty times


def find_unclosed(source: str) -> list[UnclosedToken]:
    """Return the opening braces that are not closed."""
    return [one for one in _scan(source) if isinstance(one, UnclosedToken)]


def _scan(source: str, *, with_unclosed: bool = True) -> Iterator[LiquidToken | UnclosedToken]:
    """Find outputs, tags and unclosed braces. Reads each character a bounded number of times.

    Once closing braces were not found, they are not searched for again, because there are none further on either.
    Without the unclosed braces, their opening is not searched for either.
    """
    at, counted, line, reported_to = 0, 0, 1, 0
    unclosable: set[str] = set()
    openings = _OPENING
    while (found := openings.search(source, at)) is not None:
        opening, start = found.group(), found.start()
        at = start + 1
        end = -1 if opening in unclosable else source.find(_CLOSING[opening], start + 2)
        if end == -1 and not with_unclosed:
            unclosable.add(opening)
            if len(unclosable) == len(_CLOSING):
                return
            openings = _OTHER_OPENING[opening]
            continue
        if end == -1:
            unclosable.add(opening)
            if start < reported_to:  # {{{{ are two
                continue
            reported_to = start + 2
        else:
            at = end + 2
        line += source.count("\n", counted, start)
        counted = start
        yield UnclosedToken(opening, line) if end == -1 else LiquidToken(source[start:at], start, line)


class _FalsyString(str):
    """An empty value in a condition: false, and still equal to "" and ``blank``."""

    __slots__ = ()

    def poke(self) -> bool:
        """Permit the use of this value. The library calls this method of each undefined value."""
        return True


Undefined.register(_FalsyString)  # conditions treat instances of Undefined as false


class _EmptyValue(str):
    """An empty value that is false in conditions. In standard Liquid, an empty string is true."""

    __slots__ = ()

    def __liquid__(self) -> _FalsyString:
        return _FalsyString()


class NumberValue(str):
    """A number of an event: written for people, and compared as a number, also with a number in quotes."""

    __slots__ = ("number",)
    number: Decimal

    def __new__(cls, number: Decimal, written: str) -> NumberValue:
        value = super().__new__(cls, written)
        value.number = number
        return value

    def __liquid__(self) -> _Comparable:
        """Return the operand of a comparison."""
        return _Comparable(self.number)


class _MissingOperand(_FalsyString):
    """An empty value that is also neither smaller nor greater than any number."""

    __slots__ = ()

    @property  # type: ignore[misc]
    def __class__(self) -> type[Decimal]:  # type: ignore[override]
        return Decimal  # so that the library compares it with numbers, see _Comparable

    def __hash__(self) -> int:
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True

    def _is_false(self, _other: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _is_false


class MissingNumber(_EmptyValue):
    """A number that an event does not have: empty and false, and no comparison with a number is true."""

    __slots__ = ()

    def __liquid__(self) -> _MissingOperand:
        return _MissingOperand()


class _Comparable(Decimal):
    """A number as the library compares it. Text that is no number is neither equal nor smaller nor greater.

    The library compares numbers with numbers and text with text. ``__class__`` makes this value count as text, besides
    the number that it is, so the library compares it with either.
    """

    __slots__ = ()

    @property  # type: ignore[misc]
    def __class__(self) -> type[str]:  # type: ignore[override]
        return str

    def __bool__(self) -> bool:
        """Return true also for zero: a number is not ``empty``."""
        return True

    def isspace(self) -> bool:
        """Return false, as the library asks this of text that it compares with ``blank``."""
        return False

    def __hash__(self) -> int:
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return self._compare(other, Decimal.__eq__)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: object) -> bool:
        return self._compare(other, Decimal.__lt__)

    def __le__(self, other: object) -> bool:
        return self._compare(other, Decimal.__le__)

    def __gt__(self, other: object) -> bool:
        return self._compare(other, Decimal.__gt__)

    def __ge__(self, other: object) -> bool:
        return self._compare(other, Decimal.__ge__)

    def _compare(self, other: object, operator: Callable[[Decimal, Decimal], bool]) -> bool:
        is_number = isinstance(other, int | float | str | Decimal)
        number = parse_amount(Decimal(other) if type(other) is _Comparable else other) if is_number else None
        return number is not None and operator(self, number)


class _FilterUsage:
    """Counts the characters that the filters of one rendering read and write."""

    def __init__(self) -> None:
        self._chars = 0

    def add(self, *values: object) -> None:
        """Add the lengths of the strings among ``values``. Raises UnrenderableText above the limit."""
        self._chars += sum(len(value) for value in values if isinstance(value, str))
        if self._chars > _FILTER_LIMIT_CHARS:
            raise UnrenderableText(_("Its filters make the values too long."))


_filter_usage: ContextVar[_FilterUsage] = ContextVar("filter_usage")


class RestrictedLiquid(Environment):
    """A Liquid environment with only the tags and filters listed above."""

    loop_iteration_limit = 100
    local_namespace_limit = 64 * 1024
    output_stream_limit = _OUTPUT_LIMIT_BYTES
    suppress_blank_control_flow_blocks = False

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(autoescape=autoescape, strict_filters=True)
        self.tags = {name: self.tags[name] for name in (*TAGS, *_INTERNAL_TAGS)}
        self.filters = {name: _count_characters(self.filters[name]) for name in FILTERS}


def _count_characters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that adds the length of its input and output to the usage of the rendering."""

    @wraps(function)
    def counted(value: object, *args: object, **kwargs: object) -> object:
        usage = _filter_usage.get()
        usage.add(value)
        result = function(value, *args, **kwargs)
        usage.add(result)
        return result

    return counted


_ESCAPED, _PLAIN = RestrictedLiquid(autoescape=True), RestrictedLiquid(autoescape=False)


@lru_cache(maxsize=512)  # parsing costs more than rendering, and few texts account for most emails
def parse(source: str, *, html: bool) -> BoundTemplate:
    """Parse a text. With ``html``, rendering escapes the values.

    Raises:
        UnrenderableText: the text, or a token in it, is too long or not closed.
        LiquidError: the syntax is invalid.
    """
    if len(source) > SOURCE_LIMIT_CHARS:
        raise UnrenderableText(
            _(
                "It is longer than %(source_limit_chars)s characters.",
                source_limit_chars=f"{SOURCE_LIMIT_CHARS:,}",
            )
        )
    # The library needs quadratic time for most of what is refused here.
    for number, one in enumerate(_scan(source)):
        if number >= _SENT_TOKEN_LIMIT:
            raise UnrenderableText(_("It has more than %(limit)s placeholders.", limit=_SENT_TOKEN_LIMIT))
        if isinstance(one, UnclosedToken):
            raise UnrenderableText(_("A %(opening)s is not closed.", opening=one.opening))
        if len(one.text) > TOKEN_LIMIT_CHARS:
            raise UnrenderableText(
                _(
                    "A placeholder is longer than %(token_limit_chars)s characters.",
                    token_limit_chars=TOKEN_LIMIT_CHARS,
                )
            )
    return (_ESCAPED if html else _PLAIN).parse(source)


def parse_token(token: str) -> None:
    """Parse one output or tag to find its errors. Not cached: these would displace the texts that are sent.

    Raises:
        LiquidError: the syntax is invalid.
        UnrenderableText: the library cannot handle the token.
    """
    if token.count("(") > _PARENTHESES_LIMIT:
        raise UnrenderableText(_("It has too many parentheses."))
    try:
        _PLAIN.parse(token)
    except RecursionError:
        raise UnrenderableText(_("It is nested too deeply.")) from None


def render_liquid(source: str, values: Mapping[str, str], *, html: bool) -> str:
    """Render a text with these values, escaped if the text is HTML. Raises UnrenderableText."""
    _filter_usage.set(_FilterUsage())
    try:
        values = {
            name: value if value or isinstance(value, MissingNumber) else _EmptyValue()
            for name, value in values.items()
        }
        return parse(source, html=html).render(**values)
    except UnrenderableText:
        raise
    except LiquidError as error:
        raise UnrenderableText(_describe(error)) from None
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        # The library evaluates the owner's text; an error raised in there is caused by that text.
        raise UnrenderableText(_("It contains something that cannot be calculated.")) from error


def _describe(error: LiquidError) -> str:
    if "limit" in type(error).__name__.lower():
        return _("It becomes too long with its values.")
    return _("It contains an unknown placeholder. Open it in the editor to see where.")
