"""Passwords: which are accepted, and how they are kept (Argon2id)."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ..db import db
from ..state import get_state

if TYPE_CHECKING:
    from flask import Flask

MIN_CHARS = 12
MAX_CHARS = 128
_LIST = Path(__file__).with_name("common_passwords.txt")


class PasswordRefused(ValueError):
    """The password is not accepted; the message is a sentence for the person who chose it."""


class Hasher:
    """Hashes and verifies. Either takes a tenth of a second on purpose, so never in a transaction."""

    def __init__(self, hasher: PasswordHasher) -> None:
        self._hasher = hasher
        self._nobody: str | None = None

    def hash(self, password: str) -> str:
        """Return the Argon2id hash of a password."""
        _no_transaction()
        return self._hasher.hash(_octets(password))

    def verify(self, stored: str | None, password: str) -> bool:
        """Return whether the password is the stored one. None, nobody's, takes just as long and is wrong."""
        _no_transaction()
        # Made at the first log-in of this process, whoever it is, so an unknown mailbox never costs more.
        self._nobody = self._nobody or self._hasher.hash(b"nobody's password")
        try:
            right = self._hasher.verify(stored or self._nobody, _octets(password))
        except (VerificationError, InvalidHashError):
            return False
        return right and stored is not None

    def outdated(self, stored: str) -> bool:
        """Return whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)


def install(app: Flask, *, cheap: bool) -> None:
    """Give the app its hasher: the library's own parameters, or very cheap ones for a test-suite."""
    argon2 = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1) if cheap else PasswordHasher()
    get_state(app).put(Hasher, Hasher(argon2))


def hasher() -> Hasher:
    """Return the hasher of the present app."""
    return get_state().part(Hasher)


def check_password(password: str, *about: str) -> None:
    """Refuse a password that is too short, too long, among the commonest, or taken from ``about``.

    ``about`` is what a guesser knows: the programme, the owner's name, the mailbox. There are no rules of
    composition, and nothing is trimmed. Raises PasswordRefused.
    """
    length = len(unicodedata.normalize("NFC", password))
    if length < MIN_CHARS:
        raise PasswordRefused(
            f"Use {MIN_CHARS} characters or more. Four unrelated words make a good password."
        )
    if length > MAX_CHARS:
        raise PasswordRefused(f"Use {MAX_CHARS} characters or fewer.")
    plain = unicodedata.normalize("NFKC", password).casefold()
    if plain in _common() or len(set(plain)) <= 2:
        raise PasswordRefused("This password is one of the first that anyone would try. Choose another.")
    if _made_of(plain, about):
        raise PasswordRefused("This password is too close to your name, programme or email address.")


def _made_of(plain: str, about: tuple[str, ...]) -> bool:
    """Return whether little is left of a password once the words a guesser knows are taken out."""
    known = set()
    for text in about:
        folded = unicodedata.normalize("NFKC", text).casefold()
        known |= {_squeezed(folded), *(_squeezed(part) for part in folded.replace("@", " ").split())}
    rest = _squeezed(plain)
    for word in sorted(known, key=len, reverse=True):
        if len(word) >= 4:
            rest = rest.replace(word, "")
    return rest != _squeezed(plain) and len(rest) <= 4


def _squeezed(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    lines = _LIST.read_text(encoding="utf-8").splitlines()
    return frozenset(line.casefold() for line in lines if line and not line.startswith("# "))


def _octets(password: str) -> bytes:
    # Two keyboards write the same letter in two ways (é, or e and an accent); the password is the same.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _no_transaction() -> None:
    if db.session().in_transaction():
        raise RuntimeError("a password is hashed with a transaction open; everybody else would wait for it")
