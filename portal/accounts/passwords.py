"""Passwords: which are accepted, and their hashing with Argon2id."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from flask_babel import gettext as _

from ..db import db
from ..state import current_config, get_state

if TYPE_CHECKING:
    from flask import Flask

DEMO_PASSWORD = "try-signet-today"
MIN_CHARS = 12
MAX_CHARS = 128
_MAX_CODE_POINTS = 4 * MAX_CHARS  # before normalisation, which takes quadratic time for alternating marks
_MAX_ABOUT_CHARS = 500  # of each text that a password must not be made of
_LIST = Path(__file__).with_name("common_passwords.txt")


class PasswordRefused(ValueError):
    """The password is not accepted. The message is one sentence for the person who chose it."""


class Hasher:
    """Hashes and verifies passwords. Each takes about 0.1 s on purpose, so never inside a transaction."""

    def __init__(self, hasher: PasswordHasher) -> None:
        self._hasher = hasher
        self._dummy: str | None = None

    def hash(self, password: str) -> str:
        """Return the Argon2id hash of a password."""
        _check_no_transaction()
        return self._hasher.hash(_encode(password))

    def verify(self, stored: str | None, password: str) -> bool:
        """Return whether the password matches the stored hash. None, for an unknown owner, takes as long and is False."""
        _check_no_transaction()
        # Made at the first verification of this process, so the time never depends on whether the mailbox is known.
        self._dummy = self._dummy or self._hasher.hash(b"the password of an unknown owner")
        try:
            right = self._hasher.verify(stored or self._dummy, _encode(password))
        except (VerificationError, InvalidHashError):
            return False
        return right and stored is not None

    def needs_rehash(self, stored: str) -> bool:
        """Return whether a hash was made with other parameters than the current ones."""
        return self._hasher.check_needs_rehash(stored)


def install(app: Flask, *, fast: bool) -> None:
    """Set up the app's hasher with the library's parameters, or with very cheap ones for tests (``fast``)."""
    argon2 = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1) if fast else PasswordHasher()
    get_state(app).put(Hasher, Hasher(argon2))


def hasher() -> Hasher:
    """Return the hasher of the current app."""
    return get_state().part(Hasher)


def check_password(password: str, *about: str) -> None:
    """Reject a password that is too short, too long, common, or made of the words in ``about``.

    ``about`` is what an attacker can know: the programme, the owner's name, the mailbox. There are no composition
    rules, and nothing is trimmed.

    Raises:
        PasswordRefused: the password is not accepted.
    """
    is_short = len(password) <= _MAX_CODE_POINTS
    length = len(unicodedata.normalize("NFC", password)) if is_short else len(password)
    if length < MIN_CHARS:
        raise PasswordRefused(
            _(
                "Use %(min_chars)s characters or more. Four unrelated words make a good password.",
                min_chars=MIN_CHARS,
            )
        )
    if length > MAX_CHARS:
        raise PasswordRefused(_("Use %(max_chars)s characters or fewer.", max_chars=MAX_CHARS))
    plain = unicodedata.normalize("NFKC", password).casefold()
    if plain in _common_passwords() or len(set(plain)) <= 2 or is_refused_demo(plain):
        raise PasswordRefused(_("This password is too easy to guess. Choose another."))
    if _made_of(plain, about):
        raise PasswordRefused(_("This password is too similar to your name, programme or email address."))


def is_refused_demo(password: str) -> bool:
    """Return whether this is the demo owner's published password and the portal is no rehearsal."""
    return password == DEMO_PASSWORD and not current_config().rehearsal


def _made_of(plain: str, about: tuple[str, ...]) -> bool:
    """Return whether at most four characters remain of a password without the words in ``about``."""
    known = set()
    for text in about:
        folded = unicodedata.normalize("NFKC", text[:_MAX_ABOUT_CHARS]).casefold()
        known |= {
            _letters_and_digits(folded),
            *(_letters_and_digits(part) for part in folded.replace("@", " ").split()),
        }
    rest = _letters_and_digits(plain)
    for word in sorted(known, key=len, reverse=True):
        if len(word) >= 4:
            rest = rest.replace(word, "")
    return rest != _letters_and_digits(plain) and len(rest) <= 4


def _letters_and_digits(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


@lru_cache(maxsize=1)
def _common_passwords() -> frozenset[str]:
    lines = _LIST.read_text(encoding="utf-8").splitlines()
    return frozenset(line.casefold() for line in lines if line and not line.startswith("# "))


def _encode(password: str) -> bytes:
    # NFC: keyboards encode the same letter differently (é, or e with a combining accent).
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _check_no_transaction() -> None:
    if db.session().in_transaction():
        raise RuntimeError("password hashing inside a transaction would block other writers")
