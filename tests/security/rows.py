"""One figure of the security report."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """What was tried, the bound, what was measured, and whether it is within the bound."""

    name: str
    bound: str
    measured: int | float | str
    passed: bool


def none_of(name: str, tried: int, found: list[str]) -> Row:
    """Return the row of an attack that must never succeed; the first successes are named."""
    shown = "; ".join(found[:3]) + (" …" if len(found) > 3 else "")
    return Row(f"{name} ({tried:,})", "0", f"{len(found)}: {shown}" if found else 0, not found)
