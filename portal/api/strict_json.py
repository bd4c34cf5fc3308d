"""Reading JSON strictly: what two readers could understand in two ways is refused."""

from __future__ import annotations

import json
from typing import Any

from ..smtp.protocol.reply import plain_text
from .problems import Kind, Problem

_DEPTH = 8  # levels; an event has three
_LONGEST_NUMBER = 30  # digits; Python refuses to read a number of thousands of digits, and we need none


def read(octets: bytes) -> Any:
    """Return the value that a body holds. Raises Problem with the place of what is wrong."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable(f"The body is not UTF-8: see the octet at offset {error.start}.") from None
    value = _parsed(text)
    _refuse_depth(value)
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise _unreadable("A \\u escape stands for half a character (a lone surrogate).") from None
    return value


def _parsed(text: str) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_whole, parse_float=float
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno} (offset {error.pos})"
        raise _unreadable(f"The body is not JSON: {error.msg} at {where}.") from None
    except RecursionError:
        raise _too_deep() from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:  # one reader takes the first, another the last
            raise _unreadable(f"The name “{plain_text(name, 60)}” occurs twice in one object.")
        found[name] = value
    return found


def _constant(name: str) -> Any:
    raise _unreadable(f"{name} is not JSON.")


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else float(digits)


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _ in range(_DEPTH):
        level = [inner for one in level for inner in _within(one)]
        if not level:
            return
    raise _too_deep()


def _within(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _too_deep() -> Problem:
    return _unreadable(f"The body is nested too deeply; {_DEPTH} levels are the most.")


def _unreadable(detail: str) -> Problem:
    return Problem(Kind.UNREADABLE, detail)
