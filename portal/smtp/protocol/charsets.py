"""Decoding of text whose charset is not stated: replies of mail servers that are neither ASCII nor UTF-8.

RFC 5321 permits ASCII only and RFC 6531 UTF-8, but servers in China, Japan, Russia and elsewhere reply in the charset of
their own system. Such texts are short, so statistics of whole languages do not help. Each charset is scored by how many
of its letters are common ones: the first level of a Chinese or Japanese standard, small Cyrillic letters, the accented
letters of the languages that use it. Below half, the charset is taken for wrong.
"""

from __future__ import annotations

from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_BYTES = 2000  # looked at; a line of a reply has fewer
_GOOD_ENOUGH = 0.5  # share of common letters
_LONGEST_ACCENTED_RUN = 2  # in languages with Latin letters, accented ones stand between plain ones
_MIN_HANGUL = 6  # fewer syllables are as often Chinese characters
_MIN_CYRILLIC = 3  # letters of one word at least; shorter ones are as often accented Latin letters
_ESCAPE_JAPANESE = b"\x1b$"  # ISO-2022-JP: seven bits, so it is valid ASCII


def is_utf8(raw: bytes) -> bool:
    """Return whether the text is UTF-8 and not one of the charsets that hide in ASCII."""
    if _ESCAPE_JAPANESE in raw:
        return False
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return error.start > len(raw) - 4 and error.reason == "unexpected end of data"
    return True


def decode_guessing(raw: bytes) -> str:
    """Return the text by the charset that fits best; UTF-8 with U+FFFD for wrong bytes, if none fits."""
    scores = {charset: _score(raw[:_MAX_BYTES], charset) for charset in _COMMON}
    best = max(scores, key=lambda charset: scores[charset])
    return raw.decode(best if scores[best] >= _GOOD_ENOUGH else "utf-8", "replace")


def undo_wrong_decoding(text: str) -> str:
    """Return the text that someone read as Latin-1 or windows-1252 although it was in another charset.

    Pasted replies often went through a program that did so: "è¯·ä½¿ç”¨" in UTF-8, "ÇëÊ¹ÓÃ" in GBK.
    """
    if text.isascii():
        return text
    try:
        raw = b"".join(c.encode("latin-1" if c < "\u0100" else "cp1252") for c in text)
    except UnicodeEncodeError:
        return text
    repaired = raw.decode("utf-8", "replace") if is_utf8(raw) else decode_guessing(raw)
    return text if "\ufffd" in repaired.rstrip("\ufffd") else repaired


def _score(raw: bytes, charset: str) -> float:
    """Return the share of common letters among those beyond ASCII, 0 if the text cannot be in this charset."""
    try:
        text = raw.decode(charset)
    except UnicodeDecodeError:
        return 0.0
    return _COMMON[charset](text)


def _share(good: int, all_: int) -> float:
    return good / all_ if all_ else 0.0


def _beyond_ascii(text: str) -> str:
    return "".join(c for c in text if not c.isascii())


_PUNCTUATION = frozenset("，。、；：？！（）“”‘’《》【】「」・ー～　…—")


def _han(charset: str, last_of_first_level: int) -> Callable[[str], float]:
    """Return a score for Chinese text: characters of the first level of the standard, and punctuation."""

    def is_common(character: str) -> bool:
        if character in _PUNCTUATION:
            return True
        encoded = character.encode(charset, "ignore")
        return len(encoded) == 2 and _FIRST_HAN[charset] <= encoded[0] <= last_of_first_level

    def score(text: str) -> float:
        letters = _beyond_ascii(text)
        return (
            _share(sum(map(is_common, letters)), len(letters)) * 0.9
        )  # others that fit as well are likelier

    return score


_FIRST_HAN = MappingProxyType({"gb2312": 0xB0, "big5": 0xA4})


def _japanese(text: str) -> float:
    """Score text by its kana: Japanese sentences have them, and Chinese ones none."""
    letters = _beyond_ascii(text)
    kana = sum("\u3041" <= c <= "\u30fe" for c in letters)
    han = sum("\u4e00" <= c <= "\u9fff" or c in _PUNCTUATION for c in letters)
    return _share(kana + han, len(letters)) if kana * 5 >= len(letters) else 0.0


def _korean(text: str) -> float:
    letters = _beyond_ascii(text)
    hangul = sum("\uac00" <= c <= "\ud7a3" for c in letters)
    return _share(hangul, len(letters)) * 0.95 if hangul >= _MIN_HANGUL else 0.0


def _cyrillic(text: str) -> float:
    """Score words of small letters, with a capital at most at the beginning: KOI8-R and windows-1251 swap the two."""
    words = "".join(c if c.isalpha() else " " for c in text).split()
    good = [word for word in words if _is_cyrillic(word) and (word[1:].islower() or len(word) == 1)]
    if not any(len(word) >= _MIN_CYRILLIC for word in good):
        return 0.0
    return _share(sum(map(len, good)), len(_beyond_ascii(text)))


def _is_cyrillic(word: str) -> bool:
    return all("А" <= c <= "я" or c in "Ёё" for c in word)


def _latin(common: str) -> Callable[[str], float]:
    """Return a score for a language with Latin letters, of which ``common`` are the accented ones."""
    known = frozenset(common + common.upper() + "„“”«»’–")

    def score(text: str) -> float:
        runs = [(ascii_, len(list(run))) for ascii_, run in groupby(text, key=str.isascii)]
        if any(length > _LONGEST_ACCENTED_RUN for ascii_, length in runs if not ascii_):
            return 0.0
        letters = _beyond_ascii(text)
        return _share(sum(c in known for c in letters), len(letters))

    return score


# Of equal scores the first one counts.
_COMMON: MappingProxyType[str, Callable[[str], float]] = MappingProxyType({
    "iso2022_jp": _japanese,
    "euc_jp": _japanese,
    "cp932": _japanese,
    "koi8-r": _cyrillic,
    "cp1251": _cyrillic,
    "cp1252": _latin("äöüßéèêëàâçîïôûùñáíóúãõìòåøæœ¿¡"),
    "cp1254": _latin("çğıöşüâîûİ"),
    "cp1250": _latin("ąćęłńóśźżáčďéěíňřšťúůýžőűäöüß"),
    "iso8859-2": _latin("ąćęłńóśźżáčďéěíňřšťúůýžőűäöüß"),
    "cp949": _korean,
    "gb18030": _han("gb2312", 0xD7),
    "big5": _han("big5", 0xC6),
})  # fmt: skip
