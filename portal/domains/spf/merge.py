"""The exact SPF record to paste: what is there with the provider merged in, never a second record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .record import BadSpf, is_spf, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENDINGS = ("-all", "~all", "?all", "all")


def merged(records: Sequence[str], include: str) -> str:
    """Return one record made of those there are, with ``include`` before whatever ends it.

    Terms that receivers cannot read are left out, and so is an ending that lets everybody in.
    """
    words: list[str] = []
    for record in records:
        readable = [word for word in record.split(" ")[1:] if word and _readable(word)]
        words += [word.removeprefix("+") for word in readable]  # a plus says nothing
    unique = list(dict.fromkeys(words))
    ending = _ending([word for word in unique if word.lower() in _ENDINGS])
    rest = [word for word in unique if word.lower() not in _ENDINGS]
    redirect = [word for word in rest if word.lower().startswith("redirect=")]
    others = [word for word in rest if "=" in word and word not in redirect]
    mechanisms = [word for word in rest if "=" not in word]
    if include and f"include:{include}" not in [word.lower() for word in mechanisms]:
        mechanisms.append(f"include:{include}")
    # A redirect counts for nothing beside an ending, and where there are several none could be chosen.
    last = redirect if len(redirect) == 1 and not ending else [ending or "~all"]
    return " ".join(["v=spf1", *mechanisms, *last, *others[:1]])


def _readable(word: str) -> bool:
    try:
        parse(f"v=spf1 {word}")
    except BadSpf:
        return False
    return word.isascii() and not is_spf(word)


def _ending(found: list[str]) -> str:
    lowered = [word.lower() for word in found]
    if not lowered:
        return ""
    if "-all" in lowered and len(lowered) == 1:
        return "-all"
    return "?all" if lowered == ["?all"] else "~all"
