"""Mailbox addresses, and checks that keep untrusted text from changing the structure of a header."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import idna

from .network.guard import HostError, canonical_host

_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++")  # RFC 5322 section 3.2.3
_DOT_ATOM = re.compile(rf"{_ATOM.pattern}(?:\.{_ATOM.pattern})*+")
_SPACE = re.compile(r"\s")
_MAX_LOCAL_BYTES = 64  # RFC 5321 section 4.5.3.1.1
_MAX_CHARS = (
    1000  # of a text that is read at all: Unicode normalisation can take quadratic time, and it shortens
)
_MAX_ADDRESS_BYTES = 254  # RFC 5321 section 4.5.3.1.3 allows 256 with the angle brackets
# Controls (C0, C1), line and paragraph separators, lone surrogates, and bidirectional controls, which are
# invisible and change the order in which a name is shown.
_UNSAFE_IN_HEADER = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_INVISIBLE_IN_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class MailboxError(ValueError):
    """The text is not a usable address; the message is one sentence for the person who entered it."""


class HeaderError(ValueError):
    """A value holds characters that a header must not contain."""


@dataclass(frozen=True)
class Mailbox:
    """An address such as ``ada@example.org``; the domain is canonical (lower case, A-labels)."""

    local: str
    domain: str

    @property
    def is_ascii(self) -> bool:
        """Return whether the address can be sent without the SMTPUTF8 extension (RFC 6531)."""
        return self.local.isascii()

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


def parse_mailbox(text: str) -> Mailbox:
    """Parse one address strictly: a dot-atom local part and a domain with at least one dot.

    ``email.utils.parseaddr`` guesses (CVE-2023-27043), so it is not used. Comments, quoted strings and domain
    literals are valid but people do not use them; refusing them excludes ambiguous addresses.
    Raises MailboxError.
    """
    address = text.strip(" ")
    if len(address) > _MAX_CHARS:
        raise MailboxError("This email address is too long.")
    return _parse(address)


@lru_cache(maxsize=256)  # a form, an operation and a message parse the same address one after the other
def _parse(address: str) -> Mailbox:
    if not is_header_safe(address) or _SPACE.search(address):
        raise MailboxError("An email address contains no spaces or invisible characters.")
    if address.count("@") != 1:
        raise MailboxError("An email address has exactly one @, as in ada@example.org.")
    local, _, domain = address.partition("@")
    mailbox = Mailbox(_local_part(local), _domain(domain))
    if len(str(mailbox).encode()) > _MAX_ADDRESS_BYTES:
        raise MailboxError("This email address is too long.")
    return mailbox


def _local_part(text: str) -> str:
    if _DOT_ATOM.fullmatch(text) and len(text) <= _MAX_LOCAL_BYTES and "=?" not in text:
        return text  # nearly all addresses
    local = unicodedata.normalize("NFC", text)
    if "" in local.split("."):
        raise MailboxError("The part before the @ is empty, or has a dot at an end or two in a row.")
    if not all(_ATOM.fullmatch(_ascii_stand_in(atom)) for atom in local.split(".")):
        raise MailboxError("The part before the @ contains a character that email addresses cannot have.")
    if "=?" in local and "?=" in local:
        # An encoded word (RFC 2047) means that a library has damaged an address; it could reach a stranger.
        raise MailboxError("The part before the @ is not a real email address.")
    if len(local.encode()) > _MAX_LOCAL_BYTES:
        raise MailboxError("The part before the @ is too long.")
    return local


def _ascii_stand_in(atom: str) -> str:
    """Replace the non-ASCII letters, marks and digits that RFC 6531 allows by "x", which the pattern matches."""
    return "".join("x" if not c.isascii() and unicodedata.category(c)[0] in "LMN" else c for c in atom)


@lru_cache(maxsize=1024)  # the same few domains recur with every message
def _domain(text: str) -> str:
    try:
        domain = canonical_host(text)
    except HostError:
        raise MailboxError("The part after the @ is not a domain such as example.org.") from None
    numeric = ":" in domain or domain.replace(".", "").isdigit()
    if "." not in domain or numeric or text.endswith("."):
        raise MailboxError("The part after the @ is not a domain such as example.org.")
    return domain


def readable_mailbox(mailbox: str) -> str:
    """Return an address with its domain as people write it: info@bücher.example. Of use for reading and searching only."""
    local, at, domain = mailbox.rpartition("@")
    if "xn--" not in domain:
        return mailbox
    try:
        return f"{local}{at}{idna.decode(domain)}"
    except idna.IDNAError:
        return mailbox


def is_header_safe(text: str) -> bool:
    """Return whether a header may hold the text: no C0, C1, line separator, bidi control or lone surrogate."""
    return _UNSAFE_IN_HEADER.search(text) is None


def replace_invisible(text: str) -> str:
    """Return the text of an email with a space in place of each character that breaks lines or reverses words.

    The marks of direction stay (U+061C, U+200E, U+200F): Arabic and Hebrew need them beside digits and punctuation, and
    unlike embeddings and overrides they turn no word around.
    """
    return _INVISIBLE_IN_TEXT.sub(" ", text)


def check_header_safe(text: str, name: str = "This value") -> str:
    """Return ``text`` if a header may hold it; otherwise raise HeaderError with ``name``."""
    if not is_header_safe(text):
        raise HeaderError(f"{name} contains a line break or an invisible control character.")
    return text
