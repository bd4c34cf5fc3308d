"""Phrase matching in many languages: reply text is normalised, then searched for concepts.

A *concept* is a named list of phrases in many languages: "wrong" contains invalid, falsch, incorrecto, неверн,
错误 and others. Cases refer to concepts, so that replies that were never listed are still recognised.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..toml_tables import read_toml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CONCEPTS = Path(__file__).parent / "cases" / "concepts.toml"
# Tried only where a word begins, so that a long word without an @ is read once.
_ADDRESS = re.compile(r"(?:<|(?<![^\s<>@:;,()\"']))[^\s<>@:;,()\"']++@[^\s<>@:;,()\"']++>?")
_NOT_A_WORD = re.compile(r"[^\w.@]+|_+")
_UNSPACED_SCRIPT = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
# Letters that normalisation leaves as they are, and the two ways of writing umlauts ("ungültig", "ungueltig").
_PLAIN_LETTERS = str.maketrans({"ł": "l", "ı": "i", "ø": "o", "đ": "d", "æ": "a", "œ": "o"})
_UMLAUT = re.compile("([aou])e")
_EMAIL = re.compile(r"\be mail")
# "IP address" is not the address of a recipient. Phrases are folded as well.
_IP_ADDRESS = re.compile(r"\bip (?:addresse?s?|adresse)\b")
# Parameters of an address on the web, such as "?i=ip&ip=192.0.2.1": they are not words about the client's address.
# Sendmail adds the client's address as "relay=[192.0.2.1]".
_URL_PARAMETER = re.compile(
    r"(?<=[?&;])(?:ip=[0-9a-f.:]{2,45}|\w{1,12}=(?:ip|helo|ehlo)\b)|\brelay=\[?[0-9a-f.:]{2,45}",
    re.IGNORECASE,
)
# Parts of an address on the web that name a page, such as "/senderguidelines": they are not words of the reply.
_URL = re.compile(r"\bhttps?://[^\s<>\"]{1,300}", re.IGNORECASE)
_PAGE_NAME = re.compile(r"/(?:sender|recipient|bulk|domain|login|account|rate|limit)[\w-]*+", re.IGNORECASE)
# "Mail from 192.0.2.1" and "mail from your server" are about the address of the client, not about the sender.
_MAIL_FROM_CLIENT = re.compile(
    r"\b((?:mail|message|connection)s?) from"
    r" (?=\W?\d{1,3}(?:\.\d{1,3}){3}\b|(?:this |your |the )?(?:ip|network|server|host)\b)",
    re.IGNORECASE,
)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
# Names of errors, such as SubmissionQuotaExceededException or ShutoffQuotaExceeded.
_CAMEL = re.compile(r"(?<![A-Za-z])(?:[A-Z][a-z]{1,20}){2,8}(?:Exception|Error|Exceeded)(?![A-Za-z])")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[^\W_]++")
_BEGINNING_CHARS = 4  # of a phrase, by which it is filed
_NO_CANDIDATES: Mapping[str, _Candidates] = {}


def fold(text: str) -> str:
    """Return ``text`` in lower case, without accents and punctuation, with email addresses replaced by ``@``.

    Parts of an address must not match a phrase: ``<quota@example.com>: user unknown`` is not about a quota.
    """
    text = _URL_PARAMETER.sub(" ", _ADDRESS.sub(" @ ", text))
    text = _URL.sub(lambda found: _PAGE_NAME.sub(" ", found[0]), text)
    text = _MAIL_FROM_CLIENT.sub(r"\1 of client host ", text)
    text = _IPV4.sub(" quadaddress ", text)
    text += "".join(f" {_HUMP.sub(' ', name)}" for name in _CAMEL.findall(text))
    # Accents are removed before as well: normalisation takes quadratic time for long runs of them.
    decomposed = unicodedata.normalize("NFKD", _without_accents(text.casefold()))
    bare = _UMLAUT.sub(r"\1", _without_accents(decomposed).translate(_PLAIN_LETTERS))
    spaced = _NOT_A_WORD.sub(" ", bare).strip()
    bare_words = re.sub(r"\.(?=\s|$)", "", re.sub(r"\s+", " ", spaced))
    return _IP_ADDRESS.sub("ip adr", _EMAIL.sub("email", bare_words))


def _without_accents(text: str) -> str:
    return text if text.isascii() else "".join(c for c in text if not unicodedata.combining(c))


def _pattern_of(phrase: str) -> str:
    """Return the pattern of one phrase: ``*`` matches up to 50 characters, a final ``$`` the end of a word."""
    whole = phrase.endswith("$")
    parts = [re.escape(fold(part)) for part in phrase.rstrip("$").split("*")]
    return r".{0,50}?".join(parts) + (r"(?![^\W_])" if whole else "")


@cache
def phrase_pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Return one pattern that matches any of the phrases in folded text.

    A phrase matches from the beginning of a word. Chinese, Japanese, Thai and Korean are written without spaces, so there
    it may begin anywhere. The beginning of a word is one condition before all phrases, not one before each: then ``re``
    compares first letters only, which is several times as fast.
    """
    anywhere = [_pattern_of(phrase) for phrase in phrases if _UNSPACED_SCRIPT.search(phrase)]
    at_words = [_pattern_of(phrase) for phrase in phrases if not _UNSPACED_SCRIPT.search(phrase)]
    if at_words:
        anywhere.append(rf"(?<![^\W_])(?:{'|'.join(at_words)})")
    return re.compile("|".join(anywhere))


