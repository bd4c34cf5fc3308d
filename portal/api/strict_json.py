"""A strict JSON parser: rejects input that different parsers would read differently."""

from __future__ import annotations

import json
from typing import Any

from ..smtp.protocol.reply import plain_text
from .problems import Problem, ProblemKind

_MAX_DEPTH = 8  # an event has three levels
_MAX_INTEGER_DIGITS = (
    30  # longer ones are read as float, because int() raises an error for thousands of digits
)


def parse(body: bytes) -> Any:
    """Return the value of a JSON body. Raises Problem with the position of the error."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable(f"The body is not UTF-8: see the octet at offset {error.start}.") from None
    value = _decode(text)
    _check_depth(value)
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise _unreadable("A \\u escape stands for half a character (a lone surrogate).") from None
    return value


def _decode(text: str) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_reject_constant,
            parse_int=_integer,
            parse_float=float,
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno} (offset {error.pos})"
        raise _unreadable(f"The body is not JSON: {error.msg} at {where}.") from None
    except RecursionError:
        raise _too_deep() from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:  # some parsers take the first value, others the last
            raise _unreadable(f"The name “{plain_text(name, 60)}” occurs twice in one object.")
        found[name] = value
    return found


def _reject_constant(name: str) -> Any:
    raise _unreadable(f"{name} is not JSON.")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else float(digits)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [inner for one in level for inner in _children(one)]
        if not level:
            return
    raise _too_deep()


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _too_deep() -> Problem:
    return _unreadable(f"The body is nested too deeply; {_MAX_DEPTH} levels are the most.")


def _unreadable(detail: str) -> Problem:
    return Problem(ProblemKind.UNREADABLE, detail)
