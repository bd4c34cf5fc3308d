"""The language of texts: Liquid, of which so little is offered that every text ends, quickly, in so many words.

There is no loop, no arithmetic, and no way to join or repeat, so that the work grows with the text and nothing
else; the limits of the environment are a second wall. A text sees the values of its notice and nothing besides.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any

from liquid import BoundTemplate, Environment, Undefined
from liquid.exceptions import LiquidError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SOURCE_LIMIT = 20_000  # characters of a text
_OUTPUT_LIMIT = 64 * 1024  # bytes of a body; an inbox cuts off what is longer than 102 KB with its frame
_FILTER_WORK = 200_000  # characters that all filters of one rendering may handle
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
_PARTS = ("content", "output", "illegal")  # of the library itself, not written as tags


class UnrenderableText(Exception):
    """A text cannot be rendered. The message is one plain sentence."""


class _Nothing(str):
    """What an empty value is to a condition: false, as people expect, and still equal to "" and blank."""

    __slots__ = ()

    def poke(self) -> bool:
        return True


Undefined.register(_Nothing)


class _Empty(str):
    """An empty value. In Liquid alone, an empty text is true."""

    __slots__ = ()

    def __liquid__(self) -> _Nothing:
        return _Nothing()


class _Work:
    """What the filters of one rendering have handled so far."""

    def __init__(self) -> None:
        self.done = 0

    def add(self, *texts: object) -> None:
        self.done += sum(len(text) for text in texts if isinstance(text, str))
        if self.done > _FILTER_WORK:
            raise UnrenderableText("Its filters make too much of the values.")


_work: ContextVar[_Work] = ContextVar("work")


class RestrictedLiquid(Environment):
    """Liquid with a handful of tags and filters."""

    loop_iteration_limit = 100
    local_namespace_limit = 64 * 1024
    output_stream_limit = _OUTPUT_LIMIT
    suppress_blank_control_flow_blocks = False

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(autoescape=autoescape, strict_filters=True)
        self.tags = {name: self.tags[name] for name in (*TAGS, *_PARTS)}
        self.filters = {name: _counted(self.filters[name]) for name in FILTERS}


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def counted(value: object, *args: object, **kwargs: object) -> object:
        work = _work.get()
        work.add(value)
        result = function(value, *args, **kwargs)
        work.add(result)
        return result

    return counted


_ESCAPED, _PLAIN = RestrictedLiquid(autoescape=True), RestrictedLiquid(autoescape=False)


@lru_cache(maxsize=512)  # parsing costs more than rendering, and the same few texts are sent again and again
def parse(source: str, *, html: bool) -> BoundTemplate:
    """Return a text ready to be filled in. Raises UnrenderableText, or LiquidError for who explains it."""
    if len(source) > SOURCE_LIMIT:
        raise UnrenderableText(f"It is longer than {SOURCE_LIMIT:,} characters.")
    return (_ESCAPED if html else _PLAIN).parse(source)


def render_liquid(source: str, values: Mapping[str, str], *, html: bool) -> str:
    """Fill a text's values in, escaped where the text is HTML. Raises UnrenderableText."""
    _work.set(_Work())
    try:
        return parse(source, html=html).render(**{name: value or _Empty() for name, value in values.items()})
    except UnrenderableText:
        raise
    except LiquidError as error:
        raise UnrenderableText(_said(error)) from None
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        # The library runs what somebody wrote; whatever breaks in there is that text's fault.
        raise UnrenderableText("It asks for something that cannot be worked out.") from error


def _said(error: LiquidError) -> str:
    if "limit" in type(error).__name__.lower():
        return "It becomes too long with its values."
    return "It holds a placeholder that is not understood. Open it in the editor to see where."