@dataclass
class _Candidates:
    """The phrases of one list with the same beginning: those without ``*`` and ``$``, and the others."""

    plain: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def add(self, phrase: str) -> None:
        if "*" in phrase or phrase.endswith("$"):
            self.others += (phrase,)
        else:
            self.plain += (fold(phrase),)

    def match(self, folded: str, at: int) -> bool:
        return folded.startswith(self.plain, at) or (
            bool(self.others) and _alternatives(self.others).match(folded, at) is not None
        )


@cache
def _alternatives(phrases: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_pattern_of, phrases)))


class PhraseIndex:
    """Named lists of phrases that are found in one pass over a text, however many lists there are.

    Phrases are filed by their first characters, so that at each word only those that begin like it are compared. Which lists are
    found is the same as with the ``phrase_pattern`` of each.
    """

    def __init__(self, lists: Mapping[str, tuple[str, ...]]) -> None:
        self._at_words: dict[str, dict[str, _Candidates]] = {}
        self._anywhere: dict[str, dict[str, _Candidates]] = {}
        for name, phrases in lists.items():
            for phrase in phrases:
                filed = self._anywhere if _UNSPACED_SCRIPT.search(phrase) else self._at_words
                beginning = fold(phrase.rstrip("$").split("*")[0])[:_BEGINNING_CHARS]
                filed.setdefault(beginning, {}).setdefault(name, _Candidates()).add(phrase)
        self._first_letters = re.compile(f"[{re.escape(''.join({one[0] for one in self._anywhere}))}]")

    def names_in(self, folded: str) -> frozenset[str]:
        """Return the names of the lists of which a phrase occurs in folded text."""
        found: set[str] = set()
        self._find(folded, _WORD, self._at_words, found)
        if self._anywhere:
            self._find(folded, self._first_letters, self._anywhere, found)
        return frozenset(found)

    def _find(
        self,
        folded: str,
        starts: re.Pattern[str],
        filed: Mapping[str, dict[str, _Candidates]],
        found: set[str],
    ) -> None:
        for start in starts.finditer(folded):
            at = start.start()
            beginning = folded[at : at + _BEGINNING_CHARS]
            for length in range(1, len(beginning) + 1):
                for name, candidates in filed.get(beginning[:length], _NO_CANDIDATES).items():
                    if name not in found and candidates.match(folded, at):
                        found.add(name)


@cache
def concept_phrases() -> dict[str, tuple[str, ...]]:
    """Return every concept with its phrases."""
    ideas = read_toml(_CONCEPTS)
    return {name: ideas.texts(name, required=True) for name in ideas}


@cache
def _concepts() -> PhraseIndex:
    return PhraseIndex(concept_phrases())


def concepts_in(folded: str) -> frozenset[str]:
    """Return the names of the concepts that occur in folded text."""
    return _concepts().names_in(folded)


def unknown_concepts(names: Iterable[str]) -> list[str]:
    """Return the names that are not defined in concepts.toml."""
    return sorted(set(names) - set(concept_phrases()))
